"""Is a guest that powers itself off an error of ours, and no crash?"""

from __future__ import annotations

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge


@pytest.mark.scenario(broken=["userns-eperm"])
def test_case(guest: Guest, judge: Judge) -> None:
    guest.run(["sh", "-c", "echo o >/proc/sysrq-trigger; sleep 60"])
    judge.expect("it went on", "yes", good="yes", broken="no")
