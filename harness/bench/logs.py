"""Audit logs of any size, always the same: what the figures of ``trail`` are measured on.

One host runs ``CONTAINERS`` containers, one after the other begun and ended, and four events
in ten happen in one of them. An event is what a watched file makes: SYSCALL, CWD, PATH and
PROCTITLE, with CONTAINER_ID before them in a container, as Debian's auditd writes it; one in
ten is a user message.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

CONTAINERS = 200
FIRST = 5000
# The container that is asked for; it lives long enough to have some thousand events.
ASKED = FIRST + CONTAINERS // 2

_START_MS = 1_795_000_000_000
_SUBJECT = "auid=1000 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=pts0 ses=3"
_EVENT_BYTES = 593.0  # on average


def write_log(path: Path, size: int) -> None:
    """Writes a log of about ``size`` bytes."""
    with path.open("w", encoding="ascii") as file:
        for event in _events(int(size / _EVENT_BYTES)):
            file.write(event)


def _events(number: int) -> Iterator[str]:
    chance = random.Random(6)
    every = max(1, number // CONTAINERS)
    alive: list[int] = []
    for serial in range(1, number + 1):
        ms = _START_MS + serial * 7
        stamp = f"msg=audit({ms // 1000}.{ms % 1000:03}:{serial}):"
        if serial % every == 1 % every and len(alive) < CONTAINERS:
            born = FIRST + serial // every
            alive.append(born)
            yield _operation(stamp, f"op=set opid={born} contid={born} old-contid=-1", born)
            continue
        if len(alive) > 20 and chance.random() < 1 / every:
            gone = alive.pop(0)
            yield f"type=UNKNOWN[1344] {stamp} op=drop opid={gone} contid=-1 old-contid={gone}\n"
            continue
        inside = chance.choice(alive) if alive and chance.random() < 0.4 else 0
        yield _message(stamp, inside) if chance.random() < 0.1 else _opened(stamp, inside, chance)


def _operation(stamp: str, text: str, pid: int) -> str:
    return (
        f"type=UNKNOWN[1344] {stamp} {text}\n"
        f"type=SYSCALL {stamp} arch=c000003e syscall=1 success=yes exit=4 a0=3 a1=55d0 a2=4 a3=0"
        f" items=0 ppid=1 pid={pid - 1} {_SUBJECT}"
        ' comm="orchestrator" exe="/usr/bin/orchestrator" key=(null)\n'
    )


def _message(stamp: str, inside: int) -> str:
    named = f"type=UNKNOWN[1340] {stamp} record=1 contid={inside}\n" if inside else ""
    return (
        f"{named}type=USER_LOGIN {stamp} pid=812 uid=0 auid=1000 ses=3 msg='op=login id=1000"
        ' exe="/usr/sbin/sshd" hostname=192.0.2.7 addr=192.0.2.7 terminal=ssh res=success\'\n'
    )


def _opened(stamp: str, inside: int, chance: random.Random) -> str:
    named = f"type=UNKNOWN[1340] {stamp} record=1 contid={inside}\n" if inside else ""
    parent = inside or 700
    return (
        f"{named}type=SYSCALL {stamp} arch=c000003e syscall=257 success=yes exit=3 a0=ffffff9c"
        f" a1=7ffd9c411a10 a2=0 a3=0 items=1 ppid={parent} pid={20000 + chance.randrange(9000)}"
        f' {_SUBJECT} comm="cat" exe="/usr/bin/cat" key="shadow-read"{" record=1" * bool(inside)}\n'
        f'type=CWD {stamp} cwd="/root"\n'
        f'type=PATH {stamp} item=0 name="/etc/shadow" inode={chance.randrange(10**6)} dev=fe:00'
        " mode=0100640 ouid=0 ogid=42 rdev=00:00 nametype=NORMAL cap_fp=0 cap_fi=0 cap_fe=0\n"
        f"type=PROCTITLE {stamp} proctitle=636174002F6574632F736861646F77\n"
    )
