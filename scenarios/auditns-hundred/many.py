"""Audit daemons at the same time, each in user, PID and network namespaces of its own.

    many.py COUNT MESSAGES

Each has a rule about getpriority(2). When all of them run, a program in each says MESSAGES times
whose it is, and calls getpriority as often. Prints a line for each daemon when it has read what
must come, ``NUMBER MESSAGES CALLS FOREIGN``: how many it got of its own, and how many of others.
"""

import os
import re
import sys

from audit_link import (
    ADD_RULE,
    GETPRIORITY,
    NEWNET,
    NEWPID,
    NEWUSER,
    SYSCALL,
    USER_LOGIN,
    audit_socket,
    enter,
    kind_of,
    libc,
    register,
    rule,
    tell,
)

LIMIT_S = 60.0

count, messages = map(int, sys.argv[1:])


def require(said: str) -> None:
    if said != "0":
        raise OSError(said)


def program(number: int) -> None:
    link = audit_socket()
    for _ in range(messages):
        require(tell(link, USER_LOGIN, f"of daemon {number}.\0".encode()))
        libc.getpriority(0, 0)
    os._exit(0)


def daemon(number: int, ready: int, begin: int) -> None:
    link = audit_socket()
    require(register(link, os.getpid()))
    require(tell(link, ADD_RULE, rule(GETPRIORITY)))
    os.write(ready, b".")
    os.read(begin, 1)
    child = os.fork()
    if not child:
        program(number)
    link.settimeout(LIMIT_S)
    said = called = foreign = 0
    while said + called + foreign < 2 * messages:
        try:
            record = link.recv(9000)
        except TimeoutError:
            break
        kind, text = kind_of(record), record[16:]
        if kind == SYSCALL:
            mine = re.search(rb" pid=(\d+) ", text)
            called += bool(mine and int(mine[1]) == child)
            foreign += not (mine and int(mine[1]) == child)
        elif kind == USER_LOGIN:
            mine_too = f"of daemon {number}.".encode() in text
            said += mine_too
            foreign += not mine_too
    os.waitpid(child, 0)
    sys.stdout.write(f"{number} {said} {called} {foreign}\n")
    sys.stdout.flush()
    os._exit(0)


def contain(number: int, ready: int, begin: int) -> None:
    enter(NEWUSER | NEWPID | NEWNET)
    if not os.fork():
        daemon(number, ready, begin)
    os.wait()
    os._exit(0)


is_ready, ready = os.pipe()
begin, begins = os.pipe()
for each in range(count):
    if not os.fork():
        contain(each, ready, begin)
for _ in range(count):
    os.read(is_ready, 1)
os.write(begins, b"." * count)
for _ in range(count):
    os.wait()
