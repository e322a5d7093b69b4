"""Registers as the machine's audit daemon, and leaves while the kernel waits for it to read.

    leaves.py TIMES

Prints what the kernel said to each registration, and to each end of one: the errno's name, or 0.
"""

import ctypes
import os
import socket
import sys

from audit_link import PID, SET, USER_LOGIN, audit_socket, call, libc, register, status, tell

# More than fit a socket of the least size: a record or two.
_MESSAGES = 6
_SOL_NETLINK, _NO_ENOBUFS = 270, 5
_MEMBARRIER, _GLOBAL = 324, 1  # x86-64; see membarrier(2)

control = audit_socket()
said = []
for _ in range(int(sys.argv[1])):
    link = audit_socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
    link.setsockopt(_SOL_NETLINK, _NO_ENOBUFS, 1)
    said.append(register(link, os.getpid()))
    for number in range(_MESSAGES):
        tell(control, USER_LOGIN, b"left %d" % number)
    # What is answered goes to the other socket: this one stays full.
    said.append(tell(control, SET, status(PID)))
    # What the kernel frees once all readers have gone on is freed then.
    for _ in range(2):
        call(libc.syscall(ctypes.c_long(_MEMBARRIER), _GLOBAL, 0, 0), "membarrier")
    link.close()
sys.stdout.write(f"{' '.join(said)}\n")
