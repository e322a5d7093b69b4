"""Does the kernel let the orchestrator, and nobody else, say which container a task is in?

A program in the guest tries what /proc/PID/audit_containerid must refuse, one attempt for each
check, in the order in which they are made, and what it must allow; then the same with
/proc/PID/audit_capcontainerid. From the value on, each attempt leaves a record in the event of
the write. Two rules that are broken at once tell which is looked at first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge

_LADDER = Path(__file__).with_name("ladder.py")
_TEXTS = {
    "garbage": "EINVAL",
    "empty": "EINVAL",
    "negative": "EINVAL",
    "blank": "EINVAL",
    "too-large": "ERANGE",
    "oversized": "EINVAL",
    "partial": "EINVAL",
    "partial-too-large": "EINVAL",
    "bad-pointer": "EFAULT",
    "partial-bad-pointer": "EINVAL",
    "garbage-kernel-thread": "EINVAL",
    "kernel-thread": "ENOPROTOOPT",
    "kernel-thread-opened-by-root": "ENOPROTOOPT",
    "dead": "ESRCH",
    "dead-partial": "ESRCH",
}
# What each attempt must get; those above fail before the value is looked at, or the task is none.
_NAMING = {
    **_TEXTS,
    "unset": "EINVAL",
    "kernel-thread-unset": "ENOPROTOOPT",
    "no-capability": "EPERM",
    "no-capability-zombie": "EPERM",
    "no-capability-with-children": "EPERM",
    "unset-opened-by-root": "EINVAL",
    "opened-by-root": "EPERM",
    "opened-by-nobody": "EPERM",
    "with-children": "EBUSY",
    "threaded": "EBUSY",
    "other-thread": "EBUSY",
    "zombie-threaded": "ESRCH",
    "not-a-descendant": "EXDEV",
    "self": "EXDEV",
    "with-children-not-a-descendant": "EBUSY",
    "zombie-not-a-descendant": "ESRCH",
    "plain": "0",
    "twice": "EEXIST",
    "another": "EEXIST",
    "not-a-descendant-twice": "EXDEV",
    "rival": "0",
    "taken": "ENOTUNIQ",
    "twice-taken": "EEXIST",
    "injection": "0",
    "newline": "0",
    "plus": "0",
    "zombie": "ESRCH",
    "taken-too-deep": "ENOTUNIQ",
    "too-deep": "EMLINK",
}
_RIGHTS = {
    **_TEXTS,
    "odd": "EINVAL",
    "odd-kernel-thread": "EINVAL",
    "no-capability": "EPERM",
    "not-a-descendant-no-capability": "EXDEV",
    "opened-by-root": "EPERM",
    "self": "EXDEV",
    "not-a-descendant": "EXDEV",
    "plain": "0",
    "twice": "0",
    "taken-away": "0",
}
_LIMIT_S = 90.0
_SILENT = frozenset((*_TEXTS, "kernel-thread-unset", "odd", "odd-kernel-thread"))
# The containers in containers, from the inside out, into which no other fits.
_CHAIN = [str(number) for number in range(232, 200, -1)]
# What the target was before, where that was something: in a container, or able to name others.
_NAMED_BEFORE = {
    **dict.fromkeys(("twice", "another", "not-a-descendant-twice", "twice-taken"), "101"),
    **dict.fromkeys(("too-deep", "taken-too-deep"), ",^".join(_CHAIN)),
}
_ABLE_BEFORE = dict.fromkeys(("twice", "taken-away"), "1")
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
    naming = _climb(guest, judge, "audit_containerid")

    # then a kernel without the file has nothing to try,
    plain = naming.get("plain", ["none"])[0]
    judge.expect("naming a child", plain, good="0", broken="ENOENT")
    if plain == "ENOENT":
        return
    # and one with it answers each attempt as documented,
    rights = _climb(guest, judge, "audit_capcontainerid")
    for what, steps, errnos in (("", naming, _NAMING), ("right: ", rights, _RIGHTS)):
        for step, errno in errnos.items():
            judge.expect(f"{what}{step}", steps.get(step, ["not tried"])[0], good=errno)
        judge.expect(f"{what}unexpected attempts", sorted(steps.keys() - errnos.keys()), good=[])

    # with one record for each that got as far as its value, which says what was before.
    trail = auditd.trail()
    told = _told(trail, "CONTAINER_OP", "contid")
    for step, (errno, opid, identity) in naming.items():
        if step not in _SILENT:
            left = told.get((opid, identity), [])
            good = (_EXITS[errno], _NAMED_BEFORE.get(step, "-1"))
            judge.expect(f"record of {step}", left.pop(0) if left else "none", good=good)
    told |= _told(trail, "SET_CAPCONTID", "capcontid")
    for step, (errno, opid, value) in rights.items():
        if step not in _SILENT:
            left = told.get((opid, value), [])
            good = (_EXITS[errno], _ABLE_BEFORE.get(step, "0"))
            judge.expect(f"record of right: {step}", left.pop(0) if left else "none", good=good)
    rest = [key for key, left in told.items() if left and key[1] not in _CHAIN]
    judge.expect("records of nothing that was tried", rest, good=[])


def _climb(guest: Guest, judge: Judge, file: str) -> dict[str, list[str]]:
    """By attempt, the errno, the target and what was written."""
    said = guest.run(["python3", "/run/ladder.py", file], deadline_s=_LIMIT_S).require().stdout
    judge.keep(f"{file}.txt", said)
    return {line.split()[0]: line.split()[1:] for line in said.splitlines()}


def _told(trail: Any, kind: str, field: str) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """By target and value, how the writes ended, and what was before.

    They ended with ``yes``, or the exit value of the failure.
    """
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for event in trail:
        for record in event.records:
            if record.type == kind and record.get("op") in ("set", None):
                (call,) = [one for one in event.records if one.type == "SYSCALL"]
                end = "yes" if call.get("success") == "yes" else str(call.get("exit"))
                key = (str(record.get("opid")), str(record.get(field)))
                found.setdefault(key, []).append((end, str(record.get(f"old-{field}"))))
    return found
