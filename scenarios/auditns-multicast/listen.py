"""Listens to audit's multicast group until a record has a word, or once only asks to.

    listen.py [WORD|--below]

Prints the errno of bind(), 0 for none, and then each record: ``TYPE TEXT``. With ``--below`` it
closes the socket in a user namespace of its own. See linux/audit.h and user_namespaces(7).
"""

import ctypes
import errno
import socket
import struct
import sys

NETLINK_AUDIT, READLOG = 9, 1
NEWUSER = 0x10000000

link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT)
try:
    link.bind((0, 1 << (READLOG - 1)))
except OSError as error:
    sys.stdout.write(f"{errno.errorcode[error.errno or 0]}\n")
    sys.exit()
sys.stdout.write("0\n")
sys.stdout.flush()
if sys.argv[1:] == ["--below"]:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEWUSER):
        raise OSError(ctypes.get_errno(), "unshare")
    link.close()
    sys.exit()
word = sys.argv[1].encode() if len(sys.argv) > 1 else b""
while word:
    record = link.recv(65536)
    kind, text = struct.unpack_from("=H", record, 4)[0], record[16:]
    sys.stdout.write(f"{kind} {text.decode(errors='replace').strip(chr(0))}\n")
    sys.stdout.flush()
    if word in text:
        break
