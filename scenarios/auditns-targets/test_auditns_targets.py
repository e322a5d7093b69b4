"""Is a container's daemon told whom its programs signal and trace?

The record OBJ_PID of such a system call has the pid and the ids that the target has there. The
machine's trail has such records for its own rules only, whatever a container asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.guest.machine import Guest, Job
from harness.scenario import Judge

_SHIFT = 100_000
_GROUP = 20  # more than an audit context has room for in one piece
# A group of sleepers; prints the group, and then their pids, when all are there.
_SLEEPERS = f"""
import os, subprocess
# It may be the leader of one already.
if os.getpgrp() != os.getpid():
    os.setpgid(0, 0)
made = [subprocess.Popen(["sleep", "1000"]) for _ in range({_GROUP})]
print(os.getpgrp(), *(one.pid for one in made), flush=True)
made[0].wait()
"""
# PTRACE_SEIZE and PTRACE_DETACH of linux/ptrace.h.
_TRACE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
pid = int(sys.argv[1])
if libc.ptrace(0x4206, pid, None, None):
    sys.exit(os.strerror(ctypes.get_errno()))
"""


def _said(guest: Guest, job: Job, what: str) -> list[str]:
    """The words of the first line that a program prints, once it is there."""
    guest.wait_until(lambda: b"\n" in job.out, 60.0, what)
    return bytes(job.out).decode().split()


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS"])
def test_auditns_targets(
    guest: Guest, judge: Judge, auditd: Any, contained: Callable[..., Any]
) -> None:
    # Given a container, with ids of its own, and a rule about signals,
    inner = contained(shift=_SHIFT)
    run = inner.run
    if not inner.expect_start():
        return
    for call in ("kill", "ptrace"):
        rule = ("always,exit", "-F", "arch=b64", "-S", call, "-k", call)
        run(["auditctl", "-a", *rule]).require()
    as_tester = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")

    for where, rules in (
        ("without rules outside", ()),
        ("with rules outside", ("always,exit", "-S", "mkdir", "-k", "outside")),
    ):
        if rules:
            guest.run(["auditctl", "-a", *rules]).require()
        tag = "with" if rules else "without"

        # one that is signalled is told with its pid, its user and its name,
        single = inner.box.spawn([*as_tester, "sh", "-c", "echo $$; exec sleep 1000"])
        (pid,) = _said(guest, single, "its pid")
        run(["sh", "-c", f"until grep -qx sleep /proc/{pid}/comm; do :; done"]).require()
        run(["kill", "-CONT", pid]).require()
        seen = inner.trail(f"single-{tag}.log").keyed("kill")[-1:].matching(type="OBJ_PID")
        judge.expect(f"targets, {where}", len(seen), good=1)
        if seen:
            told = (seen[0].get("opid"), seen[0].get("ouid"), seen[0].get("ocomm"))
            judge.expect(f"the target, {where}", told, good=(pid, "1000", "sleep"))
            judge.expect(f"a label, {where}", " obj=" in seen[0].text, good=False)

        # in a call what is signalled by that one, and not by another of the same task,
        run(["sh", "-c", f"kill -CONT {pid}; kill -CONT $$"]).require()
        both = inner.trail(f"twice-{tag}.log").keyed("kill")[-2:]
        counts = [sum(record.type == "OBJ_PID" for record in one.records) for one in both]
        judge.expect(f"targets of two calls, {where}", counts, good=[1, 1])

        # so is one that is traced,
        run(["python3", "-c", _TRACE, pid]).require()
        seen = inner.trail(f"traced-{tag}.log").keyed("ptrace")[-1:].matching(type="OBJ_PID")
        judge.expect(f"traced, {where}", [one.get("opid") for one in seen], good=[pid])

        # and of a group everyone.
        group = inner.box.spawn(["python3", "-c", _SLEEPERS])
        pgid, *pids = _said(guest, group, "a group")
        run(["kill", "-CONT", "--", f"-{pgid}"]).require()
        seen = inner.trail(f"group-{tag}.log").keyed("kill")[-1:].matching(type="OBJ_PID")
        opids = sorted(int(str(one.get("opid"))) for one in seen)
        judge.expect(f"a group, {where}", opids, good=sorted(int(one) for one in (pgid, *pids)))
        run(["sh", "-c", f"kill -KILL {pid} -{pgid}"]).require()

        # The machine's trail has none of it.
        host = auditd.trail(f"host-{tag}.log")
        foreign = [one for one in host.records if one.type == "OBJ_PID"]
        judge.expect(f"targets at the machine's daemon, {where}", len(foreign), good=0)

    # It has all of a group that its own rules ask for.
    signals = ("always,exit", "-F", "arch=b64", "-S", "kill", "-k", "kill")
    guest.run(["auditctl", "-a", *signals]).require()
    group = guest.spawn(["python3", "-c", _SLEEPERS])
    pgid, *pids = _said(guest, group, "a group outside")
    guest.run(["kill", "-CONT", "--", f"-{pgid}"]).require()
    seen = auditd.trail("group-outside.log").keyed("kill")[-1:].matching(type="OBJ_PID")
    opids = sorted(int(str(one.get("opid"))) for one in seen)
    judge.expect("a group outside", opids, good=sorted(int(one) for one in (pgid, *pids)))
    guest.run(["kill", "-KILL", "--", f"-{pgid}"]).require()
    judge.expect("lost inside", inner.lost(), good=0)
