"""Does an event say in which namespaces its task is, rightly, and only that of such a task?

Each event of a task in a foreign namespace carries one record NS_INFO, whatever the event is:
a system call, a user message, a crash. Its numbers are those that the host sees in
/proc/PID/ns, and its ids, where there are any, those that NS_GET_ID tells. A task in initial
namespaces adds nothing, and nobody can send such a record. A rule can ask for the tasks in one
namespace of each kind, by its number, and where there are ids, by its id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness.audit import namespaces
from harness.audit.namespaces import NS_INFO, Places
from harness.audit.records import Record, Trail
from harness.guest.container import KINDS, Container
from harness.guest.machine import Answer, Guest
from harness.scenario import Judge

# A user namespace takes away the right to send messages: system calls only.
_SPEAKING = tuple(kind for kind in KINDS if kind != "user")
_RULE = ("-a", "always,exit", "-F", "arch=b64", "-S", "sethostname", "-k", "nsid-events")
_CRASH = ("sh", "-c", "kill -SEGV $$")
_LOGIN = ("sh", "-c", "echo 0 >/proc/self/loginuid")
_FORGED = " ".join(f"{kind}ns=1" for kind in namespaces.KINDS)
# AUDIT_NS_CGROUP to AUDIT_NS_UTS of the series; sethostname(2) on x86-64.
_FIELDS = {kind: str(number) for number, kind in enumerate(namespaces.KINDS, 114)}
_SETHOSTNAME = "170"

Run = Callable[[Sequence[str]], Answer]


@pytest.mark.scenario(feature=["nsid"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "TIME_NS"])
def test_nsid_events(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    container: Callable[..., Container],
    send: Callable[..., Any],
    places: Callable[[int], Places],
    ns_ids: Callable[..., Places],
) -> None:
    guest.run(["auditctl", *_RULE]).require()
    # Given a container that may speak to audit, and one in a user namespace, too,
    speaking, silent = container(*_SPEAKING), container(*KINDS)
    inside = places(speaking.pid)
    judge.note(places=dict(inside))

    # when tasks in them, and one outside, do what is recorded,
    boxes: tuple[tuple[str, Run, Places], ...] = (
        ("a container", speaking.run, inside),
        ("a user namespace", silent.run, places(silent.pid)),
        ("the host", guest.run, {}),
    )
    for where, run, wanted in boxes:
        run(["hostname", "-b", "guest"]).require()
        # (nsenter dies of what its child died of, but not in the child's PID namespace)
        run(_CRASH)
        # then the event of each system call and of each crash has the right record,
        trail = auditd.trail()
        _expect(judge, trail, f"system call, {where}", _last(trail, "SYSCALL"), wanted)
        _expect(judge, trail, f"crash, {where}", _last(trail, "ANOM_ABEND", comm="sh"), wanted)

    # and so has a user message, and a login.
    for where, run, wanted in (boxes[0], boxes[2]):
        text = f"from {where}"
        judge.expect(f"errno, {where}", send(run, text).errno, good="0")
        run(_LOGIN)
        trail = auditd.trail()
        (message,) = [one for one in trail.records if f"msg='{text}" in one.text]
        _expect(judge, trail, f"user message, {where}", message, wanted)
        _expect(judge, trail, f"login, {where}", _last(trail, "LOGIN"), wanted)

    # When records of that type are excluded, an event goes without, and is there itself.
    exclude = ("never,exclude", "-F", "msgtype=1341")
    guest.run(["auditctl", "-a", *exclude]).require()
    speaking.run(["hostname", "-b", "guest"]).require()
    judge.expect("errno, excluded", send(speaking.run, "excluded").errno, good="0")
    trail = auditd.trail()
    (message,) = [one for one in trail.records if "msg='excluded" in one.text]
    _expect(judge, trail, "user message, excluded", message, {})
    _expect(judge, trail, "system call, excluded", _last(trail, "SYSCALL"), {})
    guest.run(["auditctl", "-d", *exclude]).require()

    # What a container sends is a message, whatever it says.
    forged = send(speaking.run, _FORGED)
    judge.expect("errno of a forged text", forged.errno, good="0")
    direct = send(speaking.run, "dev=00:04", ["/run/nsaudit/send", "--type", "1341"])
    judge.expect("errno of a forged record", direct.errno, good="EINVAL")
    trail = auditd.trail()
    odd = [one for one in trail.matching(type=NS_INFO) if one.fields.get("utsns") == "1"]
    judge.expect("forged records", len(odd), good=0)

    # Rules for the tasks inside, and for those outside, of one namespace find these,
    inside = places(silent.pid)
    for kind, field in _FIELDS.items():
        # which only the lists for the end of a system call take,
        refused = _refused(guest, field, inside[kind])
        judge.expect(f"errnos on other lists, {kind}", refused, good=["EINVAL"] * 3)
        _filter(guest, judge, auditd, silent, kind, field, inside[kind])
    # by an id, too, of which no half is enough.
    for kind in namespaces.KINDS if ns_ids() else ():
        ns_id, field = inside[f"{kind}-id"], f"{kind}ns-id"
        refused = _refused(guest, field, ns_id)
        judge.expect(f"errnos on other lists, {kind} by id", refused, good=["EINVAL"] * 3)
        other = str(int(ns_id) + (1 << 32))
        _filter(guest, judge, auditd, silent, f"{kind}-by-id", field, ns_id, other)


def _refused(guest: Guest, field: str, value: str) -> list[str]:
    """What a rule with this field gets to hear from the lists that are asked before."""
    words = ("always", field, "=", value)
    return [
        guest.run(["/run/nsaudit/rule", "add", name, *words]).require().stdout.strip()
        for name in ("user", "task", "exclude")
    ]


def _filter(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    box: Container,
    what: str,
    field: str,
    value: str,
    *others: str,
) -> None:
    """One call inside, two outside; of the rules, the first that fits is in the event.

    ``value`` is that of the container, ``others`` are nobody's.
    """
    guest.run(["auditctl", "-D"]).require()
    rules = {
        **{f"another-{what}": (field, "=", other) for other in others},
        f"inside-{what}": (field, "=", value),
        f"outside-{what}": (field, "!=", value),
    }
    for key, fields in rules.items():
        # The key first: auditctl does not know how long the value of an unknown field is.
        words = ["/run/nsaudit/rule", "add", "exit", "always", "-k", key, *fields]
        judge.expect(
            f"errno of a rule for tasks {key}",
            guest.run([*words, "-S", _SETHOSTNAME]).require().stdout.strip(),
            good="0",
            broken="EINVAL",
        )
    for other in others:
        # One that differs from another in its value only is another one.
        words = ["/run/nsaudit/rule", "add", "exit", "always", "-k", f"inside-{what}"]
        added = guest.run([*words, field, "=", other, "-S", _SETHOSTNAME]).require().stdout
        judge.expect(f"errno of one more rule inside-{what}", added.strip(), good="0")
    listed = guest.run(["auditctl", "-l"])
    judge.keep(f"transcript-rules-{what}.txt", listed.stdout + listed.stderr)
    judge.expect(f"auditctl lists the rules, {what}", listed.status, good=0)
    told = [key for key in rules if f"-F key={key}" in listed.stdout]
    judge.expect(f"and their keys, {what}", told, good=list(rules), broken=[])
    box.run(["hostname", "-b", "guest"]).require()
    guest.run(["hostname", "-b", "guest"]).require()
    guest.run(["hostname", "-b", "guest"]).require()
    trail = auditd.trail()
    for key in rules:
        found = trail.matching(type="SYSCALL", key=key)
        count = 1 if key.startswith("inside") else 2 if key.startswith("outside") else 0
        judge.expect(f"system calls by the rule for {key}", len(found), good=count, broken=0)
    judge.expect(f"and rules go, {what}", guest.run(["auditctl", "-D"]).status, good=0)
    left = guest.run(["auditctl", "-l"]).require().stdout.strip()
    judge.expect(f"all of them, {what}", left, good="No rules")


def _last(trail: Trail, kind: str, **fields: str) -> Record:
    """The newest record that a claim fits; there is one."""
    return trail.matching(type=kind, **fields)[-1]


def _expect(judge: Judge, trail: Trail, what: str, record: Record, wanted: Places) -> None:
    found = [namespaces.places(one) for one in namespaces.infos_of(trail, record)]
    if not found:
        said = "none"
    elif found == [wanted]:
        said = "the right one"
    else:
        said = f"{found}, and not {wanted}"
    judge.expect(
        f"NS_INFO: {what}", said, good="the right one" if wanted else "none", broken="none"
    )
