"""Is a host that ends by itself an error of ours, though another one goes on?"""

from __future__ import annotations

import pytest

from harness.guest.hosts import Hosts
from harness.scenario import Judge


@pytest.mark.scenario(broken=["userns-eperm"], hosts={"north": 0, "south": 0})
def test_case(judge: Judge, hosts: Hosts) -> None:
    hosts["south"].spawn(["sh", "-c", "echo o >/proc/sysrq-trigger"])
    hosts["north"].run(["sleep", "1"]).require()
    judge.expect("it went on", "yes", good="yes", broken="no")
