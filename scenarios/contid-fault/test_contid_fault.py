"""Does what concerns a container hold together while the kernel runs out of memory?

A program in the guest names tasks, delegates, has children, changes namespaces, adds rules,
sends messages, makes audited calls and exits, and each of its allocations in the kernel fails
in turn. Either a thing is done as a whole or not at all; the errno says which; it can be done
afterwards; and a record that is missing was counted as lost.

Another writes to the files of a task that is reaped, and its parent with it, while the kernel
waits for what is written: KASAN sees it when the parent is looked at then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.audit.records import UNPARSED
from harness.guest.machine import Guest
from harness.scenario import Judge

_FIRST = 4700
# In the order in which the program takes its ids.
_NAMED = ("set", "fork", "clone", "setns", "rule", "message", "call", "exit")
_IDS = {step: str(_FIRST + number) for number, step in enumerate(_NAMED)}
# What each step may be told, and for each answer in what state it may leave things. ENOBUFS
# says that there was no answer, whatever was done (netlink(7)).
_STATES: dict[str, dict[str, tuple[str, ...]]] = {
    "set": {"0": (_IDS["set"],), "ENOMEM": (f"unset,0,{_IDS['set']}",)},
    "delegate": {"0": ("1",)},
    "fork": {"0": (_IDS["fork"],), "ENOMEM": ("none",)},
    "clone": {"0": (_IDS["clone"],), "ENOMEM": ("none",)},
    "setns": {"0": (f"away,{_IDS['setns']}",), "ENOMEM": (f"home,{_IDS['setns']}",)},
    "rule": {"0": ("there",), "ENOMEM": ("absent",), "ENOBUFS": ("there", "absent")},
    "message": {"0": ("-",), "ENOMEM": ("-",), "ENOBUFS": ("-",)},
    "call": {"0": ("-",)},
    "exit": {"0": ("-",)},
}
_RULE = ("-a", "always,exit", "-F", "arch=b64", "-S", "getpriority,clone", "-k", "fault")
_GETPRIORITY = "140"
_LIMIT_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """A line of the program's: see its head."""

    step: str
    nth: str
    errno: str
    state: str
    lost: int


@pytest.fixture
def payloads(payloads: tuple[Path, ...]) -> tuple[Path, ...]:
    """What has its allocations fail, and its target go, besides what every scenario has."""
    folder = Path(__file__).parent
    return (*payloads, folder / "fault.c", folder / "reaped.c")


@pytest.mark.scenario(
    feature=["contid"],
    config=[
        *("AUDIT", "AUDITSYSCALL", "KASAN", "USERFAULTFD"),
        *("FAILSLAB", "FAULT_INJECTION_DEBUG_FS", "DEBUG_KMEMLEAK"),
    ],
    under=["fault"],
    # The look for leaks that follows needs a guest that booted, and has mounted debugfs.
    boot="cold",
)
def test_contid_fault(guest: Guest, judge: Judge, auditd: Any) -> None:
    # Given a kernel that names containers,
    first = guest.run(["named", "4699", "true"])
    judge.expect("naming one", first.stderr.strip() or "0", good="0", broken="ENOENT")
    if first.stderr:
        return
    # when what is written to a file of a task comes after the task was reaped, and its parent,
    for file, text in (("audit_containerid", "4698"), ("audit_capcontainerid", "1")):
        reaped = guest.run(["reaped", file, text], deadline_s=_LIMIT_S).require()
        # then there is no such task.
        judge.expect(f"errno of {file} of nobody", reaped.stdout.strip(), good="ESRCH")

    # Given a kernel in which allocations that may sleep fail, too, without a word on the console,
    for file, value in (("ignore-gfp-wait", "N"), ("verbose", "0")):
        guest.run(["sh", "-c", f"echo {value} >/sys/kernel/debug/failslab/{file}"]).require()
    guest.run(["auditctl", *_RULE]).require()

    # when each allocation of each step fails in turn,
    said = guest.run(["fault", str(_FIRST)], deadline_s=_LIMIT_S)
    judge.keep("fault.txt", said.stdout + said.stderr)
    said.require()
    tries = [_parse(line) for line in said.stdout.splitlines()]
    counted = auditd.lost()
    guest.run(["auditctl", "--reset-lost"])
    trail = auditd.trail()

    # then each is done or not, as its errno says, and what failed can be done again;
    for step, states in _STATES.items():
        mine = [one for one in tries if one.step == step]
        odd = [one for one in mine if one.state not in states.get(one.errno, ())]
        judge.expect(f"{step}: half done", odd[:3], good=[])
        ended = [one.errno for one in mine if one.nth == "end"]
        judge.expect(f"{step}: in the end", ended, good=["0"])
        judge.note(**{f"failed_{step}": len(mine) - len(ended)})
        refused = any(one.errno == "ENOMEM" for one in mine)
        judge.expect(f"{step}: ever refused", refused, good="ENOMEM" in states)

    # every container ends once, or its end is counted as lost,
    named = Counter({"4699": 1} | {_IDS[step]: 1 for step in _NAMED if step != "rule"})
    named[_IDS["set"]] = sum(one.step == "set" for one in tries)
    named[_IDS["exit"]] = sum(one.step == "exit" for one in tries)
    named[_IDS["exit"]] -= _lost_ends(tries)
    drops = Counter(
        str(record.get("old-contid")) for record in trail.matching(type="CONTAINER_OP", op="drop")
    )
    judge.expect("ends of containers", dict(drops - named | named - drops), good={})

    # and so is every other record that is missing, and nothing but those.
    judge.expect("lost without a failure", sum(t.lost for t in tries if t.nth == "end"), good=0)
    judge.expect("lost records", counted, good=sum(one.lost for one in tries))
    judge.note(lost_to_failures=counted)
    judge.expect("calls without a trace", _untold_calls(trail, tries), good=[])
    judge.expect("messages without a trace", _untold_messages(trail, tries), good=[])
    # What was begun without the stamp of its event has one that no clock ever showed.
    unread = [record.text for record in trail.records if record.type == UNPARSED]
    judge.expect("records that nobody can read", unread[:3], good=[])


def _parse(line: str) -> Try:
    step, nth, errno, state, lost = line.split()
    return Try(step=step, nth=nth, errno=errno, state=state, lost=int(lost))


def _lost_ends(tries: Sequence[Try]) -> int:
    """How many exits lost their one record."""
    return sum(one.lost for one in tries if one.step == "exit")


def _untold_calls(trail: Any, tries: Sequence[Try]) -> list[str]:
    """Calls of which the event is not whole, and no loss was counted."""
    told = set()
    for event in trail:
        types = {record.type for record in event.records}
        if {"SYSCALL", "CONTAINER_ID", "PROCTITLE"} <= types:
            # Not by its key: without memory the kernel leaves that out.
            told |= {
                int(str(record.get("a2")), 16)
                for record in event.records
                if record.get("syscall") == _GETPRIORITY
            }
    calls = [one for one in tries if one.step == "call"]
    return [
        f"{number}: {one.nth}"
        for number, one in enumerate(calls, 1)
        if number not in told and not one.lost
    ]


def _untold_messages(trail: Any, tries: Sequence[Try]) -> list[str]:
    """Messages that were accepted and are not there with their container, or lost."""
    told = {
        record.text
        for event in trail
        for record in event.records
        if record.type == "USER_LOGIN"
        and any(beside.get("contid") == _IDS["message"] for beside in event.records)
    }
    messages = [one for one in tries if one.step == "message"]
    return [
        f"{number}: {one.errno}"
        for number, one in enumerate(messages, 1)
        if one.errno == "0"
        and not one.lost
        and not any(f"nsaudit-fault-{number}-" in text for text in told)
    ]
