"""Figures of ``nsaudit trail``, beside ausearch on the same log.

ausearch knows no containers. Nearest to the list of containers is all records of CONTAINER_OP
(``-m 1344``), and to the events of one container those with CONTAINER_ID (``-m 1340``), of
which its lines are counted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness import proc
from harness.bench import logs
from harness.bench.figure import Figure, ratio
from harness.bench.plan import Plan
from harness.workspace import PROJECT

MEGABYTES = 100
GROWTH = (100, 300, 1000, 3000)
_TIMES = 3
_LIMIT_S = 1800.0
_AT_MOST = 0.5
_MOST_MIB = 2048.0
_QUIET = 'exec "$@" >/dev/null'
_COUNT = 'contid=$1; shift; "$@" | grep -c "contid=$contid"'
# The most memory that a process had stands in its own account, in KiB.
_ASK = (
    "import resource, sys\n"
    "from harness.cli import _main\n"
    "status = _main(sys.argv[1:])\n"
    "most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
    "sys.stderr.write(f'{most}\\n')\n"
    "raise SystemExit(status)\n"
)


def trail(plan: Plan) -> Iterator[Figure]:
    """Both questions, ours and ausearch's taking turns."""
    megabytes = plan.megabytes or MEGABYTES
    proc.require_tool("ausearch")
    with plan.lab.workspace.scratch() as folder:
        log = folder / "audit.log"
        plan.on_step(f"writing a log of {megabytes} MB")
        logs.write_log(log, megabytes * 1_000_000)
        size = f"{log.stat().st_size / 1e9:.2f} GB"
        asked = str(logs.ASKED)
        yield from _beside(
            plan,
            "list",
            f"the containers in a log of {size}",
            ("containers", str(log)),
            ("sh", "-c", _QUIET, "sh", "ausearch", "-if", str(log), "-m", "1344", "--raw"),
        )
        yield from _beside(
            plan,
            "events",
            f"one container's events in a log of {size}",
            ("events", str(log), "--container", asked, "--json"),
            ("sh", "-c", _COUNT, "sh", asked, "ausearch", "-if", str(log), "-m", "1340", "--raw"),
        )


def growth(plan: Plan) -> Iterator[Figure]:
    """How the time of one question grows with the log: at most as the log does, or it fails.

    What starting takes is in every time, so that a larger log never looks worse by it.
    """
    sizes = [size for size in GROWTH if not plan.megabytes or size <= plan.megabytes]
    per_gigabyte = 0.0
    with plan.lab.workspace.scratch() as folder:
        log = folder / "audit.log"
        for megabytes in sizes:
            plan.on_step(f"writing a log of {megabytes} MB")
            logs.write_log(log, megabytes * 1_000_000)
            samples, memory = [], []
            for number in range(plan.times or _TIMES):
                plan.on_step(f"asking a log of {megabytes} MB, {number + 1}")
                done = _ask(("events", str(log), "--container", str(logs.ASKED), "--json"))
                samples.append(done.seconds)
                memory.append(_peak_mib(done))
            gigabytes = log.stat().st_size / 1e9
            what = f"one container's events in a log of {gigabytes:.2f} GB"
            now = Figure(
                name=f"growth-{megabytes}",
                what=what,
                samples=tuple(samples),
                unit="s",
                bar=gigabytes * per_gigabyte if per_gigabyte else None,
                at=gigabytes,
            )
            yield now
            yield _memory(f"growth-{megabytes}", memory)
            per_gigabyte = now.value / gigabytes


def _beside(
    plan: Plan, name: str, what: str, ours: tuple[str, ...], theirs: tuple[str, ...]
) -> Iterator[Figure]:
    times: dict[str, list[float]] = {"trail": [], "ausearch": []}
    memory = []
    for number in range(plan.times or _TIMES):
        plan.on_step(f"asking for {what}, {number + 1}")
        done = _ask(ours)
        times["trail"].append(done.seconds)
        memory.append(_peak_mib(done))
        times["ausearch"].append(_run(theirs).seconds)
    mine, other = (
        Figure(
            name=f"trail-{name}" + f"-{program}" * (program == "ausearch"),
            what=f"{program}: {what}",
            samples=tuple(samples),
            unit="s",
        )
        for program, samples in times.items()
    )
    yield mine
    yield other
    yield ratio(f"trail-{name}-ratio", "of ausearch's time", mine, other, _AT_MOST)
    yield _memory(f"trail-{name}", memory)


def _memory(name: str, samples: Sequence[float]) -> Figure:
    return Figure(
        name=f"{name}-memory",
        what="the most that it had",
        samples=tuple(samples),
        unit="MiB",
        bar=_MOST_MIB,
    )


def _peak_mib(done: proc.Completed) -> float:
    return int(done.stderr.split()[-1]) / 1024


def _ask(words: tuple[str, ...]) -> proc.Completed:
    """``nsaudit trail``; its last word on standard error is the most memory that it had."""
    return _run(("sh", "-c", _QUIET, "sh", sys.executable, "-c", _ASK, "trail", *words))


def _run(argv: tuple[str | Path, ...]) -> proc.Completed:
    return proc.run(list(argv), cwd=PROJECT, deadline_s=_LIMIT_S)
