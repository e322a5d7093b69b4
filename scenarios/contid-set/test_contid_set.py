"""Does the kernel let the orchestrator, and nobody else, say which container a task is in?

A program in the guest tries what /proc/PID/audit_containerid must refuse, one attempt for each
check, in the order in which they are made, and what it must allow. From the value on, each
attempt leaves a CONTAINER_OP record in the event of the write.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge

_LADDER = Path(__file__).with_name("ladder.py")
_UNSET = str(2**64 - 1)
# What each attempt must get; those in _SILENT fail before the value is looked at.
_ERRNOS = {
    "garbage": "EINVAL",
    "empty": "EINVAL",
    "negative": "EINVAL",
    "blank": "EINVAL",
    "too-large": "ERANGE",
    "partial": "EINVAL",
    "bad-pointer": "EFAULT",
    "unset": "EINVAL",
    "kernel-thread": "ENOPROTOOPT",
    "no-capability": "EPERM",
    "opened-by-root": "EPERM",
    "opened-by-nobody": "EPERM",
    "with-children": "EBUSY",
    "threaded": "EBUSY",
    "not-a-descendant": "EXDEV",
    "self": "EXDEV",
    "plain": "0",
    "twice": "EEXIST",
    "another": "EEXIST",
    "rival": "0",
    "taken": "ENOTUNIQ",
    "injection": "0",
    "newline": "0",
    "plus": "0",
    "zombie": "ESRCH",
    "dead": "ESRCH",
    "too-deep": "EMLINK",
}
_TEXT = ("garbage", "empty", "negative", "blank", "too-large", "partial", "bad-pointer")
_SILENT = frozenset((*_TEXT, "kernel-thread", "dead"))
# Errnos as the exit value of the system call.
_EXITS = {
    "0": "yes",
    "EINVAL": "-22",
    "EPERM": "-1",
    "EBUSY": "-16",
    "EXDEV": "-18",
    "EEXIST": "-17",
    "ENOTUNIQ": "-76",
    "ESRCH": "-3",
    "EMLINK": "-31",
}


@pytest.mark.scenario(feature=["contid"], config=["AUDIT", "AUDITSYSCALL", "USER_NS"])
def test_contid_set(guest: Guest, judge: Judge, auditd: Any) -> None:
    # Given an orchestrator that tries everything,
    guest.put("/run/ladder.py", _LADDER.read_bytes())
    said = guest.run(["python3", "/run/ladder.py"]).require().stdout
    judge.keep("ladder.txt", said)
    steps = {line.split()[0]: line.split()[1:] for line in said.splitlines()}

    # then a kernel without the file has nothing to try,
    plain = steps.get("plain", ["none"])[0]
    judge.expect("naming a child", plain, good="0", broken="ENOENT")
    if plain == "ENOENT":
        return
    # and one with it answers each attempt as documented,
    for step, errno in _ERRNOS.items():
        judge.expect(step, steps.get(step, ["not tried"])[0], good=errno)
    judge.expect("attempts nobody asked for", sorted(steps.keys() - _ERRNOS.keys()), good=[])

    # with one record for each that got as far as its value.
    trail = auditd.trail()
    exits = _exits(trail)
    for step, (errno, opid, identity) in steps.items():
        if step not in _SILENT:
            left = exits.get((opid, identity), [])
            judge.expect(f"record of {step}", left.pop(0) if left else "none", good=_EXITS[errno])
    silent = trail.matching(type="CONTAINER_OP", contid="100")
    judge.expect("records of the kernel thread", len(silent), good=0)


def _exits(trail: Any) -> dict[tuple[str, str], list[str]]:
    """By target and id, how the writes ended: ``yes``, or the exit value of the failure."""
    found: dict[tuple[str, str], list[str]] = {}
    for event in trail:
        for record in event.records:
            if record.type == "CONTAINER_OP" and record.get("op") == "set":
                (call,) = [one for one in event.records if one.type == "SYSCALL"]
                succeeded = call.get("success") == "yes"
                key = (str(record.get("opid")), str(record.get("contid")))
                found.setdefault(key, []).append("yes" if succeeded else str(call.get("exit")))
    return found
