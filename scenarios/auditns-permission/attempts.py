"""Attempts to have an audit of one's own, each by somebody else.

    attempts.py WAY...

Prints a line for each: ``WAY ERRNO``, what the kernel said to the registration of a daemon, and
for what follows one a word more. See netlink(7), capabilities(7) and linux/audit.h.
"""

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path

NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
NETLINK_AUDIT, REQUEST, ACK, ERROR = 9, 1, 4, 2
GET, SET, USER_LOGIN = 1000, 1001, 1112
ENABLED, PID = 1, 4
AUDIT_WRITE, AUDIT_CONTROL = 29, 30
CAPGET, CAPSET, CAP_VERSION_3 = 125, 126, 0x20080522  # x86-64
SET_DUMPABLE = 4
ANYBODY = 1000

libc = ctypes.CDLL(None, use_errno=True)


def call(done: int, what: str) -> None:
    if done:
        raise OSError(ctypes.get_errno(), what)


def enter(flags: int) -> None:
    """New namespaces, in whose user namespace the caller is root."""
    uid, gid = os.geteuid(), os.getegid()
    call(libc.unshare(flags), "unshare")
    for name, text in (
        ("uid_map", f"0 {uid} 1"),
        ("setgroups", "deny"),
        ("gid_map", f"0 {gid} 1"),
    ):
        Path("/proc/self", name).write_text(text)


def become_anybody() -> None:
    os.setgroups([])
    os.setgid(ANYBODY)
    os.setuid(ANYBODY)
    # Else the files in /proc/self are root's.
    call(libc.prctl(SET_DUMPABLE, 1), "prctl")


def use(capability: int, *, on: bool) -> None:
    """Takes it out of the effective set, or back from the permitted one."""
    head = struct.pack("=Ii", CAP_VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    call(libc.syscall(CAPGET, head, data), "capget")
    low, *rest = struct.unpack("=6I", data.raw)
    low = low | 1 << capability if on else low & ~(1 << capability)
    call(libc.syscall(CAPSET, head, struct.pack("=6I", low, *rest)), "capset")


def audit_socket() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT)


def tell(link: socket.socket, kind: int, payload: bytes = b"", *, plainly: bool = False) -> str:
    """Sends a message; the name of the errno that it was answered, or 0.

    What is sent ``plainly`` has no address, as by a program that writes to what it takes for
    its standard output: then who opened the socket counts, too (netlink_ns_capable()).
    """
    head = struct.pack("=IHHII", 16 + len(payload), kind, REQUEST | ACK, 1, 0)
    if plainly:
        link.send(head + payload)
    else:
        link.sendto(head + payload, (0, 0))
    while True:
        answer = link.recv(9000)
        if struct.unpack_from("=H", answer, 4)[0] == ERROR:
            code = -struct.unpack_from("=i", answer, 16)[0]
            return errno.errorcode[code] if code else "0"


def register(link: socket.socket, pid: int, *, plainly: bool = False) -> str:
    """AUDIT_SET with struct audit_status: the mask, enabled, failure, the pid, and the rest."""
    status = struct.pack("=10I", ENABLED | PID, 1, 0, pid, 0, 0, 0, 0, 0, 0)
    return tell(link, SET, status, plainly=plainly)


def start() -> str:
    return register(audit_socket(), os.getpid())


def in_child(what: Callable[[], str]) -> str:
    """Calls it as the first process of a new PID namespace, or as a process of the same."""
    end, begin = os.pipe()
    child = os.fork()
    if not child:
        os.write(begin, what().encode())
        os._exit(0)
    os.close(begin)
    os.waitpid(child, 0)
    said = os.read(end, 100).decode()
    os.close(end)
    return said


def contained(what: Callable[[], str]) -> str:
    enter(NEWUSER | NEWPID | NEWNET)
    return in_child(what)


def without() -> str:
    use(AUDIT_CONTROL, on=False)
    return start()


def opened_without() -> str:
    use(AUDIT_CONTROL, on=False)
    link = audit_socket()
    use(AUDIT_CONTROL, on=True)
    return register(link, os.getpid(), plainly=True)


def sent_without() -> str:
    link = audit_socket()
    use(AUDIT_CONTROL, on=False)
    return register(link, os.getpid())


def opened_outside() -> str:
    link = audit_socket()
    return contained(lambda: register(link, os.getpid()))


def as_anybody() -> str:
    become_anybody()
    return contained(start)


def below_anybody() -> str:
    become_anybody()
    enter(NEWUSER)
    return contained(start)


def foreign_network() -> str:
    enter(NEWUSER | NEWPID)
    return in_child(start)


def foreign_processes() -> str:
    enter(NEWUSER | NEWNET)
    return in_child(start)


def foreign_pid() -> str:
    """The daemon must be who asks."""
    return register(audit_socket(), 1)


def second() -> str:
    link = audit_socket()
    first = register(link, os.getpid())
    # It asks the first one whether it lives, by a message that need not be answered.
    other = in_child(start)
    return f"{first} {other}"


def dismissed() -> str:
    link = audit_socket()
    first = register(link, os.getpid())
    return f"{first} {in_child(lambda: register(audit_socket(), 0))}"


def spoken_without() -> str:
    link = audit_socket()
    first = register(link, os.getpid())
    use(AUDIT_WRITE, on=False)
    return f"{first} {tell(audit_socket(), USER_LOGIN, b'without')}"


def asked_first() -> str:
    """Nothing else starts an audit."""
    return tell(audit_socket(), GET)


def asked_from_below() -> str:
    """Somebody in a namespace below asks for the status of the one above."""
    link = audit_socket()
    first = register(link, os.getpid())

    def ask() -> str:
        enter(NEWUSER)
        return tell(audit_socket(), GET)

    return f"{first} {in_child(ask)}"


WAYS: dict[str, Callable[[], str]] = {
    "granted": lambda: contained(start),
    "without": lambda: contained(without),
    "opened-without": lambda: contained(opened_without),
    "sent-without": lambda: contained(sent_without),
    "opened-outside": opened_outside,
    "as-anybody": as_anybody,
    "below-anybody": below_anybody,
    "foreign-network": foreign_network,
    "foreign-processes": foreign_processes,
    "foreign-pid": lambda: contained(lambda: in_child(foreign_pid)),
    "second": lambda: contained(second),
    "dismissed": lambda: contained(dismissed),
    "spoken-without": lambda: contained(spoken_without),
    "asked-first": lambda: contained(asked_first),
    "asked-from-below": lambda: contained(asked_from_below),
}

for way in sys.argv[1:]:
    sys.stdout.write(f"{way} {in_child(WAYS[way])}\n")
    sys.stdout.flush()
