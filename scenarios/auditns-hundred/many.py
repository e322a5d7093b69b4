"""Audit daemons at the same time, each in user, PID and network namespaces of its own.

    many.py COUNT MESSAGES

Each has a rule about getpriority(2). When all of them run, a program in each says MESSAGES times
whose it is, and calls getpriority as often. Prints a line for each daemon when it has read what
must come, ``NUMBER MESSAGES CALLS FOREIGN``: how many it got of its own, and how many of others.
See netlink(7) and linux/audit.h.
"""

import ctypes
import os
import re
import socket
import struct
import sys
from pathlib import Path

NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
NETLINK_AUDIT, REQUEST, ACK, ERROR = 9, 1, 4, 2
SET, ADD_RULE, USER_LOGIN, SYSCALL = 1001, 1011, 1112, 1300
ENABLED, PID = 1, 4
EXIT_LIST, ALWAYS, GETPRIORITY = 4, 2, 140  # x86-64
LIMIT_S = 60.0

libc = ctypes.CDLL(None, use_errno=True)
count, messages = map(int, sys.argv[1:])


def tell(link: socket.socket, kind: int, payload: bytes) -> None:
    head = struct.pack("=IHHII", 16 + len(payload), kind, REQUEST | ACK, 1, 0)
    link.sendto(head + payload, (0, 0))
    while True:
        answer = link.recv(9000)
        if struct.unpack_from("=H", answer, 4)[0] == ERROR:
            if code := -struct.unpack_from("=i", answer, 16)[0]:
                raise OSError(code, os.strerror(code))
            return


def audit_socket() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT)


def rule() -> bytes:
    """struct audit_rule_data: list, action, no fields, the mask, and all the rest 0."""
    mask = [0] * 64
    mask[GETPRIORITY // 32] = 1 << GETPRIORITY % 32
    return struct.pack("=3I64I", EXIT_LIST, ALWAYS, 0, *mask) + bytes(4 * (3 * 64 + 1))


def program(number: int) -> None:
    link = audit_socket()
    for _ in range(messages):
        tell(link, USER_LOGIN, f"of daemon {number}.\0".encode())
        libc.getpriority(0, 0)
    os._exit(0)


def daemon(number: int, ready: int, begin: int) -> None:
    link = audit_socket()
    tell(link, SET, struct.pack("=10I", ENABLED | PID, 1, 0, os.getpid(), 0, 0, 0, 0, 0, 0))
    tell(link, ADD_RULE, rule())
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
        kind, text = struct.unpack_from("=H", record, 4)[0], record[16:]
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
    if libc.unshare(NEWUSER | NEWPID | NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    for name, text in (("uid_map", "0 0 1"), ("setgroups", "deny"), ("gid_map", "0 0 1")):
        Path("/proc/self", name).write_text(text)
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
