"""Does a task of a container end when it is killed, whatever it has asked of the audit there?

One asks for the rules, thousands of times by one call, and reads none of the answers: who ends the
container must not have to wait until the kernel has tried to send them all. And one that reads its
list slowly may not keep all others from theirs until it has read the last of a thousand rules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.errors import DeadlineExceeded
from harness.guest.machine import Guest, Job
from harness.scenario import Judge

# More than fit a socket that holds one, and as many as make a list that takes 9 s of guest time.
_RULES = 150
_PAUSE_MS = 60
# These the kernel has sent, or is about to.
_FEW = 10
# What fits a send buffer of the default size.
_TIMES = 5000
_LIMIT_S = 15.0


def _ends(guest: Guest, job: Job) -> bool:
    try:
        guest.wait_until(lambda: job.status is not None, _LIMIT_S, "an end")
    except DeadlineExceeded:
        return False
    return True


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS"])
def test_auditns_hold(guest: Guest, judge: Judge, contained: Callable[..., Any]) -> None:
    # Given a container with a daemon and rules,
    inner = contained()
    if not inner.expect_start():
        return
    rules = "".join(f"-a always,exit -S mkdir -F uid={one}\n" for one in range(_RULES))
    inner.run(["tee", "/run/rules"], given="-b 8192\n" + rules).require()
    inner.run(["auditctl", "-R", "/run/rules"]).require()

    def ask(*words: int) -> tuple[Job, str]:
        """Asks, until it has or it sleeps in the call; the job, and its pid there."""
        job = inner.box.spawn(["/run/nsaudit/ask", *map(str, words)])
        guest.wait_until(lambda: b"\n" in job.out, 30.0, "one that asks")
        return job, bytes(job.out).decode().split()[0]

    def asleep(pid: str) -> None:
        inner.run(["sh", "-c", f"until grep -q '^State:.D' /proc/{pid}/status; do :; done"])

    # when somebody asks once and does not read, a kill ends it,
    job, pid = ask(1, 0)
    guest.wait_until(lambda: b"asked" in job.out, 30.0, "one that has asked")
    inner.run(["kill", "-KILL", pid]).require()
    judge.expect("one that asked once ends", _ends(guest, job), good=True)

    # and when another reads slowly, somebody else need not wait until it has read all.
    slow, _ = ask(1, _PAUSE_MS)
    guest.wait_until(lambda: b"." in slow.out, 30.0, "one that reads slowly")
    second = inner.run(["auditctl", "-l"], deadline_s=60.0).require()
    read = slow.out.count(b".")
    judge.note(read_meanwhile=read)
    judge.expect("who reads slowly has read all by then", read > _RULES - _FEW, good=False)
    judge.expect("lines of a list", len(second.stdout.splitlines()), good=_RULES)

    # Who asks often, and reads nothing, ends by a kill, too.
    job, pid = ask(_TIMES, 0)
    asleep(pid)
    inner.run(["kill", "-KILL", pid]).require()
    judge.expect("one that asked often ends", _ends(guest, job), good=True)
