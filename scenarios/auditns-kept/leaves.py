"""Registers as the machine's audit daemon, and unregisters, TIMES times.

    leaves.py TIMES [full]

With ``full`` its socket has the least room, so that the kernel waits for it to read. Prints what
each registration and each end was answered, an errno's name or 0, and without ``full`` also
``told`` after each end that a listener was told of.
"""

import contextlib
import ctypes
import os
import socket
import sys
from pathlib import Path

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

# A socket of the least size has room for two records or so, and is full with this many bytes.
_MESSAGES, _FULL = 6, 1200
_LIMIT_S = 20.0
_SOL_NETLINK, _NO_ENOBUFS = 270, 5
_MEMBARRIER, _GLOBAL = 324, 1  # x86-64; see membarrier(2)


def unread(link: socket.socket) -> int:
    """Bytes that wait in a socket, see the columns Pid and Rmem of /proc/net/netlink."""
    mine = ["9", str(link.getsockname()[0])]
    rows = [row.split() for row in Path("/proc/net/netlink").read_text().splitlines()]
    (size,) = (int(row[4]) for row in rows if row[1:3] == mine)
    return size


times, is_full = int(sys.argv[1]), sys.argv[2:] == ["full"]
control = audit_socket()
# It takes the port id that is the pid of this process. Else each daemon would have it in turn, and
# get what the kernel is still sending to the one before, by that number.
control.bind((0, 0))
listener = audit_socket(group=READLOG)
listener.settimeout(_LIMIT_S)
said, links = [], []
for _ in range(times):
    link = audit_socket()
    if is_full:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        link.setsockopt(_SOL_NETLINK, _NO_ENOBUFS, 1)
    said.append(register(link, os.getpid()))
    if is_full:
        for number in range(_MESSAGES):
            tell(control, USER_LOGIN, b"left %d\0" % number)
        while unread(link) < _FULL:
            pass
    # What is answered goes to the other socket: this one stays full.
    said.append(tell(control, SET, status(PID)))
    if is_full:
        # Two grace periods: what RCU frees is most likely freed by then.
        for _ in range(2):
            call(libc.syscall(ctypes.c_long(_MEMBARRIER), _GLOBAL, 0, 0), "membarrier")
        link.close()
    else:
        # A daemon whose socket is closed is none any more: this one is for what it said.
        links.append(link)
        with contextlib.suppress(TimeoutError):
            while b" audit_pid=0 " not in listener.recv(9000):
                pass
            said.append("told")
sys.stdout.write(f"{' '.join(said)}\n")
