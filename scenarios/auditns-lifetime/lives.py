"""Lives of audit daemons, each in user, PID and network namespaces of its own.

    lives.py ROUNDS

Each round has every way in which a daemon can end. Prints a line for each life, ``WAY ERRNO``:
what the kernel said to its registration.
"""

import os
import sys

from audit_link import (
    ADD_RULE,
    ENABLED,
    GETPRIORITY,
    NEWNET,
    NEWPID,
    NEWUSER,
    PID,
    SET,
    USER_LOGIN,
    WAIT,
    audit_socket,
    call,
    enter,
    libc,
    rule,
    status,
    tell,
)

FLOOD = 100


def daemon(way: str) -> None:
    """The first process of the namespaces; it is the daemon, and ends in that way."""
    link = audit_socket()
    # Nobody waits for room.
    asked = status(ENABLED | PID | WAIT, enabled=1, pid=os.getpid())
    sys.stdout.write(f"{way} {tell(link, SET, asked)}\n")
    sys.stdout.flush()
    # A rule, and a program that does what it is about, in a namespace below.
    tell(link, ADD_RULE, rule(GETPRIORITY))
    if not os.fork():
        call(libc.unshare(NEWUSER), "unshare")
        libc.getpriority(0, 0)
        os._exit(0)
    os.wait()
    program = audit_socket()
    tell(program, USER_LOGIN, b"of a life\0")
    if way == "close":
        link.close()
    elif way == "network":
        call(libc.unshare(NEWNET), "unshare")
    elif way == "inherited":
        # Whoever has the socket then is not the process that registered.
        link.set_inheritable(True)
        if not os.fork():
            os._exit(0)
    elif way == "full":
        # Nothing is read: what does not fit is lost.
        for _ in range(FLOOD):
            tell(program, USER_LOGIN, b"f" * 8000 + b"\0", ack=False)
    os._exit(0)


def life(way: str) -> None:
    if os.fork():
        os.wait()
        return
    enter(NEWUSER | NEWPID | NEWNET)
    child = os.fork()
    if not child:
        daemon(way)
    os.waitpid(child, 0)
    os._exit(0)


for _ in range(int(sys.argv[1])):
    for each in ("close", "exit", "network", "inherited", "full"):
        life(each)
