"""Is it clear which namespace an event happened in when its number has been used again?

Inode numbers of namespaces are given out again at once: the number alone does not name a
namespace. The records of births and ends do, because the end of one is recorded before its
number can become another's. Where the kernel has ids, these do by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.audit import namespaces
from harness.audit.records import Trail
from harness.guest.machine import Guest
from harness.scenario import Judge

_RULE = ("-a", "always,exit", "-F", "arch=b64", "-S", "sethostname", "-k", "nsid-reuse")
_CALL = "stat -L -c %i /proc/self/ns/uts && exec hostname -b nobody"
_TRIES = 20


@pytest.mark.scenario(feature=["nsid"], config=["AUDIT", "AUDITSYSCALL", "UTS_NS"])
def test_nsid_reuse(
    guest: Guest, judge: Judge, auditd: Any, ns_ids: Callable[..., namespaces.Places]
) -> None:
    guest.run(["auditctl", *_RULE]).require()
    # Given a namespace that is gone, and one that has its number now,
    numbers: list[str] = []
    while len(numbers) < _TRIES and len(numbers) == len(set(numbers)):
        said = guest.run(["unshare", "--uts", "sh", "-c", _CALL]).require().stdout
        numbers.append(said.strip())
    reused = numbers[-1]
    judge.expect(
        "a number is used again",
        "yes" if reused in numbers[:-1] else f"no: {numbers}",
        good="yes",
    )
    judge.note(numbers=numbers)

    # when in both of them the same was done,
    trail = auditd.trail()
    calls = trail.matching(type="SYSCALL", key="nsid-reuse")
    first, second = calls[numbers.index(reused)], calls[-1]

    # then the events give the same number,
    found = [_number(trail, call.serial, "utsns") for call in (first, second)]
    judge.expect("the number in both events", found == [reused, reused], good=True, broken=False)
    known = namespaces.lives(trail)
    judge.expect(
        "namespaces with that number",
        len([one for one in known if (one.kind, one.inode) == ("uts", reused)]),
        good=2,
        broken=0,
    )
    # and yet each event happened in one namespace, and not in the same.
    where = [namespaces.alive_at(known, "uts", reused, call.serial) for call in (first, second)]
    judge.expect(
        "namespaces of each event", [len(one) for one in where], good="[1, 1]", broken="[0, 0]"
    )
    judge.expect(
        "the two are",
        "one" if where[0] == where[1] else "two",
        good="two",
        broken="one",
    )

    # Where the kernel has ids, each event has one, of its own.
    if ns_ids():
        ids = [_number(trail, call.serial, "utsns-id") for call in (first, second)]
        judge.note(ids=ids)
        said = "none" if not all(ids) else "one" if ids[0] == ids[1] else "two"
        judge.expect("ids in both events", said, good="two", broken="none")
        births = [one.ns_id for place in where for one in place]
        judge.expect("the ids of those births", births == ids, good=True, broken=False)


def _number(trail: Trail, serial: int, field: str) -> str:
    infos = [one for one in trail.matching(type=namespaces.NS_INFO) if one.serial == serial]
    return infos[0].fields.get(field, "") if infos else ""
