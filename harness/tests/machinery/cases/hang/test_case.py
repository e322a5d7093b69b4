"""Is a guest that stops answering a timeout?"""

from __future__ import annotations

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge


@pytest.mark.scenario(broken=["userns-eperm"])
def test_case(guest: Guest, judge: Judge) -> None:
    guest.pause()
    guest.run(["true"], deadline_s=3.0)
    judge.expect("it went on", "yes", good="yes", broken="no")
