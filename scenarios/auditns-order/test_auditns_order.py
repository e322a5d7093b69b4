"""Can a container hide from the one around it by having its own daemon read slowly?

A container has made another one, whose root chose the longest time to wait for room, and whose
queue is full. A task in there waits when it has made a system call that both want to know of. The
daemon of the outer container must hear of the call all the same, while the task still waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS"])
def test_auditns_order(
    guest: Guest,
    judge: Judge,
    contained: Callable[..., Any],
    stuffed: Callable[..., Any],
) -> None:
    # Given two containers, one in the other, both with a rule about the same system call,
    outer = contained()
    if not outer.expect_start("auditd, outer"):
        return
    inner = contained(within=outer.box)
    inner.run(["auditctl", "-e", "1"]).require()
    for place in (outer, inner):
        place.run(["auditctl", "-a", "always,exit", "-S", "mkdir", "-k", "made"]).require()

    def heard(folder: str) -> int:
        return len(outer.trail().matching(type="PATH", name=folder, nametype="CREATE"))

    # of which the outer one is told, as long as the inner one has no daemon,
    inner.run(["mkdir", "/tmp/made-before"]).require()
    judge.expect("told before", heard("/tmp/made-before"), good=1)

    # when a task in the inner one waits for room in the queue there,
    reader = stuffed(inner)
    held = inner.box.spawn(["mkdir", "/tmp/made-meanwhile"])
    made = ["sh", "-c", "until [ -d /tmp/made-meanwhile ]; do :; done"]
    guest.run(made).require()
    while not (told := heard("/tmp/made-meanwhile")) and held.status is None:
        pass

    # then the outer daemon is told before that has come to an end.
    judge.expect("told, and the task waits", (told, held.status is None), good=(1, True))

    # Without the daemon that reads slowly the task goes on, and has been told of once.
    inner.run(["kill", "-KILL", str(inner.status().pid)]).require()
    reader.job.wait()
    judge.expect("the task", held.wait().status, good=0)
    waited = inner.status().backlog_wait_time_actual
    judge.expect("it has waited", waited > 0, good=True)
    judge.expect("told in the end", heard("/tmp/made-meanwhile"), good=1)
