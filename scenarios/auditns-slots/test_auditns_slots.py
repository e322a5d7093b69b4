"""Can one container keep the audit of all others waiting?

Its root makes hundreds of namespaces, each with a daemon that reads a record now and then, so that
the kernel is always about to send the next one to each of them. Whatever they share with other
containers there, one of those must get its records while the hostile ones still go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge

# A workqueue of 6.12 runs 256 at once (WQ_DFL_ACTIVE), and those of 7.3 more than a guest has
# memory for. The others stand in line before what comes later.
_COUNT, _BUSY = 320, 240
# For each of them the kernel is busy for 20 s of guest time.
_RECORDS, _EVERY_MS = 100, 200
_LIMIT_S = 20.0


# With KASAN so many namespaces are more than a guest has memory for.
@pytest.mark.scenario(
    feature=["auditns"], config=["AUDIT", "USER_NS", "PID_NS", "NET_NS"], under=["default"]
)
def test_auditns_slots(
    guest: Guest, judge: Judge, contained: Callable[..., Any], send: Callable[..., Any]
) -> None:
    # Given a container with a daemon, which gets a message at once,
    inner = contained()
    if not inner.expect_start():
        return
    send(inner.run, "told-before")
    judge.expect("told before", len(inner.trail().saying("told-before")), good=1)

    # when another one has many daemons, to each of which there is always something to send,
    hostile = contained()
    hold = ["/run/nsaudit/hold", *map(str, (_COUNT, _BUSY, _RECORDS, _EVERY_MS))]
    job = hostile.box.spawn(hold, keep_input=True)
    guest.wait_until(lambda: b"\n" in job.out, 100.0, "many daemons")
    judge.expect("the others", bytes(job.out).decode().strip(), good="held")
    job.send("go\n")
    guest.wait_until(lambda: b"begun" in job.out, 60.0, "their beginning")

    # then a message is told while none of these has got half of its records,
    send(inner.run, "told-meanwhile")
    while not (told := inner.read().count("told-meanwhile")) and b"." not in job.out:
        pass
    judge.expect("told, and none is half done", (told, b"." not in job.out), good=(1, True))

    # and later, too.
    hostile.run(["pkill", "--signal", "KILL", "--exact", "hold"]).require()
    guest.wait_until(lambda: job.status is not None, _LIMIT_S, "the end of the others")
    told_then = len(inner.trail().saying("told-meanwhile"))
    judge.expect("told in the end", told_then, good=1)
    judge.expect("lost", inner.lost(), good=0)
