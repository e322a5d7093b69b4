"""Is a container's daemon told what its programs do by io_uring, by rules of its own?

An operation in io_uring_enter(2) is a record of the call's event, one of a worker or of a polling
thread is an event of its own; credentials that it borrows do not change whose it is. The machine's
trail has what its own rules ask for, and what it is told besides hides nothing of the same call
from the container's. A task controls audit by calls of its own. A daemon that does not read holds
up no ring.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.audit.records import Event, Record, Trail
from harness.guest.cgroups import MemoryCgroup, make_memory_cgroup
from harness.guest.machine import Answer, Guest
from harness.guest.polling import poll
from harness.scenario import Judge

_SHIFT = 100_000
_OPENAT, _MKDIRAT = "18", "37"  # linux/io_uring.h
_ENTER = "426"  # io_uring_enter(2)
_EEXIST, _EPERM = "-17", "-1"
_REFUSED = "ECONNREFUSED"
_AS_TESTER = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")
_OVERFLOW = "65534"
_OVERLAY = "0x794c7630"  # linux/magic.h
_INET = "0200"  # AF_INET, as an address begins with it on x86-64
# Room for records: for a daemon that reads, and that is still less than one is told of in a flood.
_LIMIT, _ENOUGH = 64, 128
# More than twice the limit.
_FLOOD = 300
# Files of a call, and how many of them a container is told of (AUDIT_USERNS_NAMES_MAX).
_MANY, _FILES = 100, 64
# Tasks that make such a call at a time, and what each file takes, at least, in bytes.
_TASKS, _NAME = 20, 100
# A task may wait for room for 60 s, an operation must not.
_SOON_S, _LIMIT_S = 30.0, 20.0


def _add(run: Callable[..., Answer], key: str, *words: str) -> str:
    """Adds a rule about operations, which the guest's auditctl is too old for; 0 or an errno."""
    rule = ["/run/nsaudit/rule", "add", "io_uring", "always", *words, "-k", key]
    return run(rule).require().stdout.strip()


def _ask(run: Callable[..., Answer], *words: object) -> tuple[str, list[str]]:
    """The pid of a program that has operations done, and what they return."""
    pid, *results = run(["/run/nsaudit/uring", *map(str, words)]).require().stdout.split()
    return pid, results


def _told(trail: Trail, key: str) -> list[Event]:
    """The events that have operations which a rule with this key asked for."""
    return list(trail.having(type="URINGOP", key=key))


def _ops(event: Event, key: str) -> list[Record]:
    return [one for one in event.records if one.type == "URINGOP" and one.get("key") == key]


def _kinds(event: Event) -> list[str]:
    return [one.type for one in event.records]


def _paths(event: Event) -> list[str | None]:
    return [one.get("name") for one in event.records if one.type == "PATH"]


def _families(event: Event) -> list[str]:
    """The first two bytes of each address, in hexadecimal."""
    return [one.fields["saddr"][:4] for one in event.records if one.type == "SOCKADDR"]


def _fields(record: Record, *names: str) -> tuple[str | None, ...]:
    return tuple(record.get(name) for name in names)


@pytest.mark.scenario(
    feature=["auditns"],
    config=["AUDIT", "AUDITSYSCALL", "IO_URING", "USER_NS", "PID_NS", "MEMCG"],
    under=["debug", "uring"],
)
def test_auditns_uring(
    guest: Guest, judge: Judge, auditd: Any, contained: Callable[..., Any]
) -> None:
    # Given a container, with ids of its own,
    payer = make_memory_cgroup(guest, "calls")
    inner = contained(shift=_SHIFT)
    run = inner.run
    if not inner.expect_start():
        return
    run(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).require()
    run(["chmod", "777", "/mnt"]).require()
    made = f"touch /mnt/known; for one in $(seq 0 {_FLOOD}); do : >/mnt/known$one; done"
    run(["sh", "-c", made]).require()
    run(["auditctl", "-b", "8192"]).require()

    # and rules about operations,
    said = _add(run, "ring", "-S", _OPENAT, "-S", _MKDIRAT)
    judge.expect("a rule about operations", said, good="0")
    if said != "0":
        return
    listed = run(["auditctl", "-l"]).require().stdout.splitlines()
    judge.expect("the rules in the list", len(listed), good=1)

    for where, rules in (
        ("without rules outside", ()),
        ("with rules outside", ("always,exit", "-S", "mkdir", "-k", "outside")),
    ):
        if rules:
            guest.run(["auditctl", "-a", *rules]).require()
        tag = "with" if rules else "without"

        def told(name: str, tag: str = tag) -> list[Event]:
            return _told(inner.trail(f"{name}-{tag}.log"), "ring")

        before = len(told("before"))

        # an operation in the call is told with that, and its file,
        pid, results = _ask(run, "call", "openat", 1, "/mnt/known")
        events = told("call")[before:]
        judge.expect(f"an operation in the call, {where}", results, good=["0"])
        judge.expect(f"its events, {where}", len(events), good=1)
        for event in events[:1]:
            (op,) = _ops(event, "ring")
            named = _fields(op, "uring_op", "success", "pid", "uid", "items")
            judge.expect(f"its record, {where}", named, good=(_OPENAT, "yes", pid, "0", "1"))
            judge.expect(f"a label, {where}", " subj=" in op.text, good=False)
            call = next((one for one in event.records if one.type == "SYSCALL"), None)
            named = _fields(call, "syscall", "pid", "key") if call else ()
            judge.expect(f"the call, {where}", named, good=(_ENTER, pid, "ring"))
            judge.expect(f"its path, {where}", _paths(event), good=["/mnt/known"])
        before += len(events)

        # many are records of one event,
        pid, results = _ask(run, "call", "openat", 5, "/mnt/known")
        events = told("many")[before:]
        judge.expect(f"events of many, {where}", len(events), good=1)
        for event in events[:1]:
            judge.expect(f"records of many, {where}", len(_ops(event, "ring")), good=5)
            judge.expect(f"calls of many, {where}", _kinds(event).count("SYSCALL"), good=1)
            judge.expect(f"paths of many, {where}", len(_paths(event)), good=5)
        before += len(events)

        # of which a container counts what is too much to be collected; that is over with the call,
        _ask(run, "twice", "openat", _MANY, "/mnt/known")
        events = told("too-many")[before:]
        counts = [len(_paths(event)) for event in events]
        judge.expect(f"paths of too many, {where}", counts, good=[_FILES, 1])
        judge.expect(f"lost of them, {where}", inner.lost(), good=1)
        run(["auditctl", "--reset-lost"]).require()
        before += len(events)

        # and one of a worker is an event of its own, with the ids of who asked for it.
        wrapped = [*_AS_TESTER, "/run/nsaudit/uring", "worker", "mkdirat", "1", f"/mnt/{tag}"]
        pid, *results = run(wrapped).require().stdout.split()
        judge.expect(f"an operation of a worker, {where}", results, good=["0"])
        events = told("worker")[before:]
        judge.expect(f"events of the worker, {where}", len(events), good=1)
        for event in events[:1]:
            (op,) = _ops(event, "ring")
            named = _fields(op, "uring_op", "success", "pid", "uid", "euid", "gid")
            good: tuple[str, ...] = (_MKDIRAT, "yes", pid, "1000", "1000", "1000")
            judge.expect(f"the record of the worker, {where}", named, good=good)
            judge.expect(f"its call, {where}", "SYSCALL" in _kinds(event), good=False)
            judge.expect(f"its place, {where}", "CWD" in _kinds(event), good=True)
            # On 6.12 the machine's audit loses the names that a worker has from another task.
            if not rules:
                judge.expect("its path", f"/mnt/{tag}" in _paths(event), good=True)
        before += len(events)

        # So is one of a thread that polls; one that fails is told as well, with what the kernel
        # says of it: that it was done.
        pid, results = _ask(run, "poll", "mkdirat", 1, f"/mnt/{tag}")
        judge.expect(f"an operation that fails, {where}", results, good=[_EEXIST])
        pid, results = _ask(run, "poll", "openat", 1, "/mnt/known")
        judge.expect(f"an operation of a polling thread, {where}", results, good=["0"])
        events = told("poll")[before:]
        ops = [op for one in events for op in _ops(one, "ring")]
        failed = sum(op.get("uring_op") == _MKDIRAT for op in ops)
        judge.expect(f"told of the one that failed, {where}", failed, good=1)
        polled = sum(op.get("pid") == pid for op in ops)
        judge.expect(f"told of the polling thread, {where}", polled, good=1)
        calls = sum("SYSCALL" in _kinds(one) for one in events)
        judge.expect(f"its calls, {where}", calls, good=0)
        before += len(events)

        # Nothing of it is in the machine's trail, which no rule asks for.
        host = auditd.trail(f"host-{tag}.log")
        seen = sum(one.type == "URINGOP" for one in host.records)
        judge.expect(f"operations at the machine's daemon, {where}", seen, good=0)

    # A rule of the machine's tells the same to the machine, with pids as they are there,
    judge.expect("a rule outside", _add(guest.run, "host", "-S", _MKDIRAT), good="0")
    before = len(_told(inner.trail("both-before.log"), "ring"))
    pid, _ = _ask(run, "worker", "mkdirat", 1, "/mnt/both")
    mine = _told(inner.trail("both-inside.log"), "ring")[before:]
    theirs = _told(auditd.trail("both-outside.log"), "host")
    judge.expect("told inside, with a rule outside", len(mine), good=1)
    judge.expect("told outside", len(theirs), good=1)
    if not (mine and theirs):
        return
    inside, outside = (_ops(*one)[0] for one in ((mine[0], "ring"), (theirs[0], "host")))
    judge.expect("the pid inside", inside.get("pid"), good=pid)
    judge.expect("the same pid outside", outside.get("pid") == pid, good=False)
    judge.expect("the user inside", inside.get("uid"), good="0")
    judge.expect("the user outside", outside.get("uid"), good=str(_SHIFT))

    # and switched off it hears nothing, while the container's does.
    guest.run(["auditctl", "-e", "0"]).require()
    before += len(mine)
    _ask(run, "worker", "mkdirat", 1, "/mnt/off")
    told_off = _told(inner.trail("off-inside.log"), "ring")[before:]
    judge.expect("told inside, with audit off outside", len(told_off), good=1)
    # Then nobody hears what is done outside.
    for how in ("worker", "call"):
        _, results = _ask(guest.run, how, "openat", 1, "/etc/passwd")
        judge.expect(f"done outside, by a {how}", int(results[0]) >= 0, good=True)
    guest.run(["auditctl", "-e", "1"]).require()
    before += len(told_off)
    theirs = _told(auditd.trail("off-outside.log"), "host")
    judge.expect("told outside, with audit off", len(theirs), good=1)

    # Whoever goes into the container and does it as who it was before is told of in there.
    words = ("call", "openat", 1, "/etc/passwd", inner.box.pid)
    _ask(guest.run, *words)
    borrowed = _told(inner.trail("borrowed.log"), "ring")[before:]
    judge.expect("told with borrowed credentials", len(borrowed), good=1)
    for event in borrowed[:1]:
        named = _fields(_ops(event, "ring")[0], "pid", "uid")
        judge.expect("who it is there", named, good=("0", _OVERFLOW))
    before += len(borrowed)

    # So is who has no part in the machine's audit.
    guest.run(["auditctl", "-a", "never,task"]).require()
    for how in ("call", "worker"):
        _ask(run, how, "openat", 1, "/mnt/known")
    guest.run(["auditctl", "-d", "never,task"]).require()
    apart = _told(inner.trail("apart.log"), "ring")[before:]
    judge.expect("told of those apart", [_paths(one) for one in apart], good=[["/mnt/known"]] * 2)
    before += len(apart)

    # Where the machine's is switched on in the midst of a call, both are told of what follows.
    judge.expect("one more rule outside", _add(guest.run, "late", "-S", _OPENAT), good="0")
    run(["sh", "-c", "mkfifo /mnt/late.go && touch /mnt/late"]).require()
    guest.run(["auditctl", "-e", "0"]).require()
    waiting = "echo $$; exec /run/nsaudit/uring linked wait /mnt/late"
    job = inner.box.spawn(["sh", "-c", waiting])
    guest.wait_until(lambda: b"\n" in job.out, _LIMIT_S, "a program that waits")
    called = ["cat", f"/proc/{bytes(job.out).decode().strip()}/syscall"]
    poll(
        lambda: run(called).stdout,
        lambda text: text.startswith(f"{_ENTER} "),
        limit_s=_LIMIT_S * guest.scale,
        what="its call",
    )
    guest.run(["auditctl", "-e", "1"]).require()
    run(["sh", "-c", "echo >/mnt/late.go"]).require()
    judge.expect("the one that waited", job.wait().status, good=0)
    # (7.3 reads a path only when the operation is done, for the machine then, and tells nobody else
    # of the file when the call ends.)
    late = _told(inner.trail("late-inside.log"), "ring")[before:]
    judge.expect("told of the one that waited, inside", len(late), good=1)
    judge.expect("told of its call", ["SYSCALL" in _kinds(one) for one in late], good=[True])
    late = _told(auditd.trail("late-outside.log"), "late")
    judge.expect("its file, outside", [_paths(one) for one in late], good=[["/mnt/late"]])

    # A rule can be about a file, too.
    run(["auditctl", "-D"]).require()
    said = _add(run, "file", "-S", _OPENAT, "path", "=", "/mnt/known")
    judge.expect("a rule about a file", said, good="0")
    _ask(run, "poll", "openat", 1, "/mnt/known")
    _ask(run, "poll", "openat", 1, "/mnt/known1")
    about = _told(inner.trail("file.log"), "file")
    judge.expect("told about a file", {p for e in about for p in _paths(e)}, good={"/mnt/known"})

    # What the machine is told of in the same call hides none where it has no rules: a refusal.
    # Rules with perm= are of no use here: those go by the system call, and match no operation.
    for side in (run, guest.run):
        side(["auditctl", "-D"]).require()
    left = guest.run(["auditctl", "-l"]).require().stdout.strip()
    judge.expect("rules outside", left, good="No rules")
    run(["mkdir", "/mnt/dir"]).require()
    run(["auditctl", "-a", "always,exit", "-F", "dir=/mnt/dir", "-k", "watch"]).require()
    paths = []
    for first, result in (("nop", "0"), ("bind", _EPERM)):
        for how in ("then", "linked"):
            one = f"/mnt/{how}-{first}"
            rule = ["auditctl", "-a", "always,exit", "-F", f"path={one}", "-k", "watch"]
            for path in (one, f"/mnt/dir/{how}-{first}"):
                run(["sh", "-c", f": >{path} && chmod 666 {path}"]).require()
                if path == one:
                    run(rule).require()
                wrapped = [*_AS_TESTER, "/run/nsaudit/uring", how, first, path]
                _, *results = run(wrapped).require().stdout.split()
                judge.expect(f"{first} and open {path}", results, good=[result, "0"])
                paths.append(path)
    watched = [e for e in _told(inner.trail("watched.log"), "watch") if "SYSCALL" in _kinds(e)]
    for path in paths:
        seen = sum(path in _paths(event) for event in watched)
        judge.expect(f"told that {path} is opened", seen, good=1)
    # The machine is told of what comes after the refusal, too, and has no part in the others.
    refusals = [e for e in auditd.trail("refusals.log") if "EVENT_LISTENER" in _kinds(e)]
    followed = sorted(str(path) for event in refusals for path in _paths(event))
    good_paths = sorted(one for one in paths if "-bind" in one)
    judge.expect("what followed, told outside", followed, good=good_paths)

    # The address of what follows is not hidden, either, nor is the other one told in its place.
    address = ("-a", "always,exit", "-S", _ENTER, "-F", "saddr_fam=2", "-k", "address")
    run(["auditctl", *address]).require()
    for first, result in (("nop", "0"), ("bind", _EPERM)):
        wrapped = [*_AS_TESTER, "/run/nsaudit/uring", "then", first, "--connect"]
        _, *results = run(wrapped).require().stdout.split()
        judge.expect(f"{first} and connect", results, good=[result, "0"])
    events = _told(inner.trail("address.log"), "address")
    judge.expect("told of addresses", [_families(e) for e in events], good=[[_INET]] * 2)

    # What the container leaves out when an operation ends is not left out for the machine.
    run(["auditctl", "-D"]).require()
    run(["auditctl", "-a", "never,filesystem", "-F", f"fstype={_OVERLAY}"]).require()
    run(["auditctl", "-a", "always,exit", "-S", _ENTER, "-k", "calls"]).require()
    guest.run(["sh", "-c", ": >/srv/seen && chmod 666 /srv/seen"]).require()
    seen = ("-F", "path=/srv/seen", "-k", "seen")
    guest.run(["auditctl", "-a", "always,exit", *seen]).require()
    run([*_AS_TESTER, "/run/nsaudit/uring", "then", "nop", "/srv/seen"]).require()
    names = [p for e in _told(auditd.trail("seen.log"), "seen") for p in _paths(e)]
    judge.expect("told outside", names, good=["/srv/seen"])

    # Root controls audit by calls of its own, not by what may hold up a kernel thread.
    for message in ("list", "get", "set"):
        for how, answer in (("call", "0"), ("worker", _REFUSED), ("poll", _REFUSED)):
            _, results = _ask(run, how, "send", message)
            judge.expect(f"a message by {how} to {message}", results, good=["0", answer])
    judge.expect("lost until here", inner.lost(), good=0)

    # What the machine does not collect, too, is charged to who makes the call.
    for side in (run, guest.run):
        side(["auditctl", "-D"]).require()
    _expect_charged(judge, inner, payer)
    _expect_apart(judge, inner)

    # A daemon that reads is told of all that a worker does, which waits a moment for room.
    judge.expect("a rule for the flood", _add(run, "flood", "-S", _OPENAT), good="0")
    run(["auditctl", "-b", str(_ENOUGH)]).require()
    _ask(run, "worker", "openat", _FLOOD, "/mnt/known")
    flood = _told(inner.trail("worker-flood.log"), "flood")
    judge.expect("told of a worker's flood", len(flood), good=_FLOOD)
    judge.expect("lost of it", inner.lost(), good=0)

    # When it does not read, a polling thread goes on, and the loss is the container's.
    run(["auditctl", "-b", str(_LIMIT)]).require()
    daemon = str(inner.status().pid)
    run(["kill", "-STOP", daemon]).require()
    soon_s = _SOON_S * guest.scale
    many = ["/run/nsaudit/uring", "poll", "openat", str(_FLOOD), "/mnt/known"]
    status = run(["timeout", "-s", "KILL", str(soon_s), *many], deadline_s=2 * soon_s).status
    judge.expect("the polling thread", status, good=0)
    run(["kill", "-CONT", daemon]).require()
    flood = _told(inner.trail("flood.log"), "flood")[len(flood) :]
    judge.note(told_of_flood=len(flood), lost_of_flood=inner.lost())
    judge.expect("the flood loses some", inner.lost() > 0, good=True)
    judge.expect("and not all", len(flood) > 0, good=True)
    auditd.trail("last.log")
    judge.expect("lost outside", auditd.lost(), good=0)


def _expect_charged(judge: Judge, inner: Any, payer: MemoryCgroup) -> None:
    """What is collected for a container of a call, until that ends, is charged to who makes it."""
    run = inner.run
    run(["mkfifo", "/mnt/known.go"]).require()
    hold = f"/run/nsaudit/uring hold openat {_MANY} /mnt/known"
    calls = f"for n in $(seq {_TASKS}); do {hold} & done; wait"
    # Nobody in there may write to the cgroup.
    program = payer.enter(inner.box.enter(["sh", "-c", calls]))
    count = ["sh", "-c", f"cat /proc/[0-9]*/syscall | grep -c '^{_ENTER} '"]

    def keep() -> int:
        """Bytes that are charged while the calls last."""
        job = inner.guest.spawn(program)
        poll(
            lambda: run(count).stdout.strip(),
            lambda seen: seen == str(_TASKS),
            limit_s=_LIMIT_S * inner.guest.scale,
            what="the calls",
        )
        # What the daemon is told is charged, too, until it has read that.
        inner.trail("kept.log")
        kept = payer.charged
        run(["sh", "-c", "echo >/mnt/known.go"]).require()
        job.wait().require()
        return kept

    without = keep()
    judge.expect("a rule for what is kept", _add(run, "kept", "-S", _OPENAT), good="0")
    more = keep() - without
    judge.note(charged_for_files=more)
    judge.expect("charged for files", more >= _TASKS * _FILES * _NAME, good=True)
    judge.expect("lost of these", inner.lost(), good=_TASKS)
    run(["auditctl", "--reset-lost"]).require()
    run(["auditctl", "-D"]).require()


def _expect_apart(judge: Judge, inner: Any) -> None:
    """An operation may be done while its task is in no call; later calls are as ever."""
    run, guest = inner.run, inner.guest
    judge.expect("a rule for those apart", _add(run, "apart", "-S", _OPENAT), good="0")
    run(["mkfifo", "/mnt/late.end"]).require()
    job = inner.box.spawn(["/run/nsaudit/uring", "apart", "/mnt/late"])
    guest.wait_until(lambda: b"\n" in job.out, _LIMIT_S, "a program that waits in no call")
    run(["sh", "-c", "echo >/mnt/late.go"]).require()
    apart = poll(
        lambda: _told(inner.trail("apart-at-last.log"), "apart"),
        bool,
        limit_s=_LIMIT_S * guest.scale,
        what="its operation",
    )
    judge.expect("calls of one apart", ["SYSCALL" in _kinds(one) for one in apart], good=[False])
    # Nobody asks for its calls then.
    run(["auditctl", "-D"]).require()
    run(["sh", "-c", "echo >/mnt/late.end"]).require()
    judge.expect("its calls after that", job.wait().status, good=0)
