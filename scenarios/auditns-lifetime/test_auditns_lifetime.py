"""Does an audit daemon in a user namespace leave nothing behind?

Daemons come and go, each in namespaces of its own, in every way: the socket is closed, the
process ends, it leaves its network namespace first, a child still has the socket, or the queue
is full and nobody reads. Each leaves a rule behind, and a record of a system call. A daemon is
connected by a network namespace that its user namespace owns; each user namespace must all the
same have an end, which nsid's records tell, and the number of audits that their owner may have
must not be used up.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.audit import namespaces
from harness.guest.machine import Guest
from harness.scenario import Judge

_LIVES = Path(__file__).with_name("lives.py")
_ROUNDS = 20
_WAYS = ("close", "exit", "full", "inherited", "network")
_END_LIMIT_S = 15.0


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "USER_NS", "PID_NS", "NET_NS"])
def test_auditns_lifetime(guest: Guest, judge: Judge, auditd: Any) -> None:
    # When many come and go, one after the other,
    guest.put("/run/lives.py", _LIVES.read_bytes())
    limit = guest.run(["sysctl", "-q", "user.max_audit_ns=1000"])
    known = "known" if limit.status == 0 else "unknown"
    judge.expect("the limit", known, good="known", broken="unknown")
    said = guest.run(["python3", "/run/lives.py", str(_ROUNDS)], deadline_s=300.0).require()
    judge.keep("transcript-lives.txt", said.stdout)
    counted = Counter(said.stdout.splitlines())
    for way in _WAYS:
        judge.expect(
            f"daemons, {way}",
            counted[f"{way} 0"],
            good=_ROUNDS,
            broken=0,
        )

    # then each of their user and network namespaces has ended,
    if known == "unknown":
        return
    end = time.monotonic() + _END_LIMIT_S * guest.scale
    while (left := _unended(auditd)) and time.monotonic() < end:
        pass
    judge.expect("namespaces without an end", ", ".join(left) or "none", good="none")

    # and so has their audit: with a limit of one, there is room for one again.
    guest.run(["sysctl", "-q", "user.max_audit_ns=1"]).require()
    again = guest.run(["python3", "/run/lives.py", "1"], deadline_s=60.0).require()
    judge.expect("one after the others", again.stdout.splitlines()[0], good="close 0")
    guest.run(["sysctl", "-q", "user.max_audit_ns=0"]).require()
    none = guest.run(["python3", "/run/lives.py", "1"], deadline_s=60.0).require()
    judge.expect("with a limit of none", none.stdout.splitlines()[0], good="close ENOSPC")

    # The machine's daemon has got none of their messages.
    leaked = auditd.trail().saying("of a life")
    judge.expect("messages at the machine's daemon", len(leaked), good=0)


def _unended(auditd: Any) -> list[str]:
    """The kinds of those that were born after the boot and have no end yet."""
    made = namespaces.lives(auditd.trail())
    return sorted(one.kind for one in made if one.ended is None and _is_late(one))


def _is_late(life: Any) -> bool:
    return life.born is None or life.born.fields["pid"] != "0"
