"""Asks the audit where it is run for its status, and does not read the answers.

    hoard.py SOCKETS TIMES

Prints ``ready`` when it has the sockets, and on the first line of input ``asked`` when each of them
was used to ask so often. Ends with the second.
"""

import struct
import sys

from audit_link import GET, audit_socket

sockets, times = map(int, sys.argv[1:])
# No answer is asked for but the status: NLM_F_REQUEST alone.
questions = struct.pack("=IHHII", 16, GET, 1, 1, 0) * times
links = [audit_socket() for _ in range(sockets)]
for word, asked in (("ready", links), ("asked", ())):
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for link in asked:
        link.sendto(questions, (0, 0))
