"""Does a real orchestrator's container carry its id in every event?

Debian's runc starts a container from the image. The process that becomes runc is named, so
that all that runc starts is in the container. That is too late in a hook of runc: the
container's first process has threads by then, of the Go runtime, and a task with threads cannot
be named (EBUSY), not even by the orchestrator itself when the hook asks for it. The hook is no
ancestor of it besides (see contid-set), and this one runs without privilege.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge

_BUNDLE = Path(__file__).with_name("bundle.sh")
_ORCHESTRATE = Path(__file__).with_name("orchestrate.py")
# In a user namespace runc leaves the cgroup's devices alone: for those it needs BPF.
_RUNC = (
    *("unshare", "--user", "--map-users=0,0,65536", "--map-groups=0,0,65536"),
    *("runc", "run", "--bundle", "/run/box"),
)


@pytest.mark.scenario(
    feature=["contid"], config=["AUDIT", "AUDITSYSCALL", "CGROUPS", "USER_NS", "PID_NS"]
)
def test_contid_runc(guest: Guest, judge: Judge, auditd: Any) -> None:
    # Given a kernel that names containers, and a bundle for runc,
    first = guest.run(["/run/nsaudit/named", "1", "true"])
    judge.expect("naming one", first.stderr.strip() or "0", good="0", broken="ENOENT")
    if first.stderr:
        return
    guest.put("/run/bundle.sh", _BUNDLE.read_bytes(), 0o755)
    guest.run(["/run/bundle.sh"]).require()
    guest.run(["auditctl", "-a", "always,exit", "-S", "sethostname", "-k", "runc"]).require()
    guest.run(["auditctl", "-a", "always,exit", "-S", "execve", "-k", "runc"]).require()

    # when the orchestrator names what becomes runc,
    guest.run(["/run/nsaudit/named", "4711", *_RUNC, "box"]).require()
    trail = list(auditd.trail())
    (named,) = [n for n, event in enumerate(trail) if _is_op(event, "set", "contid", "4711")]
    (ended,) = [n for n, event in enumerate(trail) if _is_op(event, "drop", "old-contid", "4711")]
    events = trail[named + 1 : ended]

    # then every event of the container has its id, from the first program on,
    calls = [e for e in events if any(one.get("key") == "runc" for one in e.records)]
    programs = {one.get("exe") for e in calls for one in e.records if one.type == "SYSCALL"}
    judge.expect("runc was seen", "/usr/sbin/runc" in programs, good=True)
    hosts = [e for e in calls if any(one.get("comm") == "python3" for one in e.records)]
    judge.expect("events of the payload", len(hosts) > 0, good=True)
    nameless = [
        [one.text for one in event.records]
        for event in calls
        if "4711" not in {one.get("contid") for one in event.records}
    ]
    judge.expect("events without its id", nameless, good=[])

    # and the hook could not have given another.
    judge.expect("the hook", guest.get("/run/hook.said").decode(), good="EPERM")
    guest.put("/run/orchestrate.py", _ORCHESTRATE.read_bytes())
    late = guest.run(["python3", "/run/orchestrate.py", *_RUNC, "late"]).require().stdout
    judge.expect("the orchestrator, at the hook", late.strip(), good="EBUSY 0")


def _is_op(event: Any, op: str, field: str, value: str) -> bool:
    return any(
        one.type == "CONTAINER_OP" and one.get("op") == op and one.get(field) == value
        for one in event.records
    )
