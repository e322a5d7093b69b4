"""Audit daemons that have nothing to do, each in user, PID and network namespaces of its own.

    idle.py COUNT

Prints ``made`` when all the namespaces are there, and on the first line of input ``registered``
when each daemon is, and has read what its own registration was told with. Ends with the second.
"""

import os
import sys

from audit_link import NEWNET, NEWPID, NEWUSER, audit_socket, enter, register


def daemon(ready: int, begin: int, end: int) -> None:
    link = audit_socket()
    os.write(ready, b".")
    os.read(begin, 1)
    if register(link, os.getpid()) == "0":
        # Of what a registration changes this is told last.
        while b"audit_pid=" not in link.recv(9000):
            pass
    os.write(ready, b".")
    os.read(end, 1)
    os._exit(0)


def contain(ready: int, begin: int, end: int) -> None:
    enter(NEWUSER | NEWPID | NEWNET)
    if not os.fork():
        daemon(ready, begin, end)
    os.wait()
    os._exit(0)


count = int(sys.argv[1])
is_ready, ready = os.pipe()
begin, begins = os.pipe()
end, ends = os.pipe()
for _ in range(count):
    if not os.fork():
        contain(ready, begin, end)
for word, gate in (("made", begins), ("registered", ends)):
    for _ in range(count):
        os.read(is_ready, 1)
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()
    sys.stdin.readline()
    os.write(gate, b"." * count)
for _ in range(count):
    os.wait()
