"""Has the audit where it is run keep something, and says what the kernel answered.

    hoard.py CGROUP answers SOCKETS TIMES
    hoard.py CGROUP rules COUNT
    hoard.py CGROUP tasks COUNT

Asks for the status, TIMES times by each of SOCKETS sockets, and does not read the answers. Or adds
rules, each with ``FIELDS`` fields, one of them the longest key that there is. Or has COUNT tasks,
which make a system call each. When it has its sockets or its tasks it enters the cgroup, a folder,
where so far nothing is charged of it, and prints ``ready``. On the first line of input it does
that, and prints the name of the first errno, or 0. Ends with the second line.
"""

import os
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from audit_link import ADD_RULE, GET, GETPRIORITY, audit_socket, rule, tell

FIELDS, _KEY_MAX = 16, 256
# Offsets in struct audit_rule_data: field_count, and what is said of each field.
_COUNT_AT, _KINDS_AT, _VALUES_AT, _FLAGS_AT, _LENGTH_AT = 8, 268, 524, 780, 1036
_ARG0, _FILTERKEY, _NOT_EQUAL, _EQUAL = 200, 210, 0x30000000, 0x40000000


def long_rule(number: int) -> bytes:
    made = bytearray(rule(GETPRIORITY))
    fields = [(_ARG0, number * FIELDS + n, _NOT_EQUAL) for n in range(FIELDS - 1)]
    fields.append((_FILTERKEY, _KEY_MAX, _EQUAL))
    struct.pack_into("=I", made, _COUNT_AT, len(fields))
    for n, field in enumerate(fields):
        for at, word in zip((_KINDS_AT, _VALUES_AT, _FLAGS_AT), field, strict=True):
            struct.pack_into("=I", made, at + 4 * n, word)
    struct.pack_into("=I", made, _LENGTH_AT, _KEY_MAX)
    return bytes(made) + b"k" * _KEY_MAX


def answers(sockets: int, times: int) -> Callable[[], str]:
    # No answer is asked for but the status: NLM_F_REQUEST alone.
    questions = struct.pack("=IHHII", 16, GET, 1, 1, 0) * times
    links = [audit_socket() for _ in range(sockets)]

    def ask() -> str:
        for link in links:
            link.sendto(questions, (0, 0))
        return "0"

    return ask


def rules(count: int) -> Callable[[], str]:
    link = audit_socket()

    def add() -> str:
        said = (tell(link, ADD_RULE, long_rule(number)) for number in range(count))
        return next((one for one in said if one != "0"), "0")

    return add


def tasks(count: int) -> Callable[[], str]:
    begun, done = threading.Semaphore(0), threading.Semaphore(0)
    go, leave = threading.Event(), threading.Event()

    def make_call() -> None:
        begun.release()
        go.wait()
        os.getpriority(os.PRIO_PROCESS, 0)
        done.release()
        leave.wait()

    for _ in range(count):
        threading.Thread(target=make_call, daemon=True).start()
        begun.acquire()

    def have_made() -> str:
        go.set()
        for _ in range(count):
            done.acquire()
        return "0"

    return have_made


cgroup, what, *numbers = sys.argv[1:]
WAYS: dict[str, Callable[..., Callable[[], str]]] = {
    "answers": answers,
    "rules": rules,
    "tasks": tasks,
}
act = WAYS[what](*map(int, numbers))
# All of its tasks, and not one alone.
(Path(cgroup) / "cgroup.procs").write_text("0")
sys.stdout.write("ready\n")
sys.stdout.flush()
sys.stdin.readline()
sys.stdout.write(f"{act()}\n")
sys.stdout.flush()
sys.stdin.readline()
