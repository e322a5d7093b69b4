"""Does every namespace have one birth and one end in the trail, whatever becomes of it?

The initial eight are there from the boot. Each other one has one NS_INIT with who made it and
what it replaces, and one NS_DEL; also one that is dropped at once because another of the same
call could not be made. Entering a namespace makes none. Where a container makes one, NS_INFO
says beside its birth which container.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness.audit import namespaces
from harness.audit.namespaces import NS_INIT, Life
from harness.guest.container import KINDS, Container
from harness.guest.machine import Guest
from harness.scenario import Judge

_END_LIMIT_S = 8.0
_JOBS, _ROUNDS = 5, 5
# The name of each kind in a record, by its name here.
_NAMES = {**{kind: kind for kind in KINDS}, "mount": "mnt"}
_ALL = tuple(flag for words in KINDS.values() for flag in words)
# Numbers are used again while others are born: each job makes its next when its last has gone.
_STORM = """
jobs=$1 rounds=$2; shift 2
for i in $(seq "$jobs"); do
    for j in $(seq "$rounds"); do unshare "$@" --fork true; done &
done
wait
"""
_WHO = 'echo $$; exec unshare "$@" true'


@pytest.mark.scenario(
    feature=["nsid"], config=["AUDIT", "USER_NS", "TIME_NS", "CGROUPS"], boot="cold"
)
def test_nsid_lifecycle(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    container: Callable[..., Container],
    ns_ids: Callable[..., namespaces.Places],
    places: Callable[[int], namespaces.Places],
) -> None:
    # Given a trail from the boot on, the initial namespaces are in it, once each.
    born = auditd.trail("records-boot.log").matching(type=NS_INIT, pid=0)
    said = {one.fields["ns"]: one.fields["inode"] for one in born}
    judge.expect("initial births", len(born), good=8, broken=0)
    judge.expect("their numbers", _compare(said, _initial(guest)), good="right", broken="none")

    # When one namespace of a kind is made and left,
    creators = {}
    for kind, flags in KINDS.items():
        words = ["sh", "-c", _WHO, "sh", *flags]
        creators[_NAMES[kind]] = guest.run(words).require().stdout.strip()
    made = _ended(guest, auditd)
    # then it was born once, and ended once, and the birth tells by whom and from what.
    for kind in namespaces.KINDS:
        lives = [one for one in made if one.kind == kind]
        judge.expect(f"lives, {kind}", _say(lives), good="1 whole", broken="none")
        right = [one for one in lives if _is_by(one, creators[kind], said.get(kind, ""))]
        judge.expect(
            f"made by its creator from the initial one, {kind}", len(right), good=1, broken=0
        )

    # When a call makes some, and fails at the last,
    before = len(made)
    guest.run(["sysctl", "-q", "user.max_time_namespaces=0"]).require()
    flags = [flag for kind in ("uts", "ipc", "net", "time") for flag in KINDS[kind]]
    refused = guest.run(["unshare", *flags, "true"])
    guest.run(["sysctl", "-q", "user.max_time_namespaces=10000"]).require()
    judge.expect("the call", "fails" if refused.status else "works", good="fails")
    made = _ended(guest, auditd)
    # then those that were there have an end, and no other has a birth.
    judge.expect(
        "lives of the call that failed",
        _say(made[before:], kinds=True),
        good="1 whole ipc, 1 whole net, 1 whole uts",
        broken="none",
    )

    # When somebody enters a container, nothing is born.
    box = container(*KINDS)
    before, made = len(made), _made(auditd)
    judge.expect("births by the container", len(made) - before, good=8, broken=0)
    box.run(["true"]).require()
    judge.expect("births by entering it", len(_made(auditd)) - len(made), good=0)
    # When it makes namespaces, each birth says which container did;
    box.run(["unshare", "--uts", "--user", "true"]).require()
    told = _beside(auditd, _made(auditd)[len(made) :])
    wanted = places(box.pid)
    judge.note(places=dict(wanted))
    judge.expect("NS_INFO beside births in it", told, good=[[wanted], [wanted]], broken=[])
    # and where the host does, there is nothing to say.
    told = [one for one in _beside(auditd, made[:before]) if one]
    judge.expect("NS_INFO beside births on the host", told, good=[])
    made = _ended(guest, auditd, but=8)

    # When many are made at a time, none is lost, and none is there twice.
    before = len(made)
    storm = ["sh", "-c", _STORM, "storm", str(_JOBS), str(_ROUNDS), *_ALL]
    guest.run(storm, deadline_s=60.0).require()
    made = _ended(guest, auditd, but=8)
    judge.expect(
        "lives of a storm",
        _say(made[before:], kinds=True),
        good=", ".join(f"{_JOBS * _ROUNDS} whole {kind}" for kind in namespaces.KINDS),
        broken="none",
    )
    # and no number has been given away before its end was recorded.
    shared = [f"{one.kind}, {two.kind}: {two.inode}" for one, two in namespaces.sharing(made)]
    judge.expect("namespaces with one number at a time", shared[:4], good=[])
    # Nor has any id been given twice, on a kernel that has them.
    if ns_ids():
        ids = {one.ns_id for one in made} - {""}
        good = len(made) if made else "some"
        judge.expect("ids of all these", len(ids), good=good, broken=0)


def _initial(guest: Guest) -> dict[str, str]:
    files = [f"/proc/1/ns/{kind}" for kind in namespaces.KINDS]
    said = guest.run(["stat", "-L", "-c", "%i", *files]).require().stdout.split()
    return dict(zip(namespaces.KINDS, said, strict=True))


def _compare(said: dict[str, str], wanted: dict[str, str]) -> str:
    return "none" if not said else "right" if said == wanted else f"{said}, and not {wanted}"


def _made(auditd: Any) -> tuple[Life, ...]:
    """All lives so far but the initial ones."""
    known = namespaces.lives(auditd.trail())
    return tuple(one for one in known if not one.born or one.born.fields["pid"] != "0")


def _beside(auditd: Any, made: Sequence[Life]) -> list[list[namespaces.Places]]:
    """Where the creator of each was, as the event of the birth has it."""
    trail = auditd.trail()
    return [
        [namespaces.places(one) for one in namespaces.infos_of(trail, life.born)]
        for life in made
        if life.born
    ]


def _ended(guest: Guest, auditd: Any, but: int = 0) -> tuple[Life, ...]:
    """The same, once all but some have ended: workers free namespaces, in their own time.

    What has no end after a while has none, and is seen to lack it.
    """
    end = time.monotonic() + _END_LIMIT_S * guest.scale
    while True:
        made = _made(auditd)
        if sum(one.ended is None for one in made) <= but or time.monotonic() > end:
            return made


def _is_by(life: Life, creator: str, old: str) -> bool:
    if life.born is None:
        return False
    fields = life.born.fields
    return (fields["pid"], fields["old-inode"]) == (creator, old)


def _say(lives: Sequence[Life], *, kinds: bool = False) -> str:
    counted: Counter[str] = Counter()
    for one in lives:
        state = "whole" if one.born and one.ended else "unended" if one.born else "unborn"
        counted[f"{state} {one.kind}" if kinds else state] += 1
    return ", ".join(f"{counted[name]} {name}" for name in sorted(counted)) or "none"
