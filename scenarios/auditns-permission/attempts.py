"""Attempts to have an audit of one's own, each by somebody else.

    attempts.py WAY...

Prints a line for each: ``WAY ERRNO``, what the kernel said to the registration of a daemon, and
for what follows one a word more. See capabilities(7) and setns(2).
"""

import contextlib
import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator

from audit_link import (
    ADD_RULE,
    CONFIG_CHANGE,
    DEL_RULE,
    ENABLED,
    GET,
    GET_FEATURE,
    LIST_RULES,
    NEWNET,
    NEWPID,
    NEWUSER,
    PID,
    SET,
    SIGNAL_INFO,
    USER_LOGIN,
    audit_socket,
    call,
    enter,
    kind_of,
    libc,
    register,
    rule,
    status,
    tell,
)

AUDIT_WRITE, AUDIT_CONTROL = 29, 30
CAPGET, CAPSET, CAP_VERSION_3 = 125, 126, 0x20080522  # x86-64
SET_DUMPABLE = 4
ANYBODY = 1000
PROBE_S = 10.0

_sockets: list[socket.socket] = []


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


def start() -> str:
    link = audit_socket()
    # A daemon whose socket is closed is none any more.
    _sockets.append(link)
    return register(link, os.getpid())


def each_answer(link: socket.socket) -> str:
    """What is answered to each message that reads or changes an audit; one word if all are."""
    answers = {
        tell(link, kind, payload)
        for kind, payload in (
            (GET, b""),
            (GET_FEATURE, b""),
            (LIST_RULES, b""),
            (SIGNAL_INFO, b""),
            (ADD_RULE, rule()),
            (DEL_RULE, rule()),
            (SET, status(ENABLED, enabled=1)),
            (SET, status(ENABLED | PID, enabled=1, pid=os.getpid())),
            (SET, status(PID)),
        )
    }
    return "/".join(sorted(answers))


def in_child(what: Callable[[], str]) -> str:
    """Calls it as the first process of a new PID namespace, or as a process of the same."""
    with child(what) as (said, _):
        return said


@contextlib.contextmanager
def child(what: Callable[[], str]) -> Iterator[tuple[str, int]]:
    """A process that has called it, and stays until the end: what it said, and its pid."""
    end, begin = os.pipe()
    stay, leave = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(leave)
        os.write(begin, what().encode())
        os.read(stay, 1)
        os._exit(0)
    os.close(begin)
    os.close(stay)
    said = os.read(end, 100).decode()
    os.close(end)
    try:
        yield said, pid
    finally:
        os.close(leave)
        os.waitpid(pid, 0)


@contextlib.contextmanager
def below() -> Iterator[tuple[str, int]]:
    """A daemon in namespaces below: what it was told, and its pid, as the caller has it."""
    stays = contextlib.ExitStack()

    def make() -> str:
        enter(NEWUSER | NEWPID | NEWNET)
        said, pid = stays.enter_context(child(start))
        return f"{said} {pid}"

    with child(make) as (told, _):
        said, pid = told.split()
        yield said, int(pid)


def setns(pidfd: int, namespaces: int) -> str:
    """The errno of going to these namespaces of a process, or 0; see setns(2)."""
    return errno.errorcode[ctypes.get_errno()] if libc.setns(pidfd, namespaces) else "0"


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
    # The kernel asks the first one whether it lives, by a message that need not be answered.
    other = in_child(start)
    link.settimeout(PROBE_S)
    # What it is told of its own registration comes before.
    while first == "0" and (kind := kind_of(link.recv(9000))) == CONFIG_CHANGE:
        pass
    return f"{first} {other} {kind if first == '0' else 0}"


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
    """Somebody in a namespace below reads and writes, by its own socket and by the daemon's."""
    link = audit_socket()
    first = register(link, os.getpid())

    def ask() -> str:
        enter(NEWUSER)
        return f"{each_answer(audit_socket())} {each_answer(link)}"

    return f"{first} {in_child(ask)}"


def entered(namespaces: int) -> str:
    """Root of a container, with a daemon, goes to some namespaces of a daemon below."""
    first = register(audit_socket(), os.getpid())
    with below() as (second, pid):
        moved = setns(os.pidfd_open(pid), namespaces)
        return f"{first} {second} {moved} {in_child(lambda: each_answer(audit_socket()))}"


def entered_below() -> str:
    """Who goes to all of them is root there, as one who was made there."""
    with below() as (first, pid):
        moved = setns(os.pidfd_open(pid), NEWUSER | NEWPID | NEWNET)
        return f"{first} {moved} {in_child(lambda: f'{tell(audit_socket(), GET)} {start()}')}"


def entered_above() -> str:
    """Somebody in a container goes back to where its maker is."""
    above = os.pidfd_open(os.getpid())

    def back() -> str:
        return f"{setns(above, NEWUSER)} {setns(above, NEWNET)} {setns(above, NEWPID)}"

    return in_child(lambda: contained(back))


def entered_beside() -> str:
    """Root of one container goes to another, whose maker is the same."""
    with below() as (first, pid):
        other = os.pidfd_open(pid)

        def cross() -> str:
            return f"{setns(other, NEWUSER)} {setns(other, NEWNET)} {setns(other, NEWPID)}"

        return f"{first} {contained(cross)}"


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
    "entered-below": lambda: contained(entered_below),
    "entered-user-below": lambda: contained(lambda: entered(NEWUSER)),
    "entered-network-below": lambda: contained(lambda: entered(NEWNET)),
    "entered-processes-below": lambda: contained(lambda: entered(NEWPID)),
    "entered-all-but-processes": lambda: contained(lambda: entered(NEWUSER | NEWNET)),
    "entered-all-but-network": lambda: contained(lambda: entered(NEWUSER | NEWPID)),
    "entered-above": entered_above,
    "entered-beside": entered_beside,
}

for way in sys.argv[1:]:
    sys.stdout.write(f"{way} {in_child(WAYS[way])}\n")
    sys.stdout.flush()
