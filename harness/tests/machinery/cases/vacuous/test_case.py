"""Is a kernel that is good in both slots told from a broken one?"""

from __future__ import annotations

from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge


@pytest.mark.scenario(broken=["vanilla"], good=["vanilla"])
def test_case(guest: Guest, judge: Judge, send: Any) -> None:
    judge.expect("errno", send(guest.run, "hello").errno, good="0", broken="EPERM")
