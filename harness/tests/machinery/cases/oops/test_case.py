"""Is an oops a crash?"""

from __future__ import annotations

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge


@pytest.mark.scenario(broken=["oops-on-list"], good=["oops-on-list"])
def test_case(guest: Guest, judge: Judge) -> None:
    guest.run(["/run/nsaudit/send", "--type", "1002", "crash"])
    judge.expect("it went on", "yes", good="yes", broken="no")
