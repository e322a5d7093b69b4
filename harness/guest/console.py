"""Reads the kernel's console for what no guest may end with. Pure.

The table follows what the kernel prints: ``lib/bug.c``, ``kernel/panic.c``,
``mm/kasan/report.c``, ``kernel/locking/lockdep.c``, ``kernel/rcu/tree_stall.h``,
``kernel/hung_task.c``, ``lib/refcount.c``, ``mm/kmemleak.c``, ``arch/x86/mm/fault.c``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CONTEXT = 24
# A line's time stamp and, with PRINTK_CALLER, its task.
_PREFIX = re.compile(r"^(?:\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ?)?")

# In the order in which they win when one line could be several. Each is anchored at the
# line's start: a record that a guest prints may quote any of these words.
_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("panic", r"Kernel panic - not syncing|---\[ end Kernel panic"),
        ("KASAN", r"BUG: KASAN:"),
        ("KCSAN", r"BUG: KCSAN:"),
        ("KMSAN", r"BUG: KMSAN:"),
        ("KFENCE", r"BUG: KFENCE:"),
        ("UBSAN", r"UBSAN:"),
        ("oops", r"Oops: |general protection fault|BUG: unable to handle|BUG: kernel NULL"),
        ("atomic sleep", r"BUG: sleeping function called|BUG: scheduling while atomic"),
        ("soft lockup", r"watchdog: BUG: soft lockup|BUG: workqueue lockup"),
        ("BUG", r"kernel BUG at |BUG: "),
        ("refcount", r"refcount_t: "),
        (
            "lockdep",
            r"WARNING: (?:possible|inconsistent|bad unlock|suspicious RCU|Nested lock|lock held)"
            r"|INFO: trying to register non-static key|DEBUG_LOCKS_WARN_ON",
        ),
        ("WARN", r"WARNING: (?:CPU: \d+ PID: \d+ at )?"),
        ("RCU stall", r"rcu: INFO: rcu_\w+ (?:self-)?detected|INFO: rcu_\w+ (?:self-)?detected"),
        ("hung task", r"INFO: task .* blocked for more than"),
        ("kmemleak", r"kmemleak: \d+ new suspected memory leaks"),
        ("out of memory", r"Out of memory: Killed process"),
    )
)
# These are the reports that stop the machine, since guests boot with oops=panic.
_FATAL = frozenset({"panic"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Splat:
    """One report of the kernel: its kind, its first line, and the lines that follow."""

    kind: str
    title: str
    text: str

    @property
    def fatal(self) -> bool:
        """True when the kernel does not go on after it."""
        return self.kind in _FATAL


def _kind_of(line: str) -> str:
    bare = _PREFIX.sub("", line, count=1)
    return next((kind for kind, pattern in _KINDS if pattern.match(bare)), "")


def parse_splats(text: str) -> tuple[Splat, ...]:
    """Every report on a console, in order. One report may hold others (a panic its oops)."""
    lines = text.replace("\r", "").split("\n")
    found = []
    for number, line in enumerate(lines):
        if kind := _kind_of(line):
            found.append(
                Splat(
                    kind=kind,
                    title=_PREFIX.sub("", line, count=1).strip(),
                    text="\n".join(lines[number : number + _CONTEXT]),
                )
            )
    return tuple(found)


def find_fatal(text: str) -> Splat | None:
    """The report after which waiting for the guest is pointless, or None."""
    return next((splat for splat in parse_splats(text) if splat.fatal), None)


def tail(text: str, lines: int = 12) -> str:
    """The last lines that hold something, for an error message."""
    return "\n".join([line for line in text.replace("\r", "").split("\n") if line.strip()][-lines:])
