"""Has a container's audit rules of its own, for what its programs do and say?

Rules inside match only what happens inside, list only what was added there, and tell it with
the container's pids and ids. Nothing that is done to rules inside, not even to lock them,
reaches the machine's, and the reverse. What a container's daemon could not know, ids and
processes that are not there, and what is the machine's, is refused with the documented errno.
A list of rules comes after the acknowledgment of its request, as the machine's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness.audit.records import Event
from harness.guest.machine import Answer, Guest
from harness.scenario import Judge

# Says its pid and that of its parent, and renames the host.
_RENAME = (
    "python3",
    "-B",
    "-c",
    "import os, socket; print(os.getpid(), os.getppid()); socket.sethostname('box')",
)
_AS_TESTER = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")
_AS_ANOTHER = ("setpriv", "--reuid=1001", "--regid=1001", "--clear-groups")
_MAY_SPEAK = ("--inh-caps=+audit_write", "--ambient-caps=+audit_write")
_SPEAKERS: dict[str, tuple[str, ...]] = {"root": (), "tester": (*_AS_TESTER, *_MAY_SPEAK)}
_SHIFT = 100_000
# Tasks that are left out.
_UNHEARD = 20
_TMPFS = "0x1021994"  # linux/magic.h
# What the machine knows and a container does not.
_FOREIGN = {"CONTAINER_ID", "NS_INFO", "NS_INIT", "NS_DEL"}
_CALL = ("-S", "sethostname")
# The mask of the CPUs that workers of no CPU in particular run on.
_WORKERS = "/sys/devices/virtual/workqueue/cpumask"
# Where the kernel did not see to it 3 to 40 of so many came too early on 6.12, 4352 on 7.3.
_LISTS = 5_000
# AUDIT_FIELD_COMPARE, with some of the values that it has, and some that it has not.
_COMPARE = "111"
_COMPARISONS = {"1": "0", "25": "0", "0": "EINVAL", "26": "EINVAL", "100": "EINVAL"}
_EXEC = ("always,exit", "-F", "arch=b64", "-S", "execve")
# Each rule with what auditctl prints when the kernel refuses it.
_REFUSED = {
    "an unmapped user": (("-F", "uid=70000"), "Invalid argument"),
    "an unmapped group": (("-F", "gid=70000"), "Invalid argument"),
    "an unmapped login": (("-F", "auid=70000"), "Invalid argument"),
    "a process that is not there": (("-F", "pid=99999"), "No such process"),
    "a parent that is not there": (("-F", "ppid!=99999"), "No such process"),
    "a label": (("-F", "subj_user=nobody"), "not supported"),
    "a directory that is not there": (("-F", "dir=/nowhere"), "No such file"),
}


def _add(run: Callable[..., Answer], *rule: str) -> Answer:
    return run(["auditctl", "-a", *rule])


def _list(run: Callable[..., Answer]) -> list[str]:
    said = run(["auditctl", "-l"]).require().stdout.strip()
    return [] if said == "No rules" else said.splitlines()


def _call(event: Event) -> Any:
    return next(one for one in event.records if one.type == "SYSCALL")


def _kinds(events: Sequence[Event]) -> set[str]:
    return {record.type for event in events for record in event.records}


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS"])
def test_auditns_rulespace(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    contained: Callable[..., Any],
    send: Callable[..., Any],
) -> None:
    # Given the machine's daemon with a rule, and one in a container,
    _add(guest.run, "always,exit", *_CALL, "-k", "outside").require()
    inner = contained()
    run = inner.run
    said = _add(run, "always,exit", *_CALL)
    refused = "disabled" in said.stdout + said.stderr
    judge.expect("a rule before there is audit", refused, good=True)
    if not inner.expect_start():
        return
    asked = run(["auditctl", "-l"])
    judge.expect("asking for rules inside", asked.stderr, good="")
    if asked.status:
        return
    judge.expect("rules inside", asked.stdout.strip(), good="No rules")

    # a rule inside is listed inside, and the machine's is not.
    for rule in (
        ("always,exit", "-F", "arch=b64", *_CALL, "-F", "key=inside"),
        ("always,exit", "-F", "arch=b64", "-S", "mkdir", "-F", "key=folder"),
        (*_EXEC, "-F", "uid=1000", "-F", "success=1", "-F", "key=tester"),
    ):
        judge.expect(f"adding {rule[-1]}", _add(run, *rule).status, good=0)
    judge.expect("rules inside, listed", len(_list(run)), good=3)
    outside = _list(guest.run)
    judge.expect(
        "rules outside, listed", [one.split("key=")[-1] for one in outside], good=["outside"]
    )

    # It matches what is done inside: with the pids and ids of the container, and all that
    # belongs to the event, but nothing that is the machine's.
    pid, ppid = run(_RENAME).require().stdout.split()
    guest.run(_RENAME).require()
    run(["mkdir", "/tmp/made-inside"]).require()
    run([*_AS_TESTER, "id", "-u"]).require()
    run([*_AS_TESTER, "mkdir", "/tmp/made-by-tester"]).require()
    trail = inner.trail("inside.log")
    renamed = trail.keyed("inside")
    judge.expect("events of the rule", len(renamed), good=1)
    call = _call(renamed[0]) if renamed else None
    judge.expect("its pid", call and call.get("pid"), good=pid)
    judge.expect("its parent", call and call.get("ppid"), good=ppid)
    judge.expect("its program", call and call.get("comm"), good="python3")
    judge.expect("its title", "PROCTITLE" in _kinds(renamed), good=True)
    judge.expect("a label", " subj=" in trail.records[-1].text, good=False)
    made = ("/tmp/made-inside", "/tmp/made-by-tester")
    folders = [event for path in made for event in trail.having(name=path)]
    judge.expect("events of mkdir", len(folders), good=2)
    judge.expect("records of mkdir", {"CWD", "PATH"} <= _kinds(folders), good=True)
    execs = trail.keyed("tester")
    judge.expect("events of the tester", len(execs), good=2)
    judge.expect("arguments", "EXECVE" in _kinds(execs), good=True)
    judge.expect("uids", {_call(event).get("uid") for event in execs}, good={"1000"})
    foreign = ", ".join(sorted(_kinds(list(trail)) & _FOREIGN)) or "none"
    judge.expect("records of the machine's", foreign, good="none")
    judge.expect("unreadable lines", len(trail.unparsed), good=0)
    host = auditd.trail("outside.log")
    judge.expect("the same outside", len(host.keyed("outside")), good=2)
    judge.expect("keys of inside, outside", len(host.keyed("inside")), good=0)

    # A process in a user namespace below, whoever made it, does not get away.
    run([*_AS_TESTER, "unshare", "--user", "--map-root-user", "mkdir", "/tmp/made-below"]).require()
    below = [_call(event) for event in inner.trail("below.log").having(name="/tmp/made-below")]
    judge.expect("events of one below", len(below), good=1)
    judge.expect("uid of one below", below and below[0].get("uid"), good="1000")

    # What is not there is refused, and what is the machine's.
    for what, (field, why) in _REFUSED.items():
        said = _add(run, "always,exit", *_CALL, *field)
        judge.expect(f"{what}, told so", why in said.stderr, good=True)
    said = _add(run, "always,task")
    judge.expect("all of a task, told so", "not supported" in said.stderr, good=True)
    for change in ("add", "del"):
        said = run(["/run/nsaudit/rule", change, "io_uring", "always", "1", "=", "0"]).require()
        judge.expect(f"the list io_uring, {change}", said.stdout.strip(), good="0")
    # So is a comparison that does not exist. A kernel that takes it warns at each call that the
    # rule is asked about: it is about a user who makes none.
    for value, good in _COMPARISONS.items():
        compare = ("exit", "always", "1", "=", "1001", _COMPARE, "=", value)
        told = run(["/run/nsaudit/rule", "add", *compare]).require().stdout.strip()
        judge.expect(f"comparison {value}", told, good=good)
        if told == "0":
            run(["/run/nsaudit/rule", "del", *compare]).require()
    judge.expect("rules after that", len(_list(run)), good=3)

    # Tasks can be left out, and who is made after that is. (auditctl gives no key to such a rule)
    unheard = ("task", "never", "1", "=", "1000", "-k", "unheard")
    _add(guest.run, "always,exit", "-S", "mkdir", "-k", "folder").require()
    make = 'for n in $(seq "$0"); do mkdir "$1-$n"; done'
    for where, reader in (("inside", inner), ("outside", auditd)):
        reader.run(["/run/nsaudit/rule", "add", *unheard]).require()
        words = (str(_UNHEARD), f"/tmp/unheard-{where}")
        reader.run([*_AS_TESTER, "sh", "-c", make, *words]).require()
        reader.run(["mkdir", f"/tmp/heard-{where}"]).require()
        told = reader.trail(f"unheard-{where}.log").matching(nametype="CREATE")
        names = [one.get("name") for one in told if f"heard-{where}" in one.text]
        judge.expect(f"made by tasks not left out, {where}", names, good=[f"/tmp/heard-{where}"])
    guest.run(["/run/nsaudit/rule", "del", *unheard]).require()
    guest.run(["auditctl", "-D", "-k", "folder"]).require()

    # So can file systems: the call is told, the file is not. The log is on a tmpfs.
    filesystem = ("never,filesystem", "-F", f"fstype={_TMPFS}")
    _add(run, *filesystem).require()
    run(["mkdir", "/var/log/audit/made-on-tmpfs"]).require()
    # What another user may not make there has no type of its own.
    run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/mnt"]).require()
    said = run([*_AS_ANOTHER, "mkdir", "/mnt/refused"])
    judge.expect("another who makes one", "Permission denied" in said.stderr, good=True)
    run(["mkdir", "/root/made-elsewhere"]).require()
    trail = inner.trail("filesystems.log")
    judge.expect("files on a tmpfs", len(trail.having(name="/var/log/audit/made-on-tmpfs")), good=0)
    judge.expect("refused on a tmpfs", len(trail.having(name="/mnt/refused")), good=0)
    judge.expect("files elsewhere", len(trail.having(name="/root/made-elsewhere")), good=1)
    calls = [_call(event) for event in trail.keyed("folder")[-3:]]
    items = [int(one.get("items")) > 0 for one in calls]
    judge.expect("files in the calls", items, good=[False, False, True])
    run(["auditctl", "-d", *filesystem]).require()

    # Messages and types of records are chosen inside for inside.
    _add(run, "never,user", "-F", "uid=1000").require()
    _add(run, "always,exclude", "-F", "msgtype=CWD").require()
    for name, wrap in _SPEAKERS.items():
        judge.expect(f"a message of {name}", send(run, f"told-by-{name}", wrap).errno, good="0")
    run(["mkdir", "/tmp/made-again"]).require()
    trail = inner.trail("chosen.log")
    for name, count in (("root", 1), ("tester", 0)):
        found = trail.saying(f"msg='told-by-{name}")
        judge.expect(f"records of {name}", len(found), good=count)
    again = _kinds(trail.having(name="/tmp/made-again"))
    judge.expect("the excluded one", "CWD" in again, good=False)
    judge.expect("the others", "PATH" in again, good=True)

    # To delete all inside leaves the machine's, and the reverse.
    judge.expect("deleting inside", run(["auditctl", "-D"]).status, good=0)
    judge.expect("left inside", _list(run), good=[])
    judge.expect("left outside", len(_list(guest.run)), good=1)
    _add(run, "always,exit", *_CALL, "-k", "inside").require()
    guest.run(["auditctl", "-D"]).require()
    judge.expect("left inside then", len(_list(run)), good=1)

    # A list that does not fit into what a socket holds arrives whole; 1024 rules are enough.
    many = "".join(f"-a always,exit -S sethostname -F a0={n}\n" for n in range(1100))
    filled = run(["sh", "-c", "cat > /tmp/many; auditctl -R /tmp/many"], given=f"-c\n{many}")
    judge.keep("transcript-many.txt", filled.stdout + filled.stderr)
    judge.expect("a long list", len(_list(run)), good=1024)
    judge.expect("told so", "No space left" in filled.stderr, good=True)
    run(["auditctl", "-D"]).require()

    # It begins after the acknowledgment, also where it is sent by another CPU.
    guest.run(["tee", _WORKERS], given="2\n").require()
    ask = ("taskset", "--cpu-list", "0", "/run/nsaudit/lists", str(_LISTS))
    early = run(ask, deadline_s=60.0).require().stdout.strip()
    judge.expect("lists before the acknowledgment", early, good="0")

    # Ids are those of a container that has others, in rules as in records.
    shifted = contained(shift=_SHIFT)
    judge.expect("auditd with other ids", shifted.start().status, good=0)
    mine = ("-S", "mkdir", "-F", "uid>=1000", "-F", "uid<=1001", "-k", "mine")
    _add(shifted.run, "always,exit", *mine).require()
    listed = _list(shifted.run)
    judge.expect("ids in the list", len(listed) == 1 and "uid>=1000" in listed[0], good=True)
    for uid in ("999", "1000"):
        as_user = ("setpriv", f"--reuid={uid}", "--regid=0", "--clear-groups")
        shifted.run([*as_user, "mkdir", f"/tmp/made-by-{uid}"]).require()
    calls = [_call(event) for event in shifted.trail("shifted.log").keyed("mine")]
    judge.expect("ids in records", [one.get("uid") for one in calls], good=["1000"])
    # Who has no id there is like all others that have none, in comparisons as in records.
    nobodies = ("-F", "arch=b64", "-S", "openat", "-C", "auid=obj_uid", "-k", "nobodies")
    _add(shifted.run, "always,exit", *nobodies).require()
    as_admin = ("sh", "-c", 'echo 5000 >/proc/self/loginuid && exec "$@"', "sh")
    guest.run([*as_admin, *shifted.box.enter(["cat", "/etc/machine-id"])]).require()
    alike = shifted.trail("shifted.log").having(name="/etc/machine-id")
    judge.expect("an admin and an owner without an id", len(alike), good=1)
    judge.expect("a neighbour's rule", len(inner.trail("neighbour.log").keyed("mine")), good=0)

    # A change is told to the daemon whose rules they are, if its audit is on.
    places = {"inside": inner, "outside": auditd}
    for where, off in places.items():
        off.run(["auditctl", "-e", "0"]).require()
        for one in places.values():
            _add(one.run, "always,exit", *_CALL, "-k", f"off-{where}").require()
            one.run(["auditctl", "-D", "-k", f"off-{where}"]).require()
        off.run(["auditctl", "-e", "1"]).require()
        for place, one in places.items():
            trail = one.trail(f"off-{where}-{place}.log")
            told = trail.matching(type="CONFIG_CHANGE", key=f"off-{where}")
            ways = [change.get("op") for change in told]
            known = [] if one is off else ["add_rule", "remove_rule"]
            judge.expect(f"changes told {place}, with audit off {where}", ways, good=known)

    # Locked inside, nothing changes there any more, and all the rest can.
    run(["auditctl", "-e", "2"]).require()
    locked = run(["/run/nsaudit/rule", "add", "user", "always", "1", "=", "0"]).require()
    judge.expect("locked inside", locked.stdout.strip(), good="EPERM")
    judge.expect("rules of the locked", _list(run), good=[])
    for name, other in (("outside", guest.run), ("next door", shifted.run)):
        said = _add(other, "always,exit", *_CALL, "-k", "late")
        judge.expect(f"adding {name} then", said.status, good=0)
