"""What becomes of a task that ends while its container's queue is full, and of its record?

A task that exits, by itself or by a signal, must not wait for room with all that it holds: nobody
could end the container meanwhile. And a task that is killed while it waits must not take its record
with it, or who wants a system call unheard would only have to have himself killed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge

_LIMIT = 64
_LIMIT_S = 30.0
_TESTER = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")
_SYSCALL = 1300  # AUDIT_SYSCALL


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS"])
def test_auditns_killed(
    guest: Guest,
    judge: Judge,
    contained: Callable[..., Any],
    stuffed: Callable[..., Any],
) -> None:
    # Given a container that wants to know of folders that a user makes, and of his tasks' ends,
    inner = contained()
    started = "starts" if inner.run(["auditctl", "-e", "1"]).status == 0 else "refused"
    judge.expect("audit in the container", started, good="starts", broken="refused")
    if started == "refused":
        return
    for call in ("mkdir", "exit_group"):
        rule = ("always,exit", "-S", call, "-F", "uid=1000", "-k", call)
        inner.run(["auditctl", "-a", *rule]).require()
    reader = stuffed(inner)
    lost = inner.lost()

    # when a task is killed that has made a folder, and waits for room,
    script = "echo $$; exec mkdir /tmp/made-by-one-who-is-killed"
    held = inner.box.spawn([*_TESTER, "sh", "-c", script])
    guest.wait_until(lambda: b"\n" in held.out, _LIMIT_S, "one that makes a folder")
    pid = bytes(held.out).decode().strip()
    asleep = f"[ -d /tmp/made-by-one-who-is-killed ] && grep -q '^State:.D' /proc/{pid}/status"
    inner.run(["sh", "-c", f"until {asleep}; do :; done"]).require()
    inner.run(["kill", "-KILL", pid]).require()
    judge.expect("one that is killed", held.wait().status, good=128 + 9)

    # and another one ends by itself, which does not take until there is room,
    ends = inner.box.spawn([*_TESTER, "true"])
    while ends.status is None and inner.status().backlog > _LIMIT:
        pass
    is_full = inner.status().backlog > _LIMIT
    judge.expect("one ends, and the queue is full", (ends.status, is_full), good=(0, True))

    # then the daemon finds both among what it reads later, and nothing has been lost.
    reader.hurry()
    reader.read_all("all-is-read", _LIMIT_S)
    told = reader.told(_SYSCALL, 'key="mkdir"')
    judge.expect("told of the folder", told, good=1)
    judge.expect("told of the end", reader.told(_SYSCALL, 'key="exit_group"'), good=1)
    judge.expect("lost meanwhile", inner.lost() - lost, good=0)

    # Where there is room, each of them is told.
    inner.run([*_TESTER, "mkdir", "/tmp/made-with-room"]).require()
    reader.read_all("room-is-read", _LIMIT_S)
    later = reader.told(_SYSCALL, 'key="mkdir"') - told
    judge.expect("told of a folder, with room", later, good=1)
