"""A hundred containers with a daemon each, and a machine that wants to know nothing: who gets what?

All of them log and make system calls at the same time. Each daemon gets exactly what its own
program says and does, also where the machine's audit is off, and where none of its tasks is to be
audited by a rule of the machine's.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.audit import records
from harness.guest.machine import Guest
from harness.scenario import Judge

_COUNT = 100
_MESSAGES = 5
# What is done to the machine's audit before: auditctl's options.
_STATES = {"no rules": ("-e", "1"), "off": ("-e", "0"), "no tasks": ("-a", "never,task")}


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS"])
def test_auditns_hundred(guest: Guest, judge: Judge, script: Callable[[str], list[str]]) -> None:
    known = guest.run(["sysctl", "-q", "user.max_audit_ns=1000"]).status == 0
    judge.expect("the limit", "known" if known else "unknown", good="known", broken="unknown")
    if not known:
        return

    many = [*script("many.py"), str(_COUNT), str(_MESSAGES)]
    for state, options in _STATES.items():
        guest.run(["auditctl", *options]).require()
        said = guest.run(many, deadline_s=300.0)
        judge.keep(f"transcript-{state.replace(' ', '-')}.txt", said.stdout + said.stderr)
        lines = [line.split() for line in said.stdout.splitlines()]
        judge.expect(f"daemons, {state}", len({line[0] for line in lines}), good=_COUNT)
        for name, column in (("messages", 1), ("calls", 2)):
            short = [line[0] for line in lines if int(line[column]) != _MESSAGES]
            judge.expect(f"daemons without all their {name}, {state}", short, good=[])
        judge.expect(f"records of others, {state}", sum(int(line[3]) for line in lines), good=0)

    after = records.parse_status(guest.run(["auditctl", "-s"]).require().stdout)
    judge.expect("lost by the machine", after.lost, good=0)
