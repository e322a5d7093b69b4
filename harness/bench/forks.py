"""Figures of saved guests: how soon a fork answers, and what many in a row leave behind."""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.bench.figure import Figure, ratio
from harness.bench.guests import ANSWER, time_command
from harness.bench.plan import Plan
from harness.errors import HarnessError
from harness.guest import vng
from harness.model import Kernel

_PAIRS = 10
_FORKS = 500
# Python's own memory has grown to what it needs by then.
_SETTLED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What this process holds: open files, its files below the state folder, children, memory."""

    descriptors: int
    files: int
    processes: int
    memory_kib: int


def warm(plan: Plan) -> Iterator[Figure]:
    """A fork's first answer beside virtme-ng's, and then many forks in a row.

    Both run on one kernel and root, and take turns. A fork is timed from before anything is
    done for it, checking the saved guest included.
    """
    kernel = plan.lab.kernel(f"vanilla-{plan.base}", bzimage=True)
    host = plan.lab.host_for(kernel)
    program = vng.require()
    theirs = vng.answer_command(program, kernel, plan.lab.image, host, ANSWER)
    entry = plan.lab.saved_guests(kernel).require(plan.lab.machine(kernel))
    forks: list[float] = []
    vngs: list[float] = []
    mute: HarnessError | None = None
    pairs = min(plan.times or _PAIRS, _PAIRS)
    for number in range(1, pairs + 1):
        plan.on_step(f"forking {number} of {pairs}, and booting by virtme-ng")
        forks.append(_fork(plan, kernel))
        try:
            vngs.append(time_command(theirs, {**vng.environment(program)}).answer)
        except HarnessError as error:
            # On a busy host what it prints last may not arrive. It is counted, and shown.
            mute = error
    if not vngs and mute:
        raise mute
    mine = Figure(
        name="warm",
        what="fork of a saved guest to the first command answered",
        samples=tuple(forks),
        unit="s",
        bar=0.4,
    )
    other = Figure(
        name="warm-vng",
        what=f"a boot by vng --exec to the same ({len(vngs)} of {pairs} answered)",
        samples=tuple(vngs),
        unit="s",
    )
    yield from (mine, other, ratio("warm-ratio", "warm to warm-vng", mine, other, bar=1 / 8))
    yield from _many(plan, kernel, entry, plan.times or _FORKS)


def _fork(plan: Plan, kernel: Kernel) -> float:
    """Seconds to a fork's answer. Raises HarnessError when it had to boot, or does not end."""
    with plan.lab.workspace.scratch() as folder:
        began = time.monotonic()
        with plan.lab.guest(kernel, folder, warm=True) as guest:
            guest.run(["echo", ANSWER]).require()
            seconds = time.monotonic() - began
            if guest.boot != "warm":
                raise HarnessError(plan.lab.why_cold or "this guest cannot be forked here")
            guest.end()
    return seconds


def _many(plan: Plan, kernel: Kernel, entry: Path, times: int) -> Iterator[Figure]:
    seconds: list[float] = []
    failures: list[str] = []
    before = _look(plan, entry)
    for number in range(1, times + 1):
        plan.on_step(f"fork {number} of {times}, {len(failures)} failed")
        try:
            seconds.append(_fork(plan, kernel))
        except HarnessError as error:
            failures.append(error.message.partition("\n")[0])
        if number == min(_SETTLED, times // 2):
            before = _look(plan, entry)
    after = _look(plan, entry)
    yield Figure(
        name="forks",
        what=f"of {times} forks in a row these failed",
        samples=(float(len(failures)),),
        bar=0,
        fault=failures[0] if failures else "",
    )
    if seconds:
        yield Figure(name="forks-s", what="seconds of each", samples=tuple(seconds), unit="s")
    for name, what, held in (
        ("descriptors", "open files of this process", after.descriptors - before.descriptors),
        ("files", "files of its own below the state folder", after.files - before.files),
        ("processes", "processes below this one", after.processes - before.processes),
        (
            "memory",
            "KiB of memory (RssAnon) for each of them",
            max(0, after.memory_kib - before.memory_kib) // times,
        ),
    ):
        yield Figure(
            name=f"forks-{name}", what=f"what they left: {what}", samples=(float(held),), bar=0
        )


def _look(plan: Plan, entry: Path) -> _Held:
    gc.collect()
    tmp = plan.lab.workspace.root / "tmp"
    status = Path("/proc/self/status").read_text()
    (memory,) = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")]
    return _Held(
        descriptors=sum(1 for _ in Path("/proc/self/fd").iterdir()),
        # Others may be at work below the same state folder: only what is ours is counted.
        files=sum(1 for own in (tmp.glob(f"{os.getpid()}-*"), entry.rglob("*")) for _ in own),
        processes=_count_below(os.getpid()),
        memory_kib=int(memory),
    )


def _count_below(pid: int) -> int:
    """Children of a process, theirs and so on, dead ones that nobody waited for too."""
    found = 0
    with contextlib.suppress(FileNotFoundError):
        for file in Path("/proc", str(pid), "task").glob("*/children"):
            children = file.read_text().split()
            found += len(children) + sum(_count_below(int(child)) for child in children)
    return found
