"""Records that two logs have: a host's own, and that of a collector which the host sends to.

No two kernels write an event that is alike in time, serial and text, so that one which two logs
have is one event. What counts is the text without the node in front of it: a collector may
call a host by another name, or by none. The log of the fewest hosts keeps the records; what
only the other one has, because the first was rotated away, is of the same boot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import ibis
import numpy as np
import pyarrow as pa

from harness.trail import arrow
from harness.trail.boots import Boot
from harness.trail.lines import Array
from harness.trail.sources import read_parts

if TYPE_CHECKING:
    from harness.trail.index import Index

_EVENT = ("time_ms", "serial")
_PRIME = 1_000_000_007
_Place = tuple[int, str]
# How many of a log's events the other must have, while both go on: the network may have lost
# some. Of hosts of two names it is nearly all.
_SHARE, _SHARE_OF_OTHERS = 0.5, 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class United:
    """The boots that there are, what each that was read is called now, and what is to be said.

    ``copies`` has the file and the number of each line that another log has, too.
    """

    boots: Sequence[Boot]
    numbers: Mapping[int, int]
    copies: pa.Table
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Shared:
    """The lines of events that several boots have: whose, where, when, of which event, the text.

    Event and text are numbers that differ where these do.
    """

    boot: Array
    file: Array
    number: Array
    time_ms: Array
    event: Array
    text: Array

    def latest_ms(self, events: Array) -> int:
        """When the last of some events was."""
        return int(self.time_ms[np.isin(self.event, events)].max())

    def alike(self, one: int, other: int) -> Array:
        """The events of two boots of which one has all records that the other has."""
        first, second = self.boot == one, self.boot == other
        common = np.intersect1d(self.event[first], self.event[second])
        return np.union1d(
            np.setdiff1d(common, self._alone(first, second)),
            np.setdiff1d(common, self._alone(second, first)),
        )

    def _alone(self, mine: Array, theirs: Array) -> Array:
        """The events in some lines with a text that is not in others."""
        alone = ~np.isin(self.text[mine], self.text[theirs])
        found: Array = self.event[mine][alone]
        return found


def unite(index: Index, boots: Sequence[Boot]) -> United | None:
    """What is told twice by logs of different streams; None, which is usual, if nothing is."""
    if not _may_share(boots):
        return None
    lines = index.table("lines")
    events = lines.filter(lines.boot >= 0).select("boot", *_EVENT).distinct()
    often = _count(events.group_by(*_EVENT))
    often = often.filter(often.number > 1)
    wanted = lines.filter(lines.boot >= 0).semi_join(often, list(_EVENT))
    rows = index.engine.arrays(
        wanted.select("boot", "file", "number", *_EVENT, "place", "size").order_by("file", "place")
    )
    if not len(rows):
        return None
    columns = {name: rows[name].to_numpy() for name in rows.column_names}
    event = columns["time_ms"] * _PRIME + columns["serial"]
    text = _digests(index, columns["file"], columns["place"], columns["size"])
    where = {name: columns[name] for name in ("boot", "file", "number", "time_ms")}
    shared = _Shared(**where, event=event, text=text)
    pairs = _find_pairs(lines, index, boots, shared)
    return _Uniter(index, boots, shared, pairs).unite() if pairs else None


def _may_share(boots: Sequence[Boot]) -> bool:
    """Whether boots of different streams were up at one time, by the clocks in their records."""
    ordered = sorted(boots, key=lambda one: one.first_ms)
    latest: dict[int, int] = {}
    for one in ordered:
        if any(one.first_ms <= last for stream, last in latest.items() if stream != one.stream):
            return True
        latest[one.stream] = max(one.last_ms, latest.get(one.stream, one.last_ms))
    return False


def _digests(index: Index, file: Array, place: Array, size: Array) -> Array:
    """A number for the text of each line without its node; they are ordered by file and place."""
    found = np.empty(len(file), dtype=np.int64)
    for number in np.unique(file).tolist():
        rows = np.flatnonzero(file == number)
        parts = zip(place[rows].tolist(), size[rows].tolist(), strict=True)
        texts = read_parts(index.sources[number].path, parts)
        for row, text in zip(rows.tolist(), texts, strict=True):
            # Python's hash has a key of this process: nobody can write a line to meet it.
            found[row] = hash(text.partition(b" ")[2] if text.startswith(b"node=") else text)
    return found


def _find_pairs(
    lines: Any, index: Index, boots: Sequence[Boot], shared: _Shared
) -> list[tuple[int, int]]:
    """The boots that share events, of hosts in different streams that are one as it seems.

    That is looked at for all boots of both, as long as both go on: where a log names no hosts,
    the records of several look like many short boots. Guests that were forked are two, though
    they have a past in common: after it each has events of its own.
    """
    known = {one.number: one for one in boots}
    alike: dict[tuple[_Place, _Place], dict[tuple[int, int], Array]] = {}
    for one, other in combinations(np.unique(shared.boot).tolist(), 2):
        first, second = _place(known[one]), _place(known[other])
        if first[0] != second[0] and len(events := shared.alike(one, other)):
            alike.setdefault((first, second), {})[one, other] = events
    found: list[tuple[int, int]] = []
    for (first, second), pairs in alike.items():
        sides = [[one for one in boots if _place(one) == side] for side in (first, second)]
        if first[1] != second[1]:
            parted_ms = max(shared.latest_ms(events) for events in pairs.values())
            if all(_goes_on(side, parted_ms) for side in sides):
                continue
        since = max(min(one.first_ms for one in side) for side in sides)
        until = min(max(one.last_ms for one in side) for side in sides)
        common = lines.filter(lines.time_ms >= since, lines.time_ms <= until)
        events = common.select("boot", *_EVENT).distinct().group_by("boot")
        counts = {row["boot"]: row["number"] for row in index.engine.rows(_count(events))}
        least = min(sum(counts.get(one.number, 0) for one in side) for side in sides)
        share = _SHARE if first[1] == second[1] else _SHARE_OF_OTHERS
        if sum(map(len, pairs.values())) >= share * least:
            found += pairs
    return found


def _goes_on(side: Sequence[Boot], after_ms: int) -> bool:
    return any(one.last_ms > after_ms for one in side)


def _place(boot: Boot) -> _Place:
    return boot.stream, boot.host


def _count(groups: Any) -> Any:
    return groups.agg(number=ibis._.count())


class _Uniter:
    """Works out what pairs of boots come to."""

    def __init__(
        self,
        index: Index,
        boots: Sequence[Boot],
        shared: _Shared,
        pairs: Sequence[tuple[int, int]],
    ) -> None:
        self.index, self.shared = index, shared
        self.boots = {one.number: one for one in boots}
        hosts = Counter(stream for stream, _ in set(map(_place, boots)))
        # A log without nodes has several hosts if it has what several others have.
        ends = [ends for pair in pairs for ends in (pair, pair[::-1])]
        met = {(self.boots[one].stream, self.boots[other].host) for one, other in ends}
        others = Counter(stream for stream, _ in met)
        self.rank = {
            n: (hosts[one.stream], others[one.stream], one.stream, n)
            for n, one in self.boots.items()
        }
        # For each boot those that keep what both have.
        self.above: dict[int, list[int]] = {}
        for one, other in pairs:
            high, low = sorted((one, other), key=self.rank.__getitem__)
            self.above.setdefault(low, []).append(high)
        self.copied: Array = np.zeros(len(shared.boot), dtype=np.bool_)
        self.notes: list[str] = []

    def unite(self) -> United:
        """All of it."""
        same: dict[int, int] = {}
        for low in sorted(self.above, key=self.rank.__getitem__):
            self._drop(low)
            whole = {same.get(high, high) for high in self.above[low]}
            if len(whole) == 1 and self._is_of_one(low, self.boots[min(whole)].host):
                same[low] = whole.pop()
        came = self._move(same)
        gone = self._empty() - same.keys()
        for low, high in same.items():
            kept, other = self.boots[high], self.boots[low]
            self.boots[high] = replace(
                kept,
                first_ms=min(kept.first_ms, other.first_ms),
                last_ms=max(kept.last_ms, other.last_ms),
            )
        left = [one for n, one in self.boots.items() if n not in gone and n not in same]
        ordered, numbers = _order(left, came)
        for low, high in same.items():
            numbers[low] = numbers[high]
        table = pa.table(
            {
                "file": arrow.numbers(self.shared.file[self.copied]),
                "number": arrow.numbers(self.shared.number[self.copied]),
            }
        )
        return United(boots=ordered, numbers=numbers, copies=table, notes=self.notes)

    def _is_of_one(self, low: int, host: str) -> bool:
        """Whether all of a boot's records are of one kernel: without nodes they may be of some."""
        one = self.boots[low]
        labels = {source.host for source in self.index.sources if source.stream == one.stream}
        return one.host == host or one.host not in labels

    def _drop(self, low: int) -> None:
        """Marks what a boot has of others, and says so."""
        rows = self.shared
        for high in self.above[low]:
            alike = np.isin(rows.event, rows.alike(low, high))
            theirs = np.isin(rows.text, rows.text[rows.boot == high])
            mine = (rows.boot == low) & ~self.copied & alike & theirs
            if not mine.any():
                continue
            self.copied |= mine
            one, other = self.boots[low], self.boots[high]
            name = "" if one.host == other.host else f", and says that they are of {one.host}"
            self.notes.append(
                f"{self._log_of(one)} has {np.count_nonzero(mine)} records of {other.host} that"
                f" {self._log_of(other)} has, too{name}: they are read once"
            )

    def _log_of(self, boot: Boot) -> str:
        """The log that a stream ends with."""
        return str([one.name for one in self.index.sources if one.stream == boot.stream][-1])

    def _move(self, same: Mapping[int, int]) -> set[int]:
        """All boots of a host go where one of them does: only a collector may have the first.

        Those that went.
        """
        moved: dict[_Place, set[int]] = {}
        for low, high in same.items():
            moved.setdefault(_place(self.boots[low]), set()).add(high)
        came: set[int] = set()
        for number in sorted(self.boots, key=self.rank.__getitem__):
            one = self.boots[number]
            highs = [self.boots[high] for high in moved.get(_place(one), ())]
            if len(set(map(_place, highs))) == 1:
                stream, host, place = highs[0].stream, highs[0].host, highs[0].place
                self.boots[number] = replace(one, stream=stream, host=host, place=place)
                came.add(number)
        return came

    def _empty(self) -> set[int]:
        """The boots of which nothing is left."""
        lines = self.index.table("lines")
        lows = list(self.above)
        lines = _count(lines.filter(lines.boot.isin(lows)).group_by("boot"))
        copied = Counter(self.shared.boot[self.copied].tolist())
        return {
            row["boot"]
            for row in self.index.engine.rows(lines)
            if row["number"] == copied[row["boot"]]
        }


def _order(boots: Sequence[Boot], came: Collection[int]) -> tuple[list[Boot], dict[int, int]]:
    """Numbers boots anew: by their times where some came from another log; and what each was."""
    places: dict[_Place, list[Boot]] = {}
    for one in boots:
        places.setdefault(_place(one), []).append(one)
    numbers: dict[int, int] = {}
    for here in places.values():
        free = sorted(one.number for one in here)
        if any(one.number in came for one in here):
            here.sort(key=lambda one: (one.first_ms, one.number))
        numbers.update((one.number, number) for one, number in zip(here, free, strict=True))
    orders: Counter[str] = Counter()
    ordered = []
    for one in sorted(boots, key=lambda one: numbers[one.number]):
        orders[one.host] += 1
        ordered.append(replace(one, number=numbers[one.number], order=orders[one.host]))
    return ordered, numbers
