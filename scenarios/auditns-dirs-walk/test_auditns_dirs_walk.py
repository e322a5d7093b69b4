"""Does a container's daemon hear of what is in a watched directory, and hard to place?

A rule about a directory (auditns-dirs) holds for all that is in it, which the kernel finds out
by going up from what is looked up. Here that is a long way, or directories above are renamed on
it. What is in the directory all the time must be told, although there is a rule before that
says never for another directory: what cannot be placed is not to be hidden by that. Where a few
directories were renamed it can be placed, and is not told as if it were elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.guest.machine import Guest, Job
from harness.scenario import Judge

_OPENS = 60  # as in walk.c
_MOST = 128
_LIMIT_S = 60.0
_PLACES = "mount -t tmpfs tmpfs {0}; mkdir {0}/tree {0}/aside {0}/quiet"


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS"])
def test_auditns_dirs_walk(
    guest: Guest, judge: Judge, auditd: Any, contained: Callable[..., Any]
) -> None:
    # Given a container with a daemon,
    inner = contained()
    if not inner.expect_start():
        return
    inner.run(["auditctl", "-b", "8192"]).require()

    def walk(spawn: Callable[..., Job], way: str, *words: str) -> Job:
        """A program that waits for a line, once all is there that it needs."""
        job = spawn(["/run/nsaudit/walk", way, *words], keep_input=True)
        guest.wait_until(lambda: b"ready" in job.out or job.status is not None, _LIMIT_S, way)
        return job

    def load(*rules: str) -> None:
        lines = "\n".join((*(f"-a {rule}" for rule in rules), ""))
        said = inner.run(["sh", "-c", "cat >/run/rules && auditctl -R /run/rules"], given=lines)
        judge.expect(f"{rules[-1]}: complaints", said.stderr.strip(), good="")

    def told(key: str) -> list[str]:
        commands: list[str] = inner.trail(f"{key}.log").commands(key)
        return commands

    # what is done a long way down is told, and what comes from as far away,
    inner.run(["sh", "-ec", _PLACES.format("/mnt")]).require()
    far = walk(inner.box.spawn, "far", "/mnt/tree", "/mnt/aside")
    load("never,exit -F dir=/mnt/quiet", "always,exit -F dir=/mnt/tree -F perm=wa -k far")
    far.send("\n")
    far.wait(_LIMIT_S).require()
    judge.expect("told of what is far", told("far"), good=["far", "moved"])
    inner.run(["auditctl", "-D"]).require()

    # and each opening, though somebody outside renames directories above meanwhile:
    inner.run(["sh", "-ec", _PLACES.format("/media")]).require()

    def outside(argv: list[str], *, keep_input: bool) -> Job:
        enter = ("nsenter", "--target", str(inner.box.pid), "--mount", "--")
        return guest.spawn([*enter, *argv], keep_input=keep_input)

    renames = walk(outside, "rename", "/media/tree", "/media/aside", "/media/board")
    opens = walk(inner.box.spawn, "open", "/media/tree", "/media/board")
    # the way takes so long because each step is compared with the directories of all rules.
    quiet = "exit -F dir=/media/quiet"
    others = [f"never,{quiet} -F uid={1000 + n}" for n in range(_MOST - 3)]
    asked = (
        f"always,{quiet} -F perm=r -k quiet",
        "always,exit -F dir=/media/tree -F perm=r -k race",
    )
    load(f"never,{quiet}", *others, *asked)
    renames.send("\n")
    opens.send("\n")
    opens.wait(_LIMIT_S).require()
    overtaken, cycles = (int(word) for word in renames.wait(_LIMIT_S).require().stdout.split()[1:])
    judge.note(overtaken=overtaken, walk_cycles=cycles)
    judge.expect("renamed on the way", overtaken > 0, good=True)
    judge.expect("told of openings", len(told("race")), good=_OPENS)
    judge.expect("told of what is elsewhere", told("quiet"), good=[])
    judge.expect("lost inside", inner.lost(), good=0)
