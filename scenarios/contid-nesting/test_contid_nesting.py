"""Do containers nest: in lists, in rules, in their end, and in who may name them?

Three levels, each named from the one around it; ids that are equal modulo 32 and 256; and an
orchestrator in a user namespace, to which the right is given, or which takes it for itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge

_NAMED = "/run/nsaudit/named"
_RULE = "/run/nsaudit/rule"
_DELEGATE = Path(__file__).with_name("delegate.py")
_SETHOSTNAME = "170"
_SET = ("python3", "-c", "import socket; socket.sethostname(socket.gethostname())")
# Equal modulo 32, and the middle and the inner one modulo 256 as well.
_OUTER, _MIDDLE, _INNER, _OTHER = "1", "33", "289", "65"


@pytest.mark.scenario(feature=["contid"], config=["AUDIT", "AUDITSYSCALL", "USER_NS"])
def test_contid_nesting(guest: Guest, judge: Judge, auditd: Any) -> None:
    # Given a rule for each container,
    first = guest.run([_NAMED, _OUTER, "true"])
    judge.expect("naming one", first.stderr.strip() or "0", good="0", broken="ENOENT")
    if first.stderr:
        return
    ids = {"outer": _OUTER, "middle": _MIDDLE, "inner": _INNER, "other": _OTHER}

    # when something happens in each of them, and each rule is asked on its own,
    nest = {
        "outer": (_NAMED, _OUTER, *_SET),
        "middle": (_NAMED, _OUTER, _NAMED, _MIDDLE, *_SET),
        "inner": (_NAMED, _OUTER, _NAMED, _MIDDLE, _NAMED, _INNER, *_SET),
        "other": (_NAMED, _OTHER, *_SET),
        "none": _SET,
    }
    matched: dict[str, list[str]] = {rule: [] for rule in ids}
    for rule, identity in ids.items():
        field = ("contid", "=", identity, "-S", _SETHOSTNAME, "-k", f"rule-{rule}")
        guest.run([_RULE, "add", "exit", "always", *field]).require()
        for where, argv in nest.items():
            before = len(auditd.trail().matching(type="SYSCALL", key=f"rule-{rule}"))
            guest.run(argv).require()
            after = len(auditd.trail().matching(type="SYSCALL", key=f"rule-{rule}"))
            matched[rule] += [where] * (after - before)
        guest.run([_RULE, "del", "exit", "always", *field]).require()

    # then it matches what is in the container or in one inside, and nothing else,
    judge.expect("rule for the outer", matched["outer"], good=["outer", "middle", "inner"])
    judge.expect("rule for the middle", matched["middle"], good=["middle", "inner"])
    judge.expect("rule for the inner", matched["inner"], good=["inner"])
    judge.expect("rule for another", matched["other"], good=["other"])

    # lists name all levels from the inside out,
    trail = auditd.trail()
    lists = {
        str(record.get("contid"))
        for event in trail
        if any(str(one.get("key")).startswith("rule-") for one in event.records)
        for record in event.records
        if record.type == "CONTAINER_ID"
    }
    deepest = f"{_INNER},^{_MIDDLE},^{_OUTER}"
    good = sorted({_OUTER, f"{_MIDDLE},^{_OUTER}", deepest, _OTHER})
    judge.expect("lists", sorted(lists), good=good)

    # and what ends together ends from the inside out.
    ends = [
        str(one.get("old-contid"))
        for one in trail.records
        if one.type == "CONTAINER_OP" and one.get("op") == "drop"
    ]
    at = ends.index(deepest)
    chain = [deepest, f"{_MIDDLE},^{_OUTER}", _OUTER]
    judge.expect("ends", ends[at : at + 3], good=chain)

    # Who is privileged in a user namespace only can neither name nor let others name; who was
    # given the right can do both for its own descendants, and is not made to do so by a child.
    guest.put("/run/delegate.py", _DELEGATE.read_bytes())
    for given, good_errno in (("0", "EPERM"), ("1", "0")):
        said = guest.run([_NAMED, "900", "python3", "/run/delegate.py", given]).require().stdout
        judge.keep(f"delegate-{given}.txt", said)
        steps = dict(map(str.split, said.splitlines()))
        judge.expect(f"naming, given {given}", steps.get("name"), good=good_errno)
        judge.expect(f"passing it on, given {given}", steps.get("pass-on"), good=good_errno)
        judge.expect(f"inherited, given {given}", steps.get("inherited"), good="EPERM")
        judge.expect(f"relayed, given {given}", steps.get("relayed"), good="EPERM")
        judge.expect(f"odd value, given {given}", steps.get("odd"), good="EINVAL")
    rights = auditd.trail().matching(type="SET_CAPCONTID", capcontid="1")
    judge.expect("records of passing it on", len(rights) > 0, good=True)
