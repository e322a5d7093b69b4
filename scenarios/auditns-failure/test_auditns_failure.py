"""Does failure mode 2 of a container end the container, and nothing else?

When a record is lost, a machine in that mode panics. A container that wants the same for itself
is killed, all of it with what is below it, and once; the machine lives, its daemon is told, and
other containers and their daemons notice nothing. The machine's own mode 2 is what it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.errors import GuestCrashed
from harness.guest.cgroups import make_memory_cgroup
from harness.guest.machine import Guest
from harness.guest.polling import poll
from harness.jobs import Lab
from harness.model import Arm
from harness.scenario import Judge

_LIMIT_S = 20.0
_FLOOD = 2000
_LIMIT = 4
_ENDS = 20
# More than the queue has room for.
_LEAVES = 200
_ROOM = 64
# Of a memory cgroup, and what a program asks for in one call.
_SMALL = 32 << 20
_MUCH = 256 << 20
# What is charged in advance may be enough for one of them, and not for all.
_HUNGRY = 8
_MAP = f"import mmap; mmap.mmap(-1, {_MUCH}, flags=mmap.MAP_PRIVATE | mmap.MAP_POPULATE)"


def _await_end(guest: Guest, pid: int) -> None:
    alive = ["kill", "-0", str(pid)]
    limit_s = _LIMIT_S * guest.scale
    poll(lambda: guest.run(alive).status, bool, limit_s=limit_s, what="its end")


def _held(inner: Any) -> int:
    """Bytes that wait in the sockets of audit (protocol 9) in a container's network namespace."""
    lines = inner.run(["cat", "/proc/net/netlink"]).require().stdout.splitlines()[1:]
    return sum(int(words[4]) for line in lines if (words := line.split())[1] == "9")


@pytest.mark.scenario(
    feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS", "NET_NS", "MEMCG"]
)
def test_auditns_failure(
    guest: Guest,
    judge: Judge,
    arm: Arm,
    lab: Lab,
    auditd: Any,
    contained: Callable[..., Any],
    send: Callable[..., Any],
    script: Callable[[str], list[str]],
) -> None:
    # Given two containers with a daemon, and a program in a namespace below the first one,
    small = make_memory_cgroup(guest, "small")
    small.limit(_SMALL)
    inner, other = contained(), contained()
    for name, one in (("the one", inner), ("the other", other)):
        if not one.expect_start(f"auditd in {name}"):
            return
    below = inner.box.spawn(["unshare", "--user", "--map-root-user", "sleep", "1000"])
    place = guest.run(["stat", "-Lc", "%i", f"/proc/{inner.box.pid}/ns/user"]).require().stdout

    # when the mode is not 2, and records are lost, all live on;
    inner.run(["auditctl", "-f", "1", "-b", "4", "--backlog_wait_time", "0"]).require()
    pid = str(inner.status().pid)
    inner.run(["kill", "-STOP", pid]).require()
    flood = ["/run/nsaudit/send", "--repeat", str(_FLOOD), "flood"]
    judge.expect("the flood", inner.run(flood, deadline_s=60.0).status, good=0)
    judge.expect("lost", inner.lost() > 0, good=True)
    judge.expect("its first process", guest.run(["kill", "-0", str(inner.box.pid)]).status, good=0)

    # in mode 2 the container ends, with what is below,
    inner.run(["auditctl", "-f", "2"]).require()
    end = inner.box.spawn(flood)
    _await_end(guest, inner.box.pid)
    end.wait()
    below.wait()
    judge.expect("one below", below.status != 0, good=True)

    # the machine's daemon is told, once, and the machine and the other container live.
    trail = auditd.trail()
    told = [one for one in trail.matching(type="KERNEL") if one.get("op") == "kill-userns"]
    judge.expect("records of it", len(told), good=1)
    judge.expect("of which", told and told[0].get("inode"), good=place.strip())
    judge.expect("the other", send(other.run, "told-later").errno, good="0")
    kept = other.trail("other.log").saying("told-later")
    judge.expect("records at the other's daemon", len(kept), good=1)

    # A daemon that does not read is told of those below it up to twice its limit, no more.
    upper = contained()
    judge.expect("auditd in the upper one", upper.start().status, good=0)
    upper.run(["auditctl", "-b", str(_LIMIT), "--backlog_wait_time", "0"]).require()
    upper.run(["kill", "-STOP", str(upper.status().pid)]).require()
    judge.expect("another flood", upper.run(flood, deadline_s=60.0).status, good=0)
    judge.expect("its queue is full", upper.status().backlog >= _LIMIT, good=True)
    ends = upper.run(["/run/nsaudit/ends", str(_ENDS)], deadline_s=60.0).require()
    judge.expect("ends below it", ends.stdout.strip(), good=str(_ENDS))
    judge.expect("much is kept of them", upper.status().backlog > 3 * _LIMIT, good=False)
    judge.expect("the upper one", guest.run(["kill", "-0", str(upper.box.pid)]).status, good=0)

    # Anybody can leave the groups of listeners, without end: that is the end of nobody, neither
    # where there is no daemon yet, nor where one may be sent less.
    third = contained()
    leave = ["setpriv", "--bounding-set=-all", *script("leave.py"), str(_LEAVES)]
    third.run(["auditctl", "-e", "1", "-f", "2"]).require()
    judge.expect("leaving without a daemon", third.run(leave).status, good=0)
    judge.expect("a daemon after that", third.start().status, good=0)
    third.run(["auditctl", "-r", "5"]).require()
    hurry = ["sh", "-c", '"$@" && /run/nsaudit/send told-in-time', "sh", *leave]
    judge.expect("leaving at a rate", third.run(hurry).status, good=0)
    judge.expect("not told of that", third.lost() > _LEAVES, good=True)
    kept = third.trail("third.log").saying("told-in-time")
    judge.expect("told at that rate", len(kept), good=1)

    # Nor is it where the daemon does not read, and ends: they fill half of the queue, and what
    # others fill the rest with, and one more, is kept for the next daemon.
    third.run(["auditctl", "-r", "0", "-b", str(_ROOM), "--backlog_wait_time", "0"]).require()
    third.run(["kill", "-STOP", str(third.status().pid)]).require()

    def leave_once_more() -> bool:
        """Whether nothing of that went into the daemon's socket, each of which had it asked."""
        held = _held(third)
        third.run(leave).require()
        return _held(third) == held

    limit_s = _LIMIT_S * guest.scale
    poll(leave_once_more, bool, limit_s=limit_s, what="a full socket")
    judge.expect("queued of that", third.status().backlog, good=_ROOM // 2)
    rest = _ROOM - _ROOM // 2 + 1
    others = third.run(["/run/nsaudit/send", "--repeat", str(rest), "told-later"])
    judge.expect("others", others.status, good=0)
    third.kill()
    judge.expect("the next daemon", third.start().status, good=0)
    kept = third.trail("third-again.log").saying("told-later")
    # libaudit may take the first one for an answer to the daemon's registration, and drop it.
    judge.expect("told to the next daemon", len(kept) >= rest - 1, good=True)

    # Nor is it where somebody is killed for want of memory in a call that is told, though nothing
    # more can be charged.
    third.run(["auditctl", "--reset-lost"]).require()
    rule = ("-a", "always,exit", "-S", "mmap", "-F", f"a1={_MUCH}", "-k", "hungry")
    third.run(["auditctl", *rule]).require()
    for _ in range(_HUNGRY):
        hungry = third.run(small.enter(["python3", "-c", _MAP]))
        judge.expect("one that needs too much memory", hungry.status, good=128 + 9)
    alive = guest.run(["kill", "-0", str(third.box.pid)]).status == 0
    judge.expect("the third one lives", alive, good=True)
    if not alive:
        return
    told_of = third.trail("third-hungry.log").matching(type="SYSCALL", key="hungry")
    python = guest.run(["readlink", "-f", "/usr/bin/python3"]).require().stdout.strip()
    judge.expect("told of it", [one.get("exe") for one in told_of], good=[python] * _HUNGRY)
    judge.expect("lost of it", third.lost(), good=0)

    # Where its audit is off, the machine is told nothing when the other one ends, either.
    guest.run(["auditctl", "-e", "0"]).require()
    other.run(["auditctl", "-f", "2", "-b", "4", "--backlog_wait_time", "0"]).require()
    other.run(["kill", "-STOP", str(other.status().pid)]).require()
    end = other.box.spawn(flood)
    _await_end(guest, other.box.pid)
    end.wait()
    guest.run(["auditctl", "-e", "1"]).require()
    later = auditd.trail().matching(type="KERNEL", op="kill-userns")
    judge.expect("records where audit is off", len(later) - len(told), good=0)

    # A machine in that mode panics, as it always did.
    folder = judge.folder / "machine"
    with lab.guest(lab.kernel(arm.stack), folder, warm=False) as machine:
        machine.run(["auditctl", "-e", "1", "-f", "2"]).require()
        why = "it lives"
        try:
            # To set the rate is told in records that may be too many already.
            machine.run(["auditctl", "-r", "1"])
            for number in range(10):
                machine.run(["auditctl", "-m", f"one-too-many-{number}"])
        except GuestCrashed as error:
            why = str(error)
    judge.expect("the machine in mode 2", "audit: rate limit exceeded" in why, good=True)
