"""Do the daemons of two containers know nothing of each other?

Each has rules, and both containers run the same programs: each daemon gets its own, and the
numbers of its events have no gap, whatever the other does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge

_ROUNDS = 20


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS"])
def test_auditns_two(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    contained: Callable[..., Any],
    send: Callable[..., Any],
) -> None:
    # Given two containers with a daemon each, and a rule each,
    pair = {"one": contained(), "two": contained()}
    for name, inner in pair.items():
        if not inner.expect_start(f"auditd in {name}"):
            return
        rule = ["auditctl", "-a", "always,exit", "-S", "mkdir", "-S", "rmdir", "-k", name]
        inner.run(rule).require()

    # when programs of both do the same, at the same time,
    work = f"for n in $(seq {_ROUNDS}); do mkdir /tmp/in-$0-$n; rmdir /tmp/in-$0-$n; done"
    jobs = [inner.box.spawn(["sh", "-c", work, name]) for name, inner in pair.items()]
    for job in jobs:
        judge.expect("the work", job.wait().status, good=0)
    for name, inner in pair.items():
        judge.expect(f"a message in {name}", send(inner.run, f"told-in-{name}").errno, good="0")

    # then each daemon has its own, all of them, and none of the other's,
    for name, inner in pair.items():
        other = "two" if name == "one" else "one"
        trail = inner.trail(f"{name}.log")
        calls = [one for one in trail.records if one.type == "SYSCALL"]
        judge.expect(f"calls in {name}", len(calls), good=2 * _ROUNDS)
        judge.expect(f"keys in {name}", {one.get("key") for one in calls}, good={name})
        foreign = trail.saying(f"in-{other}")
        judge.expect(f"records of {other} in {name}", len(foreign), good=0)
        judge.expect(f"lost in {name}", inner.lost(), good=0)
        # The daemon's own records have numbers of its own.
        numbers = {one.serial for one in trail.records if not one.type.startswith("DAEMON_")}
        gaps = set(range(min(numbers), max(numbers))) - numbers
        judge.expect(f"numbers that are missing in {name}", sorted(gaps), good=[])

    # and the machine's has nothing.
    leaked = auditd.trail().saying("told-in-")
    judge.expect("records at the machine's daemon", len(leaked), good=0)
