"""Do rules about users, groups, processes and files mean what they say in a container?

Each field that a rule can compare is compared with a value and, where there is a comparison, with
another field: for a task and a file with ids of the container, and for those whose ids it does not
have. These are all the same there, and above all others. For the machine's rules nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import pytest

from harness.audit.records import Trail
from harness.guest.machine import Answer, Guest, Job
from harness.scenario import Judge

_SHIFT = 100_000
_FILE = "/run/owned"
_OWNER, _GROUP = 61, 62
# What fields.c makes of itself, and the first type of its messages.
_USERS = {"uid": 51, "euid": 52, "suid": 53, "fsuid": 54, "auid": 55}
_GROUPS = {"gid": 51, "egid": 52, "sgid": 53, "fsgid": 54}
_FIRST_TYPE = 2100
# Above all of these.
_HIGH = 1500
_SHOWN = 3
# What these calls do not look at.
_CALL, _OPEN, _MESSAGE = "-S getppid -F a0=", "-S open -F a2=", "-F msgtype="


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a rule asks about, and of whom it is true.

    ``ours`` are ids that the reader has, ``foreign`` those that it does not have; ``aside`` is a
    file of ours on a file system that the reader does not want to hear of.
    """

    way: str
    field: str
    ours: bool
    foreign: bool
    aside: bool

    def written(self, number: int) -> str:
        """As auditctl(8) reads it; its number is in what it asks about, and its key."""
        if self.way == _MESSAGE:
            return f"-a always,exclude {_MESSAGE}{_FIRST_TYPE + number} {self.field}"
        return f"-a always,exit -F arch=b64 {self.way}{number} {self.field} -k field-{number}"


def _about(way: str, field: str, *, ours: bool, foreign: bool) -> Rule:
    return Rule(way=way, field=field, ours=ours, foreign=foreign, aside=ours and way != _OPEN)


def _values(way: str, ids: dict[str, int]) -> Iterator[Rule]:
    for name, value in ids.items():
        yield _about(way, f"-F {name}={value}", ours=True, foreign=False)
        yield _about(way, f"-F {name}>{_HIGH}", ours=False, foreign=True)


def _comparisons(way: str, pairs: Sequence[tuple[str, str]], more: str = "") -> Iterator[Rule]:
    for left, right in pairs:
        yield _about(way, f"{more}-C {left}={right}", ours=False, foreign=True)
        yield _about(way, f"{more}-C {left}!={right}", ours=True, foreign=False)


def _rules(pid: str, ppid: str, inode: str) -> list[Rule]:
    """All of them, for a task with these pids and a file with this inode."""
    owners = {"obj_uid": _OWNER, "obj_gid": _GROUP}
    with_owner = [*product(_USERS, ["obj_uid"]), *product(_GROUPS, ["obj_gid"])]
    by_inode = f"-F inode={inode} "
    logged_in = {"auid!=unset": True, "auid=unset": False}
    here = {"pid": pid, "ppid": ppid}
    said = {name: (_USERS | _GROUPS)[name] for name in ("uid", "gid", "auid")}
    return [
        *_values(_CALL, _USERS | _GROUPS),
        *_comparisons(_CALL, [*combinations(_USERS, 2), *combinations(_GROUPS, 2)]),
        *(_about(_CALL, f"-F {f}", ours=yes, foreign=not yes) for f, yes in logged_in.items()),
        *(_about(_CALL, f"-F {f}={n}", ours=True, foreign=False) for f, n in here.items()),
        *_values(_OPEN, owners),
        *_comparisons(_OPEN, with_owner),
        # a file that is found by its inode is looked at by itself
        *(
            _about(_OPEN, by_inode + one.field, ours=one.ours, foreign=one.foreign)
            for one in _values(_OPEN, owners)
        ),
        *_comparisons(_OPEN, with_owner, by_inode),
        *(_about(_OPEN, f"-F {f}", ours=True, foreign=True) for f in ("inode!=1", "devminor>0")),
        _about(_OPEN, "-F filetype=file", ours=True, foreign=True),
        _about(_OPEN, "-F devmajor=0", ours=True, foreign=True),
        *_values(_MESSAGE, said),
        *(_about(_MESSAGE, f"-F {f}", ours=yes, foreign=not yes) for f, yes in logged_in.items()),
        _about(_MESSAGE, f"-F pid={pid}", ours=True, foreign=False),
    ]


def _found(trail: Trail, rules: Sequence[Rule]) -> set[int]:
    """The numbers of the rules of which a trail shows that they were true."""
    keys = {one.get("key") for one in trail.records if one.type == "SYSCALL"}
    return {
        number
        for number, rule in enumerate(rules)
        if (
            not trail.saying(f"fields-{number}-")
            if rule.way == _MESSAGE
            else f"field-{number}" in keys
        )
    }


class _Asking:
    """Asks what is true of a task in one place, which is the machine or a container."""

    def __init__(self, guest: Guest, judge: Judge, reader: Any) -> None:
        self._guest = guest
        self._judge = judge
        self._reader = reader
        self._seen = 0

    def start(self, spawn: Callable[..., Job], *more: str) -> tuple[Job, str, str]:
        """A task that waits for its rules, with its pid and its parent's."""
        count = len(_rules("1", "1", "1"))
        words = ["/run/nsaudit/fields", str(count), _FILE, *more]
        job = spawn(["sh", "-c", 'echo $$; "$@"; true', "sh", *words], keep_input=True)
        self._guest.wait_until(lambda: job.out.count(b"\n") == 2, 30.0, "a task and its pid")
        ppid, pid = bytes(job.out).decode().split()
        return job, pid, ppid

    def ask(self, what: str, whose: str, job: Job, rules: Sequence[Rule]) -> None:
        """Loads the rules, has the task do what they are about, and judges what was found."""
        run: Callable[..., Answer] = self._reader.run
        text = "".join(f"{rule.written(number)}\n" for number, rule in enumerate(rules))
        loaded = self._reader.load(text)
        self._judge.keep(f"transcript-{what}.txt", text + loaded.stdout + loaded.stderr)
        listed = run(["auditctl", "-l"]).require().stdout.count("field-")
        keyed = sum(one.way != _MESSAGE for one in rules)
        self._judge.expect(f"rules with a key, {what}", listed, good=keyed)
        job.close_input()
        said = job.wait(60.0).stdout.splitlines()[-1]
        self._judge.expect(f"the last message, {what}", said, good="0")
        trail = self._reader.trail(f"{what}.log")
        found = _found(trail[self._seen :], rules)
        self._seen = len(trail)
        wanted = {number for number, one in enumerate(rules) if getattr(one, whose)}
        for why, numbers in (("not seen", wanted - found), ("seen, but", found - wanted)):
            odd = [rules[number].written(number) for number in sorted(numbers)]
            self._judge.expect(f"{what}, {why} true", odd[:_SHOWN], good=[])
        run(["auditctl", "-D"]).require()


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS"])
def test_auditns_fields(
    guest: Guest, judge: Judge, auditd: Any, contained: Callable[..., Any]
) -> None:
    # Given a container with ids of its own, and a file that is its users' or somebody else's,
    inner = contained(shift=_SHIFT)
    if not inner.expect_start():
        return
    guest.put(_FILE, "")
    inode = guest.run(["stat", "-c", "%i", _FILE]).require().stdout.strip()

    def give(shift: int) -> None:
        guest.run(["chown", f"{_OWNER + shift}:{_GROUP + shift}", _FILE]).require()

    # a rule inside is true of a task there and its file by the ids that they have there,
    asking = _Asking(guest, judge, inner)
    give(_SHIFT)
    job, pid, ppid = asking.start(inner.spawn)
    asking.ask("of the container", "ours", job, _rules(pid, ppid, inode))

    # and no file is, of which nothing is wanted.
    job, pid, ppid = asking.start(inner.spawn)
    inner.run(["auditctl", "-a", "never,filesystem", "-F", "fstype=0x1021994"]).require()
    asking.ask("a file aside", "aside", job, _rules(pid, ppid, inode))

    # For one that came in from outside, whose ids are none there, they are all one and above all.
    give(0)
    job, _, _ = asking.start(guest.spawn, str(inner.box.pid))
    asking.ask("of nobody there", "foreign", job, _rules("1", "1", inode))
    judge.expect("lost inside", inner.lost(), good=0)

    # The machine's rules are about the machine's ids.
    asking = _Asking(guest, judge, auditd)
    job, pid, ppid = asking.start(guest.spawn)
    asking.ask("of the machine", "ours", job, _rules(pid, ppid, inode))
