"""Do the tools of today store, find and report what a kernel writes that names namespaces?

As old-tools asks of containers: Debian's auditd, ausearch, aureport and auditctl do not know
NS_INFO, NS_INIT and NS_DEL. They must keep every record, find the events that have new ones, also
those that are nothing else, and not complain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.audit import namespaces
from harness.guest.machine import Guest
from harness.scenario import Judge

_NS_INFO, _NS_INIT, _NS_DEL = 1341, 1342, 1343
_SET = ("python3", "-c", "import socket; socket.sethostname('box')")


@pytest.mark.scenario(feature=["nsid"], config=["AUDIT", "AUDITSYSCALL", "UTS_NS"])
def test_nsid_old_tools(
    guest: Guest, judge: Judge, auditd: Any, old_tools: Callable[..., None]
) -> None:
    # Given an event in a namespace that came and went,
    guest.run(["auditctl", "-a", "always,exit", "-S", "sethostname", "-k", "old"]).require()
    guest.run(["unshare", "--uts", *_SET]).require()
    # (aureport has nothing to report of logins where there are none)
    guest.run(["su", "tester", "-c", "true"]).require()
    trail = auditd.trail()
    (event,) = [e for e in trail if any(map(_is_call, e.records))]

    # the daemon has kept each of the records, in one piece,
    judge.expect("unreadable lines", len(trail.unparsed), good=0)
    infos = [one for one in event.records if one.type == namespaces.NS_INFO]
    judge.expect("NS_INFO of the event", len(infos), good=1, broken=0)
    births = trail.matching(type=namespaces.NS_INIT, ns="uts")
    judge.expect("births of UTS namespaces", len(births), good=2, broken=0)
    if not infos or not births:
        return

    # and the tools find the event whole, and one that is a birth and nothing else.
    shown = f"utsns={births[-1].get('inode')}"
    old_tools(event, "old", "/usr/bin/python3.11", shown, _NS_INFO, _NS_INIT, _NS_DEL)
    birth = str(births[-1].serial)
    for how, words in (("serial", ("-a", birth)), ("number", ("-m", str(_NS_INIT), "-a", birth))):
        found = guest.run(["ausearch", "--input-logs", "--raw", *words])
        judge.expect(f"birth by {how}, complaints", found.stderr.strip(), good="")
        lines = [one for one in found.stdout.splitlines() if f":{birth})" in one]
        judge.expect(f"birth by {how}, records", len(lines), good=1)


def _is_call(record: Any) -> bool:
    return bool(record.type == "SYSCALL" and record.get("key") == "old")
