"""Is a missing daemon an error of ours, and no symptom?"""

from __future__ import annotations

from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge


@pytest.fixture
def daemon(guest: Guest, daemon: Any) -> Any:
    """The daemon, which is not there."""
    guest.run(["rm", "/usr/sbin/auditd"]).require()
    return daemon


@pytest.mark.scenario(broken=["userns-eperm"])
def test_case(judge: Judge, auditd: Any) -> None:
    judge.expect("never asked", "1", good="1", broken="1")
