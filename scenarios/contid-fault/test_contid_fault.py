"""Does what concerns a container hold together while the kernel runs out of memory?

A program in the guest names tasks, delegates, has children, changes namespaces, adds rules, sends
messages, makes audited calls, signals two containers at once and exits, and each of its
allocations in the kernel fails in turn. Either a thing is done as a whole or not at all; the
errno says which; it can be done afterwards; and a record that is missing was counted as lost.

Another writes to the files of a task that is reaped, and its parent with it, while the kernel
waits for what is written: KASAN sees it when the parent is looked at then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness.audit import faults
from harness.audit.faults import Try
from harness.audit.records import UNPARSED
from harness.guest.machine import Guest
from harness.scenario import Judge

_FIRST = 4700
# In the order in which the program takes its ids.
_NAMED = (
    *("set", "fork", "clone", "setns", "rule", "message", "call"),
    *("signal", "signal-second", "exit"),
)
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
    "signal": {"0": ("-",)},
    "exit": {"0": ("-",)},
}
_RULE = ("-a", "always,exit", "-F", "arch=b64", "-S", "getpriority,clone,kill", "-k", "fault")
_LIMIT_S = 90.0


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
def test_contid_fault(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    fail_any: Callable[[], None],
    expect_step: Callable[..., None],
) -> None:
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
    fail_any()
    guest.run(["auditctl", *_RULE]).require()

    # when each allocation of each step fails in turn,
    said = guest.run(["fault", str(_FIRST)], deadline_s=_LIMIT_S)
    judge.keep("fault.txt", said.stdout + said.stderr)
    said.require()
    tries = list(faults.parse(said.stdout))
    counted = auditd.lost()
    guest.run(["auditctl", "--reset-lost"])
    trail = auditd.trail()

    # then each is done or not, as its errno says, and what failed can be done again;
    for step, states in _STATES.items():
        mine = [one for one in tries if one.step == step]
        expect_step(step, mine, states)
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
    untold = faults.untold_calls(trail, tries, {"SYSCALL", "CONTAINER_ID", "PROCTITLE"})
    judge.expect("calls without a trace", untold, good=[])
    told = [
        record.text
        for event in trail
        for record in event.records
        if record.type == "USER_LOGIN"
        and any(beside.get("contid") == _IDS["message"] for beside in event.records)
    ]
    judge.expect("messages without a trace", faults.untold_messages(told, tries), good=[])
    # What was begun without the stamp of its event has one that no clock ever showed.
    unread = [record.text for record in trail.records if record.type == UNPARSED]
    judge.expect("records that nobody can read", unread[:3], good=[])


def _lost_ends(tries: Sequence[Try]) -> int:
    """How many exits lost their one record."""
    return sum(one.lost for one in tries if one.step == "exit")
