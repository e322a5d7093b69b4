"""Registers as the machine's audit daemon, and says that it leaves, TIMES times.

    leaves.py TIMES [full]

The kernel waits for it to read meanwhile if its socket shall be ``full``. Prints what the kernel
said to each registration, and to each end of one: the errno's name, or 0. And of each end of which
a listener is told so: told.
"""

import contextlib
import ctypes
import os
import socket
import sys

from audit_link import (
    PID,
    READLOG,
    SET,
    USER_LOGIN,
    audit_socket,
    call,
    libc,
    register,
    status,
    tell,
)

# More than fit a socket of the least size: a record or two.
_MESSAGES = 6
_SOL_NETLINK, _NO_ENOBUFS = 270, 5
_LIMIT_S = 5.0
_MEMBARRIER, _GLOBAL = 324, 1  # x86-64; see membarrier(2)

times, is_full = int(sys.argv[1]), sys.argv[2:] == ["full"]
control = audit_socket()
listener = audit_socket(group=READLOG)
listener.settimeout(_LIMIT_S)
said = []
for _ in range(times):
    link = audit_socket()
    if is_full:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        link.setsockopt(_SOL_NETLINK, _NO_ENOBUFS, 1)
    said.append(register(link, os.getpid()))
    for number in range(_MESSAGES if is_full else 0):
        tell(control, USER_LOGIN, b"left %d" % number)
    # What is answered goes to the other socket: this one stays full.
    said.append(tell(control, SET, status(PID)))
    if not is_full:
        with contextlib.suppress(TimeoutError):
            while b" audit_pid=0 " not in listener.recv(9000):
                pass
            said.append("told")
    # What the kernel frees once all readers have gone on is freed then.
    for _ in range(2):
        call(libc.syscall(ctypes.c_long(_MEMBARRIER), _GLOBAL, 0, 0), "membarrier")
    link.close()
sys.stdout.write(f"{' '.join(said)}\n")
