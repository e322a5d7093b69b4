"""Does every namespace have one birth and one end in the trail, whatever becomes of it?

The initial eight are there from the boot. Each other one has one NS_INIT with who made it and
what it replaces, and one NS_DEL; both with its number and its owner. So has one that is dropped
at once because another of the same call could not be made, one that a file holds when its last
task is gone, and one that open_tree(2) makes, which needs no task. Entering a namespace makes
none. Where a container makes one, NS_INFO says beside its birth which container.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness.audit import namespaces
from harness.audit.namespaces import NS_INIT, Life
from harness.guest.container import KINDS, Container
from harness.guest.machine import Guest
from harness.scenario import Judge

_END_LIMIT_S = 8.0
_JOBS, _ROUNDS = 5, 5
# The name of each kind in a record, by its name here.
_NAMES = {**{kind: kind for kind in KINDS}, "mount": "mnt"}
_NOT_USER = tuple(flag for kind, words in KINDS.items() if kind != "user" for flag in words)
_ALL = tuple(flag for words in KINDS.values() for flag in words)
# Numbers are used again while others are born: each job makes its next when its last has gone.
_STORM = """
jobs=$1 rounds=$2; shift 2
for i in $(seq "$jobs"); do
    for j in $(seq "$rounds"); do unshare "$@" --fork true; done &
done
wait
"""
# Who makes namespaces, and then their numbers as their first task sees them.
_WHO = 'echo $$; exec "$@"'
_LOOK = ("stat", "-L", "-c", "%i", *(f"/proc/self/ns/{kind}" for kind in namespaces.KINDS))
# A user who makes a user namespace owns what is made in it.
_USER = "1000"
_AS_USER = ("setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups")
# What NS_DEL does not say.
_OF_BIRTH = ("pid", "old-inode", "old-ns-id")
_KEPT = "/run/kept"
# Holds a file of a namespace that has no task any more, until its input ends.
_HOLD = """
import os, subprocess, sys
words = ["unshare", "--uts", "sh", "-c", "echo in; read end"]
pipe = subprocess.PIPE
with subprocess.Popen(words, stdin=pipe, stdout=pipe) as task:
    task.stdout.readline()
    file = os.open(f"/proc/{task.pid}/ns/uts", os.O_RDONLY)
print("alone", flush=True)
sys.stdin.read()
"""
# open_tree(2), from user space 428; OPEN_TREE_NAMESPACE with OPEN_TREE_CLOEXEC. Says the pid, and
# the errno or the number of the namespace.
_OPEN_TREE = """
import ctypes, errno, os
call = ctypes.CDLL(None, use_errno=True).syscall
file = call(428, -100, b"/", 2 | os.O_CLOEXEC)
failed = errno.errorcode[ctypes.get_errno()] if file < 0 else "0"
print(os.getpid(), failed, os.fstat(file).st_ino if file >= 0 else 0)
"""


@pytest.mark.scenario(
    feature=["nsid"], config=["AUDIT", "USER_NS", "TIME_NS", "CGROUPS"], boot="cold"
)
def test_nsid_lifecycle(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    container: Callable[..., Container],
    ns_ids: Callable[..., namespaces.Places],
    places: Callable[[int], namespaces.Places],
) -> None:
    # Given a trail from the boot on, the initial namespaces are in it, once each,
    trail = auditd.trail("records-boot.log")
    born = trail.matching(type=NS_INIT, pid=0)
    said = {one.fields["ns"]: one.fields["inode"] for one in born}
    initial = places(1)
    judge.expect("initial births", len(born), good=8, broken=0)
    numbers = {kind: initial[kind] for kind in namespaces.KINDS}
    judge.expect("their numbers", _compare(said, numbers), good="right", broken="none")
    # before anybody has said a word to audit: it was on already.
    first = min(one.serial for one in trail.matching(type="CONFIG_CHANGE"))
    early = [one for one in born if one.serial < first]
    judge.expect("from the boot itself", len(early), good=8, broken=0)

    # When one namespace of a kind is made and left,
    truths = {}
    for kind, flags in KINDS.items():
        name = _NAMES[kind]
        truths[name] = _make(guest, initial, *flags)[name]
    made = _ended(guest, auditd)
    # then it was born once, and ended once, and both tell which one it was, and whose.
    for kind in namespaces.KINDS:
        lives = [one for one in made if one.kind == kind]
        judge.expect(f"lives, {kind}", _say(lives), good="1 whole", broken="none")
        judge.expect(f"records, {kind}", _tell(lives, truths[kind]), good="right", broken="none")

    # When a user makes a user namespace and all others with it, these are the user's.
    before = len(made)
    truths = _make(guest, initial, "--user", *_NOT_USER, by=_USER, wrap=_AS_USER)
    made = _ended(guest, auditd)
    for kind in namespaces.KINDS:
        lives = [one for one in made[before:] if one.kind == kind]
        judge.expect(f"lives by a user, {kind}", _say(lives), good="1 whole", broken="none")
        right = _tell(lives, truths[kind])
        judge.expect(f"records by a user, {kind}", right, good="right", broken="none")

    # When the last task of one is gone, and a mount or a file holds it,
    before = len(made)
    guest.run(["touch", _KEPT]).require()
    guest.run(["unshare", f"--uts={_KEPT}", "true"]).require()
    holder = guest.spawn(["python3", "-c", _HOLD], keep_input=True)
    guest.wait_until(lambda: b"alone" in holder.out, 20.0, "a namespace without a task")
    held = _say(_made(auditd)[before:], kinds=True)
    # then it ends when nothing holds it any more.
    judge.expect("lives of those that are held", held, good="2 unended uts", broken="none")
    guest.run(["umount", _KEPT]).require()
    left = _say(_ended(guest, auditd, but=1)[before:], kinds=True)
    judge.expect(
        "lives when the mount is gone", left, good="1 unended uts, 1 whole uts", broken="none"
    )
    holder.close_input()
    holder.wait()
    made = _ended(guest, auditd)
    left = _say(made[before:], kinds=True)
    judge.expect("lives when the file is closed", left, good="2 whole uts", broken="none")

    # When one is made for a file alone, where the kernel can,
    before = len(made)
    answer = guest.run(["python3", "-c", _OPEN_TREE]).require()
    creator, errno, inode = answer.stdout.split()
    can = bool(ns_ids())
    judge.expect("errno of open_tree", errno, good="0" if can else "EINVAL")
    made = _ended(guest, auditd)
    # then it has a birth and an end, too.
    lives = list(made[before:])
    said_by = _say(lives, kinds=True)
    judge.expect(
        "lives by open_tree", said_by, good="1 whole mnt" if can else "none", broken="none"
    )
    right = _tell(lives, _truth(initial, "mnt", creator, inode, initial["user"], "0"))
    judge.expect("records by open_tree", right, good="right" if can else "none", broken="none")

    # When a call makes some, and fails at the last,
    before = len(made)
    guest.run(["sysctl", "-q", "user.max_time_namespaces=0"]).require()
    flags = [flag for kind in ("uts", "ipc", "net", "time") for flag in KINDS[kind]]
    refused = guest.run(["unshare", *flags, "true"])
    guest.run(["sysctl", "-q", "user.max_time_namespaces=10000"]).require()
    judge.expect("the call", "fails" if refused.status else "works", good="fails")
    made = _ended(guest, auditd)
    # then those that were there have an end, and no other has a birth.
    judge.expect(
        "lives of the call that failed",
        _say(made[before:], kinds=True),
        good="1 whole ipc, 1 whole net, 1 whole uts",
        broken="none",
    )

    # When somebody enters a container, nothing is born.
    box = container(*KINDS)
    before, made = len(made), _made(auditd)
    judge.expect("births by the container", len(made) - before, good=8, broken=0)
    box.run(["true"]).require()
    judge.expect("births by entering it", len(_made(auditd)) - len(made), good=0)
    # When it makes namespaces, each birth says which container did;
    box.run(["unshare", "--uts", "--user", "true"]).require()
    told = _beside(auditd, _made(auditd)[len(made) :])
    wanted = places(box.pid)
    judge.note(places=dict(wanted))
    judge.expect("NS_INFO beside births in it", told, good=[[wanted], [wanted]], broken=[])
    # and where the host does, there is nothing to say.
    told = [one for one in _beside(auditd, made[:before]) if one]
    judge.expect("NS_INFO beside births on the host", told, good=[])
    made = _ended(guest, auditd, but=8)

    # When many are made at a time, none is lost, and none is there twice.
    before = len(made)
    storm = ["sh", "-c", _STORM, "storm", str(_JOBS), str(_ROUNDS), *_ALL]
    guest.run(storm, deadline_s=60.0).require()
    made = _ended(guest, auditd, but=8)
    judge.expect(
        "lives of a storm",
        _say(made[before:], kinds=True),
        good=", ".join(f"{_JOBS * _ROUNDS} whole {kind}" for kind in namespaces.KINDS),
        broken="none",
    )
    # and no number has been given away before its end was recorded.
    shared = [f"{one.kind}, {two.kind}: {two.inode}" for one, two in namespaces.sharing(made)]
    judge.expect("namespaces with one number at a time", shared[:4], good=[])
    # Nor has any id been given twice, on a kernel that has them.
    if ns_ids():
        ids = {one.ns_id for one in made} - {""}
        good = len(made) if made else "some"
        judge.expect("ids of all these", len(ids), good=good, broken=0)


def _make(
    guest: Guest,
    initial: namespaces.Places,
    *flags: str,
    by: str = "0",
    wrap: Sequence[str] = (),
) -> dict[str, dict[str, str]]:
    """Has a task make namespaces from the initial ones; what its records have to say, by kind.

    The flags are those of unshare(1); ``by`` is the user who owns a user namespace among them.
    """
    words = ["sh", "-c", _WHO, "sh", *wrap, "unshare", *flags, "--fork", *_LOOK]
    creator, *inodes = guest.run(words).require().stdout.split()
    found = dict(zip(namespaces.KINDS, inodes, strict=True))
    truths = {}
    for kind, inode in found.items():
        # A user namespace is the parent's.
        owner = initial["user"] if kind == "user" else found["user"]
        ouid = "0" if owner == initial["user"] else by
        truths[kind] = _truth(initial, kind, creator, inode, owner, ouid)
    return truths


def _truth(
    initial: namespaces.Places, kind: str, creator: str, inode: str, owner: str, ouid: str
) -> dict[str, str]:
    truth = {
        "dev": initial["dev"],
        "inode": inode,
        "userns": owner,
        "ouid": ouid,
        "pid": creator,
        "old-inode": initial[kind],
    }
    if "user-id" in initial:
        truth["old-ns-id"] = initial[f"{kind}-id"]
        if owner == initial["user"]:
            truth["userns-id"] = initial["user-id"]
    return truth


def _tell(lives: Sequence[Life], truth: dict[str, str]) -> str:
    """Whether the records of the one life say what is true: ``right``, ``none`` or what not."""
    told = []
    for life in lives:
        for record, left_out in ((life.born, ()), (life.ended, _OF_BIRTH)):
            wanted = {key: one for key, one in truth.items() if key not in left_out}
            fields = record.fields if record else {}
            told.append(_compare({k: v for k, v in fields.items() if k in wanted}, wanted))
    return ", ".join(dict.fromkeys(told)) or "none"


def _compare(said: dict[str, str], wanted: dict[str, str]) -> str:
    return "none" if not said else "right" if said == wanted else f"{said}, and not {wanted}"


def _made(auditd: Any) -> tuple[Life, ...]:
    """All lives so far but the initial ones."""
    known = namespaces.lives(auditd.trail())
    return tuple(one for one in known if not one.born or one.born.fields["pid"] != "0")


def _beside(auditd: Any, made: Sequence[Life]) -> list[list[namespaces.Places]]:
    """Where the creator of each was, as the event of the birth has it."""
    trail = auditd.trail()
    return [
        [namespaces.places(one) for one in namespaces.infos_of(trail, life.born)]
        for life in made
        if life.born
    ]


def _ended(guest: Guest, auditd: Any, but: int = 0) -> tuple[Life, ...]:
    """The same, once all but some have ended: workers free namespaces, in their own time.

    What has no end after a while has none, and is seen to lack it.
    """
    end = time.monotonic() + _END_LIMIT_S * guest.scale
    while True:
        made = _made(auditd)
        if sum(one.ended is None for one in made) <= but or time.monotonic() > end:
            return made


def _say(lives: Sequence[Life], *, kinds: bool = False) -> str:
    counted: Counter[str] = Counter()
    for one in lives:
        state = "whole" if one.born and one.ended else "unended" if one.born else "unborn"
        counted[f"{state} {one.kind}" if kinds else state] += 1
    return ", ".join(f"{counted[name]} {name}" for name in sorted(counted)) or "none"
