"""Does the end of a container leave one record, and its id free for another?

The end must be told whether or not anything audited it: without rules, with a rule that never
audits the container, with one that audits every exit, by exit and by kill, and when the first
task goes before others. What the last task causes by leaving its files to be closed is of the
container still, and comes before.
"""

from __future__ import annotations

from collections import Counter
from itertools import dropwhile
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge

_NAMED = "/run/nsaudit/named"
_AGAIN = 20
# Makes lo promiscuous for as long as the socket lives: SOL_PACKET, PACKET_ADD_MEMBERSHIP.
_LEAVE_PROMISCUOUS = """
import os, socket, struct
listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
listener.setsockopt(263, 1, struct.pack("iHH8x", socket.if_nametoindex("lo"), 1, 0))
os._exit(0)
"""
# How containers end; each has an id of its own.
_ENDS = {
    "exit": ("true",),
    "failure": ("false",),
    "kill": ("sh", "-c", "kill -9 $$"),
    "first goes first": ("sh", "-c", "(sleep 0.2; true) & exit 0"),
    "in other namespaces": ("unshare", "--net", "--pid", "--mount", "--fork", "true"),
    "a crowd": ("sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 0.1 & done; wait"),
    # The second child would be in a PID namespace whose init, the first, has gone.
    "a fork that fails": ("unshare", "--pid", "sh", "-c", "/bin/true; /bin/true; exit 0"),
    "threads": ("python3", "-c", "import threading as t; t.Thread(target=print).start()"),
}
_AUDITED = 900
# What is ruled when containers end, by the id of the first of them.
_RULES: dict[int, tuple[str, ...]] = {
    500: (),
    600: ("-a", "never,task"),
    _AUDITED: ("-a", "always,exit", "-F", "arch=b64", "-S", "exit,exit_group", "-k", "exit"),
}


@pytest.mark.scenario(feature=["contid"], config=["AUDIT", "AUDITSYSCALL"])
def test_contid_drop(guest: Guest, judge: Judge, auditd: Any) -> None:
    # Given a kernel that names containers,
    first = guest.run([_NAMED, "499", "true"])
    judge.expect("naming one", first.stderr.strip() or "0", good="0", broken="ENOENT")
    if first.stderr:
        return

    # when containers end, without a rule, with one that audits nothing, and with one for exits,
    expected = Counter({"499": 1})
    for start, rule in _RULES.items():
        if rule:
            guest.run(["auditctl", *rule]).require()
        for number, argv in enumerate(_ENDS.values(), start):
            expected[str(number)] += 1
            guest.run([_NAMED, str(number), *argv])
        _wait_for_the_last(guest)
        guest.run(["auditctl", "-D"]).require()
    # and one id is used for many, one after the other, by different orchestrators,
    again = f"for i in $(seq {_AGAIN}); do {_NAMED} 700 true || exit; done"
    judge.expect("used again", guest.run(["sh", "-c", again]).status, good=0)
    expected["700"] += _AGAIN

    guest.run([_NAMED, "800", "python3", "-c", _LEAVE_PROMISCUOUS]).require()
    expected["800"] += 1

    # then each end has one record, after its beginning, and nothing else was dropped.
    trail = auditd.trail()
    # What a kernel with KUnit drops when it boots was named by nobody, and is before the first.
    told = (one for one in trail.records if one.type == "CONTAINER_OP")
    ops = list(dropwhile(lambda one: one.get("op") == "drop", told))
    ended = [one for one in ops if one.get("op") == "drop"]
    drops = Counter(one.get("old-contid") for one in ended)
    sets = Counter(one.get("contid") for one in ops if one.get("op") == "set")
    judge.expect("beginnings", dict(sorted(sets.items())), good=dict(sorted(expected.items())))
    judge.expect("ends", dict(sorted(drops.items())), good=dict(sorted(expected.items())))
    judge.expect("order", _out_of_order(ops), good=[])
    # An exit that is audited is of its container, and told before that ended; a kill is none.
    exits = {
        str(record.get("contid")): record.serial
        for record in trail.keyed("exit").matching(type="CONTAINER_ID")
    }
    good = [str(number) for number, what in enumerate(_ENDS, _AUDITED) if what != "kill"]
    judge.expect("audited exits", sorted(exits), good=good)
    after = [
        one.get("old-contid")
        for one in ended
        if exits.get(str(one.get("old-contid")), 0) > one.serial
    ]
    judge.expect("audited exits after the end", after, good=[])
    # and what the last close caused is named, and told before that the container ended.
    (left,) = trail.matching(type="ANOM_PROMISCUOUS", prom="0")
    said = trail.matching(type="CONTAINER_ID", contid="800")
    named = left.serial in {one.serial for one in said}
    judge.expect("named at the last close", named, good=True)
    (end,) = [one for one in ended if one.get("old-contid") == "800"]
    judge.expect("last close before the end", left.serial < end.serial, good=True)


def _wait_for_the_last(guest: Guest) -> None:
    """Until the sleepers that outlive their container's first task have gone."""
    guest.run(["sh", "-c", "while pidof sleep >/dev/null; do :; done"]).require()


def _out_of_order(ops: Any) -> list[str]:
    """The ids that ended before they began, or began twice without an end."""
    alive: set[str] = set()
    wrong = []
    for one in ops:
        name = one.get("contid") if one.get("op") == "set" else one.get("old-contid")
        if (one.get("op") == "set") == (name in alive):
            wrong.append(name)
        alive ^= {name}
    return wrong
