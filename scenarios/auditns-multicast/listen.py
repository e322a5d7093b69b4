"""Listens to a multicast group of audit's until a record has a word, or once only asks to.

    listen.py machine|userns [WORD|--below]

Prints the errno of bind(), 0 for none, and then each record: ``TYPE TEXT``. With ``--below`` it
closes the socket in a user namespace of its own.
"""

import errno
import sys

from audit_link import NEWUSER, READLOG, USERNS, audit_socket, call, kind_of, libc

which, *rest = sys.argv[1:]
try:
    link = audit_socket(group={"machine": READLOG, "userns": USERNS}[which])
except OSError as error:
    sys.stdout.write(f"{errno.errorcode[error.errno or 0]}\n")
    sys.exit()
sys.stdout.write("0\n")
sys.stdout.flush()
if rest == ["--below"]:
    call(libc.unshare(NEWUSER), "unshare")
    link.close()
    sys.exit()
word = rest[0].encode() if rest else b""
while word:
    record = link.recv(65536)
    kind, text = kind_of(record), record[16:]
    sys.stdout.write(f"{kind} {text.decode(errors='replace').strip(chr(0))}\n")
    sys.stdout.flush()
    if word in text:
        break
