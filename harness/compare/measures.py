"""The figures besides attribution: bytes, instructions, orchestrators' work, migration, code."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.bench.cost import STATES, THINGS, Seen
from harness.compare import code, size
from harness.compare.designs import Design
from harness.compare.result import Measure
from harness.compare.truth import Facts, Log, names_for
from harness.compare.workload import HOSTS, LOG, SAID, files

COST, CODE = "cost.json", "code.json"
# The base's own instructions were seen to differ by 0.25 % between two runs: less is no win.
_NOISE = 0.003
_PLAIN = "plain"
_MOVED = "mover-1"
# What is counted of a task that is in no container, and in which state of audit.
_OUTSIDE = (
    *(("getppid", "off"), ("fork", "off"), ("open", "rule")),
    *(("clone", "on"), ("clone", "on-quiet")),
)
_INSIDE = ("open", "fork")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a day is worked out from: events in containers a second, containers begun an hour."""

    events_s: float = 100.0
    starts_h: float = 60.0


def of_size(
    designs: Sequence[Design], facts: Facts, logs: Mapping[str, Mapping[str, Log]], rates: Rates
) -> Iterator[Measure]:
    """Bytes in the log of one host."""
    sizes = {one.name: size.measure(one, facts, logs[one.name]) for one in designs}
    sources = (*(f"{one.name}/{HOSTS[0]}/{LOG}" for one in designs), f"{HOSTS[0]}/{SAID}")
    day = f"{rates.events_s:g} events a second, {rates.starts_h:g} containers an hour"
    for name, unit, values, note in (
        (
            "length added to each event in a container",
            "B",
            {n: s.event for n, s in sizes.items()},
            "",
        ),
        (
            *("length of what tells a container's start and end", "B"),
            *({n: float(s.life) for n, s in sizes.items()}, "with five namespaces of its own"),
        ),
        (
            *("growth of the log a day", "MB"),
            {n: s.day(rates.events_s, rates.starts_h) / 1e6 for n, s in sizes.items()},
            day,
        ),
    ):
        yield Measure(
            group="log size", name=name, unit=unit, values=values, sources=sources, note=note
        )


def of_work(
    designs: Sequence[Design], facts: Facts, logs: Mapping[str, Mapping[str, Log]]
) -> Iterator[Measure]:
    """What an orchestrator does with and without a design, and what a migration needs."""
    said = tuple(f"{host}/{SAID}" for host in HOSTS)

    def measure(
        group: str,
        name: str,
        values: Mapping[str, float],
        note: str = "",
        sources: tuple[str, ...] = said,
    ) -> Measure:
        return Measure(group=group, name=name, unit="", values=values, sources=sources, note=note)

    for step, what in (("start", "at the start of a container"), ("exec", "at an exec into it")):
        done = facts.work[step]
        values = {
            one.name: done["writes" if one.numbers else "reads"] / done["times"] for one in designs
        }
        note = "writes to /proc (contid), namespaces to look up (nsid)"
        yield measure("orchestrator", f"operations {what}", values, note)
    known = {one.name: names_for(one, facts, logs[one.name]).known for one in designs}
    kept = {
        name: float(sum(one == size.ALONE for one in entries.values()))
        for name, entries in known.items()
    }
    note = f"of {size.ALONE}: its id, or each namespace that is its own"
    name = "entries that map to a name, for a container"
    yield measure("orchestrator", name, kept, note, files(designs))
    containers = [one for one in facts.containers if one.name == _MOVED]
    before, after = (
        {
            one.name: names_for(one, _only(facts, moved.host), logs[one.name]).known
            for one in designs
        }
        for moved in containers[:2]
    )
    fresh = {
        name: float(
            sum(after[name][key] == _MOVED and key not in before[name] for key in after[name])
        )
        for name in known
    }
    name = "entries that have to be added to follow it"
    yield measure("migration", name, fresh, sources=files(designs))
    done = facts.work["start"]
    told = {one.name: done["writes" if one.numbers else "reads"] / done["times"] for one in designs}
    yield measure("migration", "operations at the restore", told, "the same as at a start")


def _only(facts: Facts, host: str) -> Facts:
    return Facts(containers=[one for one in facts.containers if one.host == host])


def of_code(designs: Sequence[Design], found: Mapping[str, code.Code]) -> Iterator[Measure]:
    """Kernel code, from the patches."""

    def tell(names: Callable[[code.Code], Sequence[str]]) -> str:
        parts = [f"{one.name}: {', '.join(names(found[one.name])) or 'none'}" for one in designs]
        return "; ".join(parts)

    figures: Sequence[tuple[str, Callable[[code.Code], int], str]] = (
        ("lines added", lambda one: one.added, "without tests, documentation and comments"),
        ("lines of the base taken away", lambda one: one.removed, ""),
        ("files of the base that are changed", lambda one: len(one.files), ""),
        ("locks of its own", lambda one: len(one.new_locks), tell(lambda one: one.new_locks)),
        (
            *("places where a lock is taken", lambda one: sum(one.locks.values())),
            tell(lambda one: [f"{count} {lock}" for lock, count in one.locks.items()]),
        ),
        ("hot paths that it is in", lambda one: len(one.hot), tell(lambda one: one.hot)),
    )
    for name, count, note in figures:
        yield Measure(
            group="kernel code",
            name=name,
            unit="",
            values={one.name: float(count(found[one.name])) for one in designs},
            sources=(CODE,),
            note=note,
        )


# -- instructions ---------------------------------------------------------------------


def write_cost(path: Path, seen: Mapping[str, Sequence[Seen]]) -> None:
    """Keeps what guests counted, by stack."""
    data = {
        stack: [
            {
                "series": list(one.series),
                "times": [[*key, value] for key, value in one.times.items()],
                "records": [[*key, value] for key, value in one.records.items()],
                "task_bytes": one.task_bytes,
            }
            for one in ones
        ]
        for stack, ones in seen.items()
    }
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")


def read_cost(path: Path) -> Mapping[str, Sequence[Seen]]:
    """What ``write_cost`` kept."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return {
        stack: [
            Seen(
                series=tuple(one["series"]),
                times={(kind, state, thing): value for kind, state, thing, value in one["times"]},
                records={(kind, thing, record): n for kind, thing, record, n in one["records"]},
                task_bytes=one["task_bytes"],
            )
            for one in ones
        ]
        for stack, ones in data.items()
    }


def of_cost(
    designs: Sequence[Design], base: str, seen: Mapping[str, Sequence[Seen]]
) -> Iterator[Measure]:
    """Guest instructions, each design on a kernel of its own, beside the base's."""

    def median(stack: str, kind: str, state: str, thing: str) -> float:
        return statistics.median(one.times[kind, state, thing] for one in seen[stack])

    stacks = {one.name: f"{one.name}-{base}" for one in designs}
    for thing, state in _OUTSIDE:
        before = median(f"vanilla-{base}", _PLAIN, state, thing)
        yield Measure(
            group="guest instructions",
            name=f"{THINGS[thing]}, no container, {STATES[state].what}",
            unit="",
            values={name: median(stack, _PLAIN, state, thing) for name, stack in stacks.items()},
            sources=(COST,),
            note=f"without both: {before:.0f}",
            noise=_NOISE,
        )
    for thing in _INSIDE:
        before = median(f"vanilla-{base}", _PLAIN, "rule", thing)
        yield Measure(
            group="guest instructions",
            name=f"{THINGS[thing]}, in a container, {STATES['rule'].what}",
            unit="",
            values={one.name: median(stacks[one.name], one.kind, "rule", thing) for one in designs},
            sources=(COST,),
            note=f"without both: {before:.0f}",
            noise=_NOISE,
        )
    sizes = {name: float(seen[stack][0].task_bytes) for name, stack in stacks.items()}
    yield Measure(
        group="guest instructions",
        name="struct task_struct",
        unit="B",
        values=sizes,
        sources=(COST,),
        note=f"without both: {seen[f'vanilla-{base}'][0].task_bytes}",
    )
