"""What does the kernel answer to each kind of audit message, from everywhere?

Every message class is sent raw from each combination of user, PID and network namespace,
with each audit capability alone. The answers are a file for each family of stacks; each
broken kernel differs from the good one in the cells of its own file and in no other. The
files hold on every base: the functions that answer are the same text in 6.1, 6.12 and 7.3,
and so were the answers of their kernels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.model import Arm, Expect
from harness.scenario import Judge

TABLES = Path(__file__).parent / "tables"
Cells = Mapping[tuple[str, ...], tuple[str, ...]]


def parse(text: str) -> Cells:
    """Lines of class, user, PID, network, capability, errno, call: the first five are the key."""
    rows = (tuple(line.split("\t")) for line in text.splitlines() if line and line[0] != "#")
    return {row[:5]: row[5:] for row in rows}


@pytest.mark.scenario(
    broken=["userns-eperm", "pidns-user", "netns-socket", "nsproxy-eperm"],
    good=["vanilla", "pid-vnr"],
    config=["AUDIT", "USER_NS", "PID_NS", "NET_NS"],
)
def test_netlink_errno(guest: Guest, judge: Judge, arm: Arm, auditd: Any) -> None:
    answer = guest.run(["/run/nsaudit/probe"], deadline_s=60.0).require()
    judge.keep("transcript-errnos.txt", answer.stdout)
    seen = parse(answer.stdout)

    tables = {path.stem: parse(path.read_text()) for path in sorted(TABLES.glob("*.tsv"))}
    good = tables.pop("vanilla")
    if arm.expect is Expect.SYMPTOM:
        broken = tables[arm.stack.rpartition("-")[0]]
    else:
        # Somebody's own kernel may well have the fault of one of these families.
        broken = next((table for table in tables.values() if table == seen), {})

    judge.expect("cells asked", len(seen), good=len(good))
    judge.expect(
        "cells unlike a good kernel's",
        _difference(seen, good),
        good="none",
        broken=_difference(broken, good) if broken else "those of its own table",
    )
    odd = [key for key in seen if seen[key] not in (good.get(key), broken.get(key))]
    judge.expect("cells that no table explains", _name(odd, seen), good="none")
    user = seen[("user", "other", "initial", "initial", "write")]
    judge.note(errno=user[0])
    auditd.trail()


def _difference(cells: Cells, good: Cells) -> str:
    """How many cells differ, their errnos, and a digest that says which they are."""
    rows = sorted((*key, *cells[key]) for key in cells if cells[key] != good.get(key))
    if not rows:
        return "none"
    errnos = sorted({row[5] for row in rows})
    content = hashlib.sha256(repr(rows).encode()).hexdigest()
    return f"{len(rows)} with {' '.join(errnos)} ({content[:8]})"


def _name(keys: list[tuple[str, ...]], cells: Cells) -> str:
    named = [f"{'/'.join(key)}={cells[key][0]}" for key in keys[:4]]
    return ", ".join(named) + ("…" if len(keys) > 4 else "") or "none"
