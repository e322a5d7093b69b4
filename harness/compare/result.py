"""What a comparison found: figures, and who wins where, which is worked out from them alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.compare.judge import Judged, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The deeds of one case, for one design. ``words`` are what it said, where not rightly."""

    right: int
    wrong: int
    none: int
    words: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether all were attributed rightly."""
        return not (self.wrong or self.none)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A case of the workload, with what each design made of it."""

    name: str
    deeds: int
    tallies: Mapping[str, Tally]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A figure of each design. Less is better, or more; ``sources`` are files of the run.

    ``noise`` is the part of a figure below which a difference is none.
    """

    group: str
    name: str
    unit: str
    values: Mapping[str, float]
    sources: tuple[str, ...]
    less: bool = True
    note: str = ""
    noise: float = 0.0

    @property
    def winner(self) -> str:
        """The design with the best figure, or nothing where two are as good."""
        ordered = sorted(self.values.items(), key=lambda one: one[1], reverse=not self.less)
        (best, value), (_, other) = ordered[:2]
        near = abs(value - other) <= self.noise * max(abs(value), abs(other))
        return "" if near else best


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All of it. ``about`` says in what it was found; ``work`` is what orchestrators do."""

    run: str
    started: str
    about: Mapping[str, str]
    designs: Mapping[str, str]
    cases: Sequence[Case]
    measures: Sequence[Measure]
    reused: Sequence[str]

    def totals(self, design: str) -> Tally:
        """All cases together."""
        tallies = [case.tallies[design] for case in self.cases]
        return Tally(
            right=sum(one.right for one in tallies),
            wrong=sum(one.wrong for one in tallies),
            none=sum(one.none for one in tallies),
        )

    def only(self, design: str) -> list[Case]:
        """The cases that this design alone has rightly, every deed of them."""
        return [
            case
            for case in self.cases
            if [name for name, one in case.tallies.items() if one.whole] == [design]
        ]

    @property
    def nobody(self) -> list[Case]:
        """The cases that no design has rightly."""
        return [c for c in self.cases if not any(one.whole for one in c.tallies.values())]

    @property
    def everybody(self) -> list[Case]:
        """The cases that all designs have rightly."""
        return [c for c in self.cases if all(one.whole for one in c.tallies.values())]

    def won(self, design: str) -> list[Measure]:
        """The measures that a design wins; those that nobody does for the empty name."""
        return [one for one in self.measures if one.winner == design]

    def as_json(self) -> str:
        """One object, schema 1."""
        winners = {f"{one.group}: {one.name}": one.winner for one in self.measures}
        return json.dumps({"schema": 1, **_plain(self), "winners": winners}, indent=1)


def _plain(one: Comparison) -> Mapping[str, Any]:
    return asdict(one)


def tally(judged: Mapping[str, Sequence[Judged]]) -> list[Case]:
    """The cases, in the order of the workload, from what was judged for each design."""
    names = dict.fromkeys(one.deed.case for ones in judged.values() for one in ones)
    return [
        Case(
            name=name,
            deeds=max(sum(one.deed.case == name for one in ones) for ones in judged.values()),
            tallies={
                design: _tally(one for one in ones if one.deed.case == name)
                for design, ones in judged.items()
            },
        )
        for name in names
    ]


def _tally(judged: Iterable[Judged]) -> Tally:
    known = list(judged)
    counts = Counter(one.outcome for one in known)
    words = dict.fromkeys(one.words for one in known if one.outcome is not Outcome.RIGHT)
    return Tally(
        right=counts[Outcome.RIGHT],
        wrong=counts[Outcome.WRONG],
        none=counts[Outcome.NONE],
        words=tuple(words),
    )


def attribution(
    cases: Sequence[Case], designs: Sequence[str], sources: tuple[str, ...]
) -> list[Measure]:
    """The cases as figures. ``sources`` are the files that they were judged by."""
    deeds = sum(case.deeds for case in cases)
    figures: Sequence[tuple[str, Callable[[Tally], int], bool]] = (
        (f"deeds attributed rightly, of {deeds}", lambda one: one.right, False),
        (f"deeds attributed wrongly, of {deeds}", lambda one: one.wrong, True),
        (f"deeds attributed not at all, of {deeds}", lambda one: one.none, True),
        (f"cases that are right as a whole, of {len(cases)}", lambda one: one.whole, False),
    )
    return [
        Measure(
            group="attribution",
            name=name,
            unit="",
            values={one: float(sum(of(case.tallies[one]) for case in cases)) for one in designs},
            sources=sources,
            less=less,
        )
        for name, of, less in figures
    ]
