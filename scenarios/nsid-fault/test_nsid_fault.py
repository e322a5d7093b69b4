"""Do the records of namespaces hold together while the kernel runs out of memory?

A program in the guest makes, enters and leaves namespaces of each kind, sets features, adds and
deletes rules, and sends messages and makes calls in a foreign namespace; each of its allocations
in the kernel fails in turn. Either a thing is done as a whole or not at all; the errno says
which; it can be done afterwards. Every namespace that there was has its birth and its end in the
trail, whether it was of use or dropped at once, and an event of a task in a foreign namespace
has its NS_INFO; what is missing was counted as lost, and nothing else was.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import pytest

from harness.audit import faults, namespaces
from harness.audit.faults import Try
from harness.audit.namespaces import NS_INFO, NS_INIT, Life
from harness.audit.records import UNPARSED, Event, Trail
from harness.guest.machine import Guest
from harness.scenario import Judge

_Answers = Mapping[str, tuple[str, ...]]
_MOVE: _Answers = {"0": ("away",), "ENOMEM": ("home,0,away",)}
# What counts namespaces by users says so in its own way (kernel/ucount.c, kernel/cred.c).
_MOVE_USER = dict.fromkeys(("ENOMEM", "EAGAIN", "ENOSPC"), ("home,0,away",)) | {"0": ("away",)}
_LEAVE: _Answers = {"0": ("home",), "ENOMEM": ("away,0,home",)}
_LEFT = tuple(kind for kind in namespaces.KINDS if kind != "user")
_SEVERAL = ("cgroup", "pid", "uts")
# The kinds of which each step makes a namespace, before the last allocation that fails.
_MADE: dict[str, tuple[str, ...]] = {
    **{f"unshare-{kind}": (kind,) for kind in namespaces.KINDS},
    "unshare-several": (*_SEVERAL, "time", "user"),
    "clone": _SEVERAL,
    "within": ("uts", "uts"),
    **{f"leave-{kind}": (kind,) for kind in _LEFT},
    "exit": (*_SEVERAL, "time"),
    "message": ("uts",),
    "call": ("uts",),
}
# What each step may be told, and for each answer in what state it may leave things; what was
# refused, and is done once more, goes on with the answer to that. ENOBUFS says that there was no
# answer, whatever was done (netlink(7)). The ends come last: an end that is lost could be taken
# for that of a namespace of which the birth was.
_STATES: dict[str, _Answers] = {
    **{f"unshare-{kind}": _MOVE for kind in namespaces.KINDS},
    **dict.fromkeys(("unshare-user", "unshare-several"), _MOVE_USER),
    "clone": {"0": ("away",), "ENOMEM": ("none,0,away",)},
    "within": _MOVE,
    **{f"setns-{kind}": _MOVE for kind in namespaces.KINDS},
    "features": {
        "0": ("set",),
        "ENOMEM": ("unset,0,set",),
        "ENOBUFS": ("set", "unset,0,set"),
    },
    "add-rule": {"0": ("there",), "ENOMEM": ("absent",), "ENOBUFS": ("there", "absent")},
    "delete-rule": {"0": ("absent",), "ENOMEM": ("there",), "ENOBUFS": ("there", "absent")},
    "message": dict.fromkeys(("0", "ENOMEM", "ENOBUFS"), ("-",)),
    "call": {"0": ("-",)},
    **{f"leave-{kind}": _LEAVE for kind in _LEFT},
    "exit": {"0": ("-",)},
}
_RULE = ("-a", "always,exit", "-F", "arch=b64", "-S", "getpriority", "-k", "nsid-fault")
_LIMIT_S = 120.0
_END_LIMIT_S = 8.0


@pytest.mark.scenario(
    feature=["nsid"],
    config=[
        *("AUDIT", "AUDITSYSCALL", "USER_NS", "TIME_NS", "CGROUPS", "KASAN"),
        *("FAILSLAB", "FAULT_INJECTION_DEBUG_FS", "DEBUG_KMEMLEAK"),
    ],
    under=["fault"],
    # The look for leaks that follows needs a guest that booted, and has mounted debugfs.
    boot="cold",
)
def test_nsid_fault(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    fail_any: Callable[[], None],
    expect_step: Callable[..., None],
) -> None:
    # Given a kernel that records namespaces,
    born = auditd.trail("records-boot.log").matching(type=NS_INIT, pid=0)
    judge.expect("initial births", len(born), good=8, broken=0)
    if not born:
        return
    # in which allocations that may sleep fail, too, without a word on the console,
    fail_any()
    guest.run(["auditctl", *_RULE]).require()

    # when each allocation of each step fails in turn,
    tries: list[Try] = []
    for step, states in _STATES.items():
        said = guest.run(["fault", step], deadline_s=_LIMIT_S)
        judge.keep(f"fault-{step}.txt", said.stdout + said.stderr)
        mine = list(faults.parse(said.require().stdout))
        tries += mine

        # then it is done or not, as its errno says, and what failed can be done again.
        expect_step(step, mine, states, state_of=attrgetter("end"))
        judge.expect(f"{step}: ever failed", len(mine) > 1, good=True)

    # Every namespace has one birth and one end, but for those that were counted as lost.
    made = _ended(guest, auditd, tries)
    counted = auditd.lost()
    judge.expect("lost records", counted, good=sum(one.lost for one in tries))
    judge.expect("lost without a failure", sum(t.lost for t in tries if t.nth == "end"), good=0)
    judge.note(lost_to_failures=counted)
    guest.run(["auditctl", "--reset-lost"])
    trail = auditd.trail()
    births = _births(trail)
    judge.expect("births without a trace", _untold_births(births, tries), good=[])
    unborn = sum(one.born is None for one in made)
    judge.expect("namespaces without a birth", unborn, good=_lost_births(births, tries))
    unended = _unended(made)
    judge.expect("ends without a trace", _untold_ends(unended, tries), good=[])
    judge.note(unborn=unborn, unended=unended.total())
    judge.expect("ever lost a birth, and an end", unborn > 0 < unended.total(), good=True)

    # In a foreign namespace each event has its NS_INFO, or that is counted, too,
    judge.expect("births within without NS_INFO", _unplaced_births(births, tries), good=[])
    untold = faults.untold_calls(trail, tries, {"SYSCALL", NS_INFO, "PROCTITLE"})
    judge.expect("calls without a trace", untold, good=[])
    told = [
        record.text
        for event in trail
        if _has_info(event)
        for record in event.records
        if record.type == "USER_LOGIN"
    ]
    judge.expect("messages without a trace", faults.untold_messages(told, tries), good=[])
    # and so is each change of a feature.
    judge.expect("changes without a trace", _untold_changes(trail, tries), good=[])
    unread = [record.text for record in trail.records if record.type == UNPARSED]
    judge.expect("records that nobody can read", unread[:3], good=[])


def _ended(guest: Guest, auditd: Any, tries: Sequence[Try]) -> tuple[Life, ...]:
    """All namespaces but the initial ones, once no end is missing that was not lost.

    Workers free namespaces, in their own time. What has no end after a while has none.
    """
    end = time.monotonic() + _END_LIMIT_S * guest.scale
    while True:
        known = namespaces.lives(auditd.trail())
        made = tuple(one for one in known if not one.born or one.born.fields["pid"] != "0")
        if not _untold_ends(_unended(made), tries) or time.monotonic() > end:
            return made


def _unended(made: Sequence[Life]) -> Counter[str]:
    """How many namespaces have no end, by the pid of the creator."""
    return Counter(one.born.fields["pid"] for one in made if one.born and not one.ended)


def _births(trail: Trail) -> Mapping[str, list[Event]]:
    """The events of births by the pid of the creator."""
    births: dict[str, list[Event]] = {}
    for event in trail:
        for record in event.records:
            if record.type == NS_INIT:
                births.setdefault(record.fields["pid"], []).append(event)
    return births


def _kinds(events: Sequence[Event]) -> Counter[str]:
    records = [record for event in events for record in event.records]
    return Counter(record.fields["ns"] for record in records if record.type == NS_INIT)


def _untold_births(births: Mapping[str, list[Event]], tries: Sequence[Try]) -> list[str]:
    """Times of which a birth is missing, more than are lost, or that have one too many."""
    untold = []
    for one in tries:
        wanted, told = Counter(_MADE.get(one.step, ())), _kinds(births.get(one.pid, ()))
        missing, more = (wanted - told).total(), (told - wanted).total()
        # What was refused may have begun and dropped some before it was done once more.
        if missing > one.lost or (more and (one.errno == "0" or not wanted)):
            untold.append(f"{one.step} {one.nth}: {missing} missing, {more} more")
    return untold


def _lost_births(births: Mapping[str, list[Event]], tries: Sequence[Try]) -> int:
    """How many births were lost: what a call that worked lost, where that is all it tells."""
    lost = 0
    for one in tries:
        if one.step.startswith(("unshare-", "clone")) and one.errno == "0":
            lost += one.lost
        elif one.step == "within":
            # This also tells an end, and where it is.
            lost += (Counter(_MADE["within"]) - _kinds(births.get(one.pid, ()))).total()
    return lost


def _untold_ends(unended: Mapping[str, int], tries: Sequence[Try]) -> list[str]:
    """Times whose namespaces lack other ends than were lost, by the pid of the creator.

    Where all that is told while an allocation may fail is ends, as many are missing as are lost.
    """
    untold = []
    for one in tries:
        missing, only_ends = unended.get(one.pid, 0), one.step.startswith(("leave-", "exit"))
        if missing > one.lost or (only_ends and missing < one.lost):
            untold.append(f"{one.step} {one.nth}: {missing} missing, {one.lost} lost")
    return untold


def _has_info(event: Event) -> bool:
    return any(record.type == NS_INFO for record in event.records)


def _unplaced_births(births: Mapping[str, list[Event]], tries: Sequence[Try]) -> list[str]:
    """Times of which a birth in a foreign namespace lacks NS_INFO, and no loss was counted."""
    return [
        f"{one.nth} {one.errno}"
        for one in tries
        if one.step == "within"
        and not one.lost
        # The first one was there to be in, and was made from an initial namespace.
        and [_has_info(event) for event in births.get(one.pid, ())] != [False, True]
    ]


def _untold_changes(trail: Trail, tries: Sequence[Try]) -> list[str]:
    """Times of which a change of one of the two features is missing, more than are lost."""
    told = Counter(one.fields["pid"] for one in trail.matching(type="FEATURE_CHANGE"))
    return [
        f"{one.nth} {one.errno}: {told[one.pid]}"
        for one in tries
        if one.step == "features" and told[one.pid] + one.lost < 2
    ]
