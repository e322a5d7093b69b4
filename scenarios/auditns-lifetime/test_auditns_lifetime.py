"""Does an audit daemon in a user namespace leave nothing behind, and what does an idle one need?

Daemons come and go, a thousand of them, each in namespaces of its own, in every way: the socket
is closed, the process ends, it leaves its network namespace first, a child still has the socket,
or the queue is full and nobody reads. Each leaves a rule behind, and a record of a system call. A
daemon is connected by a network namespace that its user namespace owns; each user namespace must
all the same have an end, which nsid's records tell, the number of audits that their owner may
have must not be used up, and the kernel's memory must be back where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from harness.audit import namespaces
from harness.guest.machine import Answer, Guest
from harness.guest.polling import poll
from harness.scenario import Judge

_WAYS = ("close", "exit", "full", "inherited", "network")
# Five lives each, and twice at least; and where nobody can look at memory.
_ROUNDS, _SLOW_ROUNDS = 100, 20
_END_LIMIT_S = 30.0
# How often another five hundred may be asked whether what is left was more than the kernel keeps to
# be quicker the next time, and what is little: half a KiB that leaks each time leaves 250.
_TIMES, _LEFT_KIB = 4, 60
_IDLE, _IDLE_BYTES = 100, 4096


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "USER_NS", "PID_NS", "NET_NS"])
def test_auditns_lifetime(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    script: Callable[[str], list[str]],
    configured: Callable[[str], bool],
) -> None:
    def live(rounds: int) -> Answer:
        return guest.run(["/run/nsaudit/lives", str(rounds)], deadline_s=100.0).require()

    # When many come and go, one after the other,
    limit = guest.run(["sysctl", "-q", "user.max_audit_ns=1000"])
    known = "known" if limit.status == 0 else "unknown"
    judge.expect("the limit", known, good="known", broken="unknown")
    exact = not configured("KASAN")
    rounds = _ROUNDS if exact else _SLOW_ROUNDS
    said = live(rounds if known == "known" else 1)
    judge.keep("transcript-lives.txt", said.stdout)
    counted = Counter(said.stdout.splitlines())
    for way in _WAYS:
        judge.expect(
            f"daemons, {way}",
            counted[f"{way} 0"],
            good=rounds,
            broken=0,
        )

    # then each of their user and network namespaces has ended,
    if known == "unknown":
        return
    _await_ends(guest, auditd)

    # what the kernel had in use for them is free: it keeps some for the next ones, and does not
    # need more each time,
    if exact:
        sizes = [_unreclaimable(guest)]
        while len(sizes) <= _TIMES and not _is_level(sizes):
            live(rounds)
            _await_ends(guest, auditd)
            sizes.append(_unreclaimable(guest))
        judge.note(unreclaimable_kib=sizes)
        judge.expect("their memory is free again", _is_level(sizes), good=True)
    else:
        judge.note(unlooked="memory, for KASAN keeps what is free; and fewer lives")

    # and so has their audit: with a limit of one, there is room for one again.
    for most, good in ((1, "close 0"), (0, "close ENOSPC")):
        guest.run(["sysctl", "-q", f"user.max_audit_ns={most}"]).require()
        first = live(1).stdout.splitlines()[0]
        judge.expect(f"with a limit of {most}", first, good=good)

    # An idle one needs little.
    if exact:
        guest.run(["sysctl", "-q", f"user.max_audit_ns={_IDLE}"]).require()
        each = _idle(guest, script("idle.py"))
        judge.note(idle_bytes_each=each)
        judge.expect("bytes of an idle one", 0 < each <= _IDLE_BYTES, good=True)

    # The machine's daemon has got none of their messages.
    leaked = auditd.trail().saying("of a life")
    judge.expect("messages at the machine's daemon", len(leaked), good=0)


def _await_ends(guest: Guest, auditd: Any) -> None:
    """Until each namespace that was made after the boot has an end in the trail."""

    def unended() -> list[str]:
        made = namespaces.lives(auditd.trail())
        return sorted(one.kind for one in made if one.ended is None and _is_late(one))

    limit_s = _END_LIMIT_S * guest.scale
    poll(unended, lambda left: not left, limit_s=limit_s, what="an end of each namespace")


def _is_late(life: Any) -> bool:
    return life.born is None or life.born.fields["pid"] != "0"


def _unreclaimable(guest: Guest) -> int:
    """KiB that the kernel has in use and cannot give back: slab and per CPU, see proc(5)."""
    lines = guest.get("/proc/meminfo").decode().splitlines()
    sizes = {key: int(rest.split()[0]) for key, _, rest in (one.partition(":") for one in lines)}
    return sizes["SUnreclaim"] + sizes["Percpu"]


def _is_level(sizes: Sequence[int]) -> bool:
    """Whether the last lives have left nothing behind, of KiB that are used after each time."""
    return len(sizes) > 1 and sizes[-1] - sizes[-2] < _LEFT_KIB


def _idle(guest: Guest, argv: list[str]) -> int:
    """Bytes of memory that each of many audits needs of which nothing is asked."""
    job = guest.spawn([*argv, str(_IDLE)], keep_input=True)
    seen = []
    for word in (b"made", b"registered"):
        limit_s = _END_LIMIT_S * guest.scale
        guest.wait_until(partial(job.out.__contains__, word), limit_s, f"daemons, {word!r}")
        seen.append(_unreclaimable(guest))
        job.send("\n")
    job.wait().require()
    return (seen[1] - seen[0]) * 1024 // _IDLE
