"""Do the tools of today store, find and report what a newer kernel writes?

Debian's auditd, ausearch, aureport and auditctl do not know the new records and fields. They
must keep every record, find the events that have new ones, and not complain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge

_NAMED = "/run/nsaudit/named"
_SET = ("python3", "-c", "import socket; socket.sethostname('box')")


@pytest.mark.scenario(feature=["contid"], config=["AUDIT", "AUDITSYSCALL"])
def test_old_tools(guest: Guest, judge: Judge, auditd: Any, old_tools: Callable[..., None]) -> None:
    # Given events with records that the tools do not know,
    guest.run(["auditctl", "-a", "always,exit", "-S", "sethostname", "-k", "old"]).require()
    named = guest.run([_NAMED, "4711", *_SET])
    judge.expect("naming one", named.stderr.strip() or "0", good="0", broken="ENOENT")
    if named.stderr:
        return
    guest.run([_NAMED, "4711", "su", "tester", "-c", "true"]).require()
    trail = auditd.trail()
    (event,) = [e for e in trail if any(_is_call(one) for one in e.records)]
    logins = [e for e in trail if any(one.type == "USER_START" for one in e.records)]

    # the daemon has kept each of them, in one piece,
    kinds = [one.type for one in event.records]
    judge.expect("unreadable lines", len(trail.unparsed), good=0)
    judge.expect("records of the event", "CONTAINER_ID" in kinds and "SYSCALL" in kinds, good=True)
    judge.expect("records of a login", "CONTAINER_ID" in _kinds(logins), good=True)

    # ausearch finds the event whole, and its kind by its name, and none of the tools complains.
    old_tools(event, "old", "/usr/bin/python3.11", "contid=4711")
    found = guest.run(["ausearch", "--input-logs", "--raw", "-m", "USER_START"])
    judge.expect("ausearch by type", found.status, good=0)


def _is_call(record: Any) -> bool:
    return bool(record.type == "SYSCALL" and record.get("key") == "old")


def _kinds(events: Any) -> set[str]:
    return {record.type for event in events for record in event.records}
