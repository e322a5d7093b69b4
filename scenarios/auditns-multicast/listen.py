"""Listens to audit's multicast group until a record has a word, or once only asks to.

    listen.py [WORD]

Prints the errno of bind(), 0 for none, and then each record: ``TYPE TEXT``. See linux/audit.h.
"""

import errno
import socket
import struct
import sys

NETLINK_AUDIT, READLOG = 9, 1

link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT)
try:
    link.bind((0, 1 << (READLOG - 1)))
except OSError as error:
    sys.stdout.write(f"{errno.errorcode[error.errno or 0]}\n")
    sys.exit()
sys.stdout.write("0\n")
sys.stdout.flush()
word = sys.argv[1].encode() if len(sys.argv) > 1 else b""
while word:
    record = link.recv(65536)
    kind, text = struct.unpack_from("=H", record, 4)[0], record[16:]
    sys.stdout.write(f"{kind} {text.decode(errors='replace').strip(chr(0))}\n")
    sys.stdout.flush()
    if word in text:
        break
