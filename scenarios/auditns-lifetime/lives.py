"""Lives of audit daemons, each in user, PID and network namespaces of its own.

    lives.py ROUNDS

Each round has every way in which a daemon can end. Prints a line for each life, ``WAY ERRNO``:
what the kernel said to its registration. See netlink(7) and linux/audit.h.
"""

import ctypes
import errno
import os
import socket
import struct
import sys
from pathlib import Path

NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
NETLINK_AUDIT, REQUEST, ACK, ERROR = 9, 1, 4, 2
SET, ADD_RULE, USER_LOGIN = 1001, 1011, 1112
EXIT_LIST, ALWAYS, GETPRIORITY = 4, 2, 140  # x86-64
ENABLED, PID, WAIT = 1, 4, 32
FLOOD = 100


libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")


def tell(link: socket.socket, kind: int, payload: bytes, *, ack: bool = True) -> str:
    """Sends a message; the name of the errno that it was answered, or 0."""
    flags = REQUEST | (ACK if ack else 0)
    link.sendto(struct.pack("=IHHII", 16 + len(payload), kind, flags, 1, 0) + payload, (0, 0))
    while ack:
        answer = link.recv(9000)
        if struct.unpack_from("=H", answer, 4)[0] == ERROR:
            code = -struct.unpack_from("=i", answer, 16)[0]
            return errno.errorcode[code] if code else "0"
    return "0"


def rule() -> bytes:
    """struct audit_rule_data: list, action, no fields, the mask, and all the rest 0."""
    mask = [0] * 64
    mask[GETPRIORITY // 32] = 1 << GETPRIORITY % 32
    return struct.pack("=3I64I", EXIT_LIST, ALWAYS, 0, *mask) + bytes(4 * (3 * 64 + 1))


def daemon(way: str) -> None:
    """The first process of the namespaces; it is the daemon, and ends in that way."""
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT)
    # struct audit_status: mask, enabled, failure, pid, five that are 0, the time to wait.
    status = struct.pack("=10I", ENABLED | PID | WAIT, 1, 0, os.getpid(), 0, 0, 0, 0, 0, 0)
    sys.stdout.write(f"{way} {tell(link, SET, status)}\n")
    sys.stdout.flush()
    # A rule, and a program that does what it is about, in a namespace below.
    tell(link, ADD_RULE, rule())
    if not os.fork():
        unshare(NEWUSER)
        libc.getpriority(0, 0)
        os._exit(0)
    os.wait()
    program = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT)
    tell(program, USER_LOGIN, b"of a life\0")
    if way == "close":
        link.close()
    elif way == "network":
        unshare(NEWNET)
    elif way == "inherited":
        # Whoever has the socket then is not the process that registered.
        link.set_inheritable(True)
        if not os.fork():
            os._exit(0)
    elif way == "full":
        # Nothing is read, and nobody waits: what does not fit is lost.
        for _ in range(FLOOD):
            tell(program, USER_LOGIN, b"f" * 8000 + b"\0", ack=False)
    os._exit(0)


def life(way: str) -> None:
    if os.fork():
        os.wait()
        return
    unshare(NEWUSER | NEWPID | NEWNET)
    for name, text in (("uid_map", "0 0 1"), ("setgroups", "deny"), ("gid_map", "0 0 1")):
        Path("/proc/self", name).write_text(text)
    child = os.fork()
    if not child:
        daemon(way)
    os.waitpid(child, 0)
    os._exit(0)


for _ in range(int(sys.argv[1])):
    for each in ("close", "exit", "network", "inherited", "full"):
        life(each)
