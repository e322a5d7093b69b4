"""Is the end of a namespace recorded, and nobody held up by that, while the audit queue is full?

Namespaces are freed under locks, and by workers, that others wait for: who ends one must not wait
for room. Nor may the record be dropped for want of it, or who can fill the queue could have the
traces of its own namespaces go. The births did wait, so that there are no more ends than these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge

_LIMIT = 64
_LIMIT_S = 60.0
_DEL = 1343
_KEPT = ("/run/refused", "/run/waiting")


@pytest.mark.scenario(feature=["nsid"], config=["AUDIT", "UTS_NS"])
def test_nsid_full(
    guest: Guest,
    judge: Judge,
    daemon: Any,
    stuffed: Callable[..., Any],
    send: Callable[..., Any],
    script: Callable[[str], list[str]],
) -> None:
    # Given two namespaces that are held by mounts,
    numbers = []
    for kept in _KEPT:
        guest.run(["touch", kept]).require()
        guest.run(["unshare", f"--uts={kept}", "true"]).require()
        numbers.append(guest.run(["stat", "-L", "-c", "%i", kept]).require().stdout.strip())
    # and a queue that is full, where what is beyond the limit is refused,
    waiting = guest.spawn(script("wait.py"), keep_input=True)
    guest.wait_until(lambda: b"ready" in waiting.out, _LIMIT_S, "a program that will wait")
    reader = stuffed(daemon)
    before = daemon.status()
    judge.expect("beyond the limit", before.backlog > _LIMIT, good=True)

    # when one of them ends,
    guest.run(["umount", _KEPT[0]]).require()
    # then its record is in the queue, and not refused.
    after = daemon.status()
    judge.expect("more in the queue", after.backlog - before.backlog, good=1, broken=0)
    judge.expect("refused", after.lost - before.lost, good=0)

    # When somebody waits for room, and the other one ends,
    waiting.close_input()
    guest.wait_until(lambda: b"taken" in waiting.out, _LIMIT_S, "the answer to who waits")
    ending = guest.spawn(["umount", _KEPT[1]])
    guest.wait_until(
        lambda: waiting.status is not None or ending.status is not None, _LIMIT_S, "an end"
    )
    # then who ends it does not wait.
    said = "waits" if waiting.status is not None else f"ended with {ending.status}"
    judge.expect("who ends a namespace", said, good="ended with 0")

    # Both records reach the daemon, when it reads faster,
    reader.hurry()
    waiting.wait(_LIMIT_S).require()
    # (each message has the kernel wake one more of those who wait for room)
    send(guest.run, "there is room")
    reader.read_all("all-is-read", _LIMIT_S)
    ending.wait().require()
    told = [reader.told(_DEL, f"inode={number} ") for number in numbers]
    judge.expect("records of the ends", told, good=[1, 1], broken=[0, 0])
    judge.expect("lost", daemon.lost() - before.lost, good=0)
