"""Does a record that the kernel dropped spoil what was seen?"""

from __future__ import annotations

from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge


@pytest.mark.scenario(broken=["userns-eperm"])
def test_case(guest: Guest, judge: Judge, auditd: Any) -> None:
    guest.run(["auditctl", "-r", "2"]).require()
    guest.run(["/run/nsaudit/send", "--repeat", "50", "flood"])
    guest.run(["auditctl", "-r", "0"]).require()
    auditd.trail()
    judge.expect("errno", "0", good="0", broken="EPERM")
