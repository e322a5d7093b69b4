"""Where each record of the logs is, as tables: what all questions are asked of.

The tables are those of ``harness.trail.intake``. Texts that they do not have are fetched from
their files when somebody asks for an event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ibis
import numpy as np
import pyarrow as pa

from harness.audit.records import Record, parse_record
from harness.trail import copies
from harness.trail.boots import Boot
from harness.trail.engine import Engine, Spreading, open_engine
from harness.trail.intake import LINES, TEXTS, Intake, Seen, take_in
from harness.trail.sources import Found, Source, read_parts
from harness.workspace import Workspace

_DAY_MS = 86_400_000


@dataclass(slots=True, kw_only=True)
class Index:
    """The tables of some logs, and what was found out while they were read.

    ``renumbered`` says what boots are called now that were found to be others of these; it is
    empty unless logs share records.
    """

    engine: Engine
    sources: list[Source]
    kinds: Mapping[bytes, int]
    seen: Seen
    boots: Sequence[Boot] = ()
    renumbered: Mapping[int, int] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    tables: dict[str, Any] = field(default_factory=dict)

    def table(self, name: str) -> Any:
        """``lines`` or ``texts``, as an Ibis table."""
        return self.tables[name]

    def load(self, intake: Intake) -> None:
        """Makes the engine know what was taken in, each record once."""
        for name, batches, schema in (
            ("lines", intake.lines, LINES),
            ("texts", intake.texts, TEXTS),
        ):
            self.engine.load(name, pa.Table.from_batches(batches, schema))
            self.tables[name] = self.engine.table(name)
        self.unite(intake.boots.all)

    def unite(self, boots: Sequence[Boot]) -> None:
        """Leaves out of the tables what a log has from another one, and says so, once."""
        self.boots, self.renumbered = boots, {}
        united = copies.unite(self, boots)
        if not united:
            return
        self.boots, self.renumbered = united.boots, united.numbers
        self.seen.notes += [note for note in united.notes if note not in self.seen.notes]
        self.engine.load("copies", united.copies)
        rows = [{"boot": old, "now": new} for old, new in united.numbers.items()]
        numbers = self.engine.make(rows, {"boot": "int32", "now": "int32"})
        for name, table in self.tables.items():
            once = table.anti_join(self.engine.table("copies"), ["file", "number"])
            named = once.left_join(numbers, "boot")
            named = named.mutate(boot=named.now.fill_null(named.boot)).select(*table.columns)
            self.tables[name] = self.engine.keep(f"{name}_once", named)

    def kind(self, name: str) -> int:
        """The number of a type in ``lines``, or one that no line has."""
        return self.kinds.get(name.encode(), -9)

    def fetch(self, rows: Iterable[tuple[int, int, int]]) -> dict[tuple[int, int], Record]:
        """The records at (file, place, size), by (file, place)."""
        found: dict[tuple[int, int], Record] = {}
        wanted: dict[int, list[tuple[int, int]]] = {}
        for file, place, size in rows:
            wanted.setdefault(file, []).append((place, size))
        for number, places in wanted.items():
            places.sort()
            texts = read_parts(self.sources[number].path, places)
            for (place, _), text in zip(places, texts, strict=True):
                found[number, place] = parse_record(text.decode(errors="surrogateescape"))
        return found


def read_logs(found: Found, workspace: Workspace, engine: Engine | None = None) -> Index:
    """Reads all lines of all logs into tables; what cannot be read is counted."""
    engine = engine or open_engine()
    if not isinstance(engine, Spreading):
        return make_index(found, take_in(found, workspace), engine)
    from harness.trail import spread

    return _tell(spread.read_logs(found, engine))


def make_index(found: Found, intake: Intake, engine: Engine) -> Index:
    """The tables of what was taken in of these logs."""
    kinds = intake.reader.kinds
    index = Index(engine=engine, sources=found.sources, kinds=kinds, seen=intake.seen)
    index.load(intake)
    return _tell(index)


def _tell(index: Index) -> Index:
    _tell_unknown(index)
    _say_what_is_odd(index)
    return index


def describe(index: Index) -> Sequence[str]:
    """How much was read, and all that was not, or looked odd."""
    files = len(index.sources)
    seen = index.seen
    lines = [f"{seen.records} lines in {files} file{'' if files == 1 else 's'}"]
    for reason, number in sorted(seen.damage.items()):
        lines.append(f"  {number} lines: {reason}, first {seen.examples[reason]}")
    for kind, number in sorted(index.unknown.items()):
        lines.append(f"  {number} lines of {kind}, a type that is not known here")
    return [*lines, *(f"  {note}" for note in seen.notes)]


def _tell_unknown(index: Index) -> None:
    names = {number: kind.decode(errors="replace") for kind, number in index.kinds.items()}
    if unknown := [n for n, name in names.items() if name.startswith("UNKNOWN[")]:
        rows = index.table("lines")
        rows = rows.filter(rows.kind.isin(unknown)).group_by("kind").agg(number=ibis._.count())
        for row in index.engine.rows(rows):
            index.unknown[names[row["kind"]]] = row["number"]


def _say_what_is_odd(index: Index) -> None:
    by_host: dict[str, set[int]] = {}
    for boot in index.boots:
        by_host.setdefault(boot.host, set()).add(boot.stream)
        if boot.jumps:
            index.seen.notes.append(
                f"{boot.host}, boot {boot.order}: the clock was set back {boot.jumps} times;"
                " serial numbers give the order"
            )
        if boot.gap_ms:
            begins, ends = _day(boot.gap_ends_ms - boot.gap_ms), _day(boot.gap_ends_ms)
            index.seen.notes.append(
                f"{boot.host}, boot {boot.order}: its records go from {begins} to {ends} at once,"
                f" {boot.gap_ms // _DAY_MS} days: the clock was set ahead, or nothing of that time"
                " is here"
            )
    for host in sorted({boot.host for boot in index.boots if boot.collides}):
        index.seen.notes.append(
            f"{host}: the serial numbers begin again at once: two hosts with this name?"
            " HOST=PATH tells them apart"
        )
    for host, streams in by_host.items():
        if len(streams) > 1:
            places = sorted({boot.place for boot in index.boots if boot.host == host})
            index.seen.notes.append(
                f"{host} is the name of the logs in {len(streams)} places, which are kept apart:"
                f" {', '.join(places)}; HOST=PATH gives them names"
            )


def _day(ms: int) -> str:
    """The day of a time, UTC, also of one that no calendar of Python's has."""
    return str(np.datetime64(ms, "ms").astype("datetime64[D]"))
