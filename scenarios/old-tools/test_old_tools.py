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

# Records of the series contid; sethostname(2) on x86-64.
_CONTAINER_OP, _SET_CAPCONTID, _SETHOSTNAME = 1344, 1345, "170"
_NAMED = "/run/nsaudit/named"
_DELEGATE = "sleep 60 & echo 1 >/proc/$!/audit_capcontainerid; kill $!"
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
    guest.run(["sh", "-c", _DELEGATE]).require()
    trail = auditd.trail()
    (event,) = [e for e in trail if any(_is_call(one) for one in e.records)]
    logins = trail.having(type="USER_START")

    # the daemon has kept each of them, in one piece,
    kinds = [one.type for one in event.records]
    judge.expect("unreadable lines", len(trail.unparsed), good=0)
    judge.expect("records of the event", "CONTAINER_ID" in kinds and "SYSCALL" in kinds, good=True)
    judge.expect("records of a login", "CONTAINER_ID" in _kinds(logins), good=True)

    # ausearch finds the event whole, and its kind by its name, and that a task was named, and
    # delegated to, by their numbers, and none of the tools complains, nor of a rule by contid.
    words = ["/run/nsaudit/rule", "add", "exit", "always", "-k", "contid", "contid", "=", "4711"]
    added = guest.run([*words, "-S", _SETHOSTNAME]).require().stdout.strip()
    judge.expect("errno of a rule by contid", added, good="0")
    old_tools(event, "old", "/usr/bin/python3.11", "contid=4711", _CONTAINER_OP, _SET_CAPCONTID)
    listed = guest.run(["auditctl", "-l"]).stdout
    judge.expect("auditctl -l, the rule", "-F key=contid" in listed, good=True)
    found = guest.run(["ausearch", "--input-logs", "--raw", "-m", "USER_START"])
    judge.expect("ausearch by type", found.status, good=0)


def _is_call(record: Any) -> bool:
    return bool(record.type == "SYSCALL" and record.get("key") == "old")


def _kinds(events: Any) -> set[str]:
    return {record.type for event in events for record in event.records}
