"""A figure: what was measured, the bar that it must stay below, and how both are shown."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.model import Host

COLUMNS = ("figure", "value", "least .. most", "bar", "holds", "what")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number.

    ``samples`` are single measurements in ``unit`` (``s``, ``MiB``, or empty for a count or a
    ratio); the value is their median. ``bar`` is the most that it may be, None for a number
    that stands there to be compared with. ``fault`` says why it does not hold whatever its
    value is. ``at`` is where it stands on the axis of a plot, in gigabytes, if it is in one.
    """

    name: str
    what: str
    samples: tuple[float, ...]
    unit: str = ""
    bar: float | None = None
    fault: str = ""
    at: float | None = None

    @property
    def value(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)

    @property
    def holds(self) -> bool:
        """True when there is no bar, or the value is not above it."""
        return not self.fault and (self.bar is None or self.value <= self.bar)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a figure depends on besides the harness; ``load`` is of the last minute."""

    cores: int
    processor: str
    load: float
    accelerator: str
    guest_cpu: str
    qemu: str

    def describe(self) -> str:
        """All of it in one line."""
        return (
            f"{self.cores} cores ({self.processor}), load {self.load:.2f} at the start,"
            f" {self.accelerator} ({self.guest_cpu}), QEMU {self.qemu}"
        )


def describe_machine(host: Host, load: float) -> Machine:
    """This machine; ``load`` was read before anything was measured."""
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        processor=find_processor(Path("/proc/cpuinfo").read_text()),
        load=round(load, 2),
        accelerator=host.accelerator,
        guest_cpu=host.cpu_model,
        qemu=host.qemu,
    )


def find_processor(cpuinfo: str) -> str:
    """The name of the first processor in the text of ``/proc/cpuinfo``."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return "unknown"


def ratio(name: str, what: str, ours: Figure, theirs: Figure, bar: float | None = None) -> Figure:
    """How the medians of two figures compare; below 1 when ours is less."""
    return Figure(name=name, what=what, samples=(ours.value / theirs.value,), bar=bar)


def rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    """The cells of a table with ``COLUMNS``."""
    return [
        (
            one.name,
            _number(one.value, one.unit),
            _spread(one),
            "" if one.bar is None else _number(one.bar, one.unit),
            "no" if not one.holds else "" if one.bar is None else "yes",
            f"{one.what}: {one.fault}" if one.fault else one.what,
        )
        for one in figures
    ]


def _spread(one: Figure) -> str:
    if len(one.samples) == 1:
        return ""
    least = _number(min(one.samples), one.unit).removesuffix(f" {one.unit}")
    return f"{least} .. {_number(max(one.samples), one.unit)}"


def _number(value: float, unit: str) -> str:
    text = str(int(value)) if float(value).is_integer() and unit != "s" else f"{value:.2f}"
    return f"{text} {unit}".strip()


def as_json(started: str, machine: Machine, figures: Sequence[Figure]) -> Mapping[str, object]:
    """One object, schema 1. ``started`` is UTC, ISO 8601 with a final Z."""
    return {
        "schema": 1,
        "started": started,
        "machine": {name: getattr(machine, name) for name in Machine.__slots__},
        "figures": [
            {
                "name": one.name,
                "what": one.what,
                "value": one.value,
                "unit": one.unit,
                "samples": list(one.samples),
                "bar": one.bar,
                "holds": one.holds,
                "fault": one.fault,
                "at": one.at,
            }
            for one in figures
        ],
    }
