"""Do mount, UTS, IPC, cgroup and time namespaces leave audit alone?

They change neither pids nor capabilities nor sockets, so from each of them a message is
taken, a login works, and both are recorded. The broken arm is a mutant that no kernel ever
was: it refuses messages from any other namespace at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.guest.container import Container
from harness.scenario import Judge

KINDS = ("mount", "uts", "ipc", "cgroup", "time")


@pytest.mark.scenario(
    broken=["nsproxy-eperm"],
    good=["vanilla", "userns-eperm", "pidns-user", "netns-socket", "pid-vnr"],
    config=["AUDIT", "UTS_NS", "IPC_NS", "CGROUPS", "TIME_NS"],
)
def test_quiet_namespaces(
    judge: Judge,
    auditd: Any,
    container: Callable[..., Container],
    send: Callable[..., Any],
    su: Callable[..., str],
) -> None:
    seen = 0
    for kind in KINDS:
        # Given a namespace of this kind, when a program there logs and somebody comes in,
        box = container(kind)
        sent = send(box.run, f"from-a-{kind}-namespace")
        in_by_su = su(box.run)
        trail = auditd.trail()
        opened = len(trail.sessions("/usr/bin/su"))

        # then nothing is different from outside.
        judge.expect(f"errno, {kind}", sent.errno, good="0", broken="EPERM")
        judge.expect(f"su, {kind}", in_by_su, good="granted")
        judge.expect(f"records of su, {kind}", opened - seen, good=1, broken=0)
        raw = trail.saying(f"from-a-{kind}-namespace")
        judge.expect(f"records of the message, {kind}", len(raw), good=1, broken=0)
        seen = opened
        judge.note(errno=sent.errno)
