"""Are all that descend from a named task in its container, whatever they do?

A container makes tasks by fork, vfork, clone and double fork, executes, and enters another
network namespace; its orchestrator is killed. What it is in can be neither read nor changed
from inside.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge

_FAMILY = Path(__file__).with_name("family.py")
_KINDS = ("first", "after-many", "fork", "exec", "double-fork", "new-network", "vfork", "thread")
_NAMED = "/run/nsaudit/named"
_ID = "4711"
# A user that owns the file, and so can open it, but has no capability.
_INSIDE = (_NAMED, "4713", "setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")
# Root, who has every capability, but not where audit asks for it.
_ROOT_INSIDE = (_NAMED, "4713", "unshare", "--user", "--map-root-user")
# The id of each of many, counted.
_COUNT_MANY = """
while read -r pid; do
	read -r id <"/proc/$pid/audit_containerid"
	echo "$id"
done </run/many | sort | uniq -c
"""


@pytest.mark.scenario(feature=["contid"], config=["AUDIT", "NET_NS", "USER_NS"])
def test_contid_inherit(guest: Guest, judge: Judge, auditd: Any) -> None:
    # Given a container whose first task makes others,
    guest.put("/run/family.py", _FAMILY.read_bytes())
    job = guest.spawn([_NAMED, _ID, "python3", "/run/family.py"])
    guest.wait_until(
        lambda: job.out.count(b"\n") >= len(_KINDS) or job.status is not None, 300.0, "the family"
    )
    judge.expect("naming it", job.err.decode().strip() or "0", good="0", broken="ENOENT")
    if job.status is not None:
        return
    tasks = {kind: (pid, tid) for kind, pid, tid in map(str.split, job.out.decode().splitlines())}

    # then each of them is in it,
    for kind in _KINDS:
        judge.expect(kind, _read(guest, *tasks[kind]), good=_ID)
    many = guest.run(["sh", "-c", _COUNT_MANY]).require().stdout
    judge.expect("a thousand", many.split(), good=["1000", _ID])

    # also after setns(2) to the namespaces of another, and without its orchestrator.
    first = tasks["first"][0]
    into = ("nsenter", "--net", "--target")
    read = ("cat", "/proc/self/audit_containerid")
    entered = guest.run([*into, tasks["new-network"][0], _NAMED, "4712", *into, first, *read])
    judge.expect("after setns", entered.stdout, good="4712")
    guest.run(["sh", "-c", "kill -9 $(pidof named)"]).require()
    guest.wait_until(lambda: job.status is not None, 20.0, "the end of the orchestrator")
    for kind in _KINDS:
        judge.expect(f"{kind}, orphaned", _read(guest, *tasks[kind]), good=_ID)
    taken = guest.run([_NAMED, _ID, "true"])
    judge.expect("its id for another's", taken.stderr.strip(), good="ENOTUNIQ")

    # Inside nobody learns it, and nobody changes it.
    for who, inside in (("user", _INSIDE), ("root", _ROOT_INSIDE)):
        said = guest.run([*inside, *read]).stderr.rpartition(": ")[2].strip()
        judge.expect(f"reading inside as {who}", said, good="Operation not permitted")
    said = guest.run([*_INSIDE, _NAMED, "5", "true"]).stderr
    judge.expect("setting inside", said.strip(), good="EPERM")
    auditd.trail()


def _read(guest: Guest, pid: str, tid: str) -> str:
    answer = guest.run(["cat", f"/proc/{pid}/task/{tid}/audit_containerid"])
    return answer.stdout or answer.stderr.strip()
