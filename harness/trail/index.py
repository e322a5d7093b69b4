"""Where each record of the logs is, as tables: what all questions are asked of.

``lines`` has a row for each line, without its text; ``texts`` has those texts that say which
container an event is of, and those that could not be read. Other texts are fetched from
their files when somebody asks for an event.
"""

from __future__ import annotations

import lzma
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import ibis
import numpy as np
import pyarrow as pa

from harness.audit.records import Record, parse_record
from harness.trail import arrow, copies
from harness.trail import lines as reading
from harness.trail.boots import Boot, Boots
from harness.trail.engine import Engine, Spreading, open_engine
from harness.trail.lines import FIRST_FREE_MARK, NUMBERED, Array, Block, Ints, Reader
from harness.trail.sources import Found, Source, open_source, read_parts
from harness.workspace import Workspace

LINES = pa.schema(
    [
        ("file", pa.int32()),
        ("number", pa.int32()),
        ("boot", pa.int32()),
        ("kind", pa.int32()),
        ("time_ms", pa.int64()),
        ("serial", pa.int64()),
        ("place", pa.int64()),
        ("size", pa.int32()),
        ("damage", pa.int8()),
    ]
)
TEXTS = pa.schema(
    [
        ("file", pa.int32()),
        ("number", pa.int32()),
        ("boot", pa.int32()),
        ("kind", pa.string()),
        ("time_ms", pa.int64()),
        ("serial", pa.int64()),
        ("damage", pa.int8()),
        ("text", pa.string()),
    ]
)
# The types whose texts are kept: who is where, and what the numbers of CONTAINER_ID stand in.
KEPT = (
    *("CONTAINER_ID", "CONTAINER_OP", "SET_CAPCONTID", "NS_INFO", "NS_INIT", "NS_DEL"),
    *("OBJ_PID", "NETFILTER_PKT"),
)
_DAEMON, _CALL, _NAMING, _KEPT = (FIRST_FREE_MARK << number for number in range(4))
_SHOWN = 2000
_DAY_MS = 86_400_000


@dataclass(slots=True, kw_only=True)
class Seen:
    """What was found out about logs while they were read."""

    notes: list[str] = field(default_factory=list)
    damage: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    records: int = 0


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
    if isinstance(engine, Spreading):
        from harness.trail import spread

        index = spread.read_logs(found, engine)
    else:
        reader = Reader(workspace, mark, pick)
        intake = Intake(reader, Seen(notes=list(found.notes)))
        index = Index(engine=engine, sources=found.sources, kinds=reader.kinds, seen=intake.seen)
        for number, source in enumerate(found.sources):
            intake.take(number, source)
        index.load(intake)
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


def mark(kind: bytes) -> int:
    """What the reader marks the lines of a type with."""
    if kind.startswith(b"DAEMON_"):
        return _DAEMON
    special = {b"SYSCALL": _CALL, b"CONTAINER_ID": _NAMING}
    return special.get(kind, 0) | (_KEPT if kind.decode(errors="replace") in KEPT else 0)


class Intake:
    """Turns blocks into batches of both tables, file by file.

    ``lines`` and ``texts`` are what was taken so far, ``counts`` the lines of each source.
    """

    def __init__(self, reader: Reader, seen: Seen) -> None:
        self.reader, self.seen = reader, seen
        self.boots = Boots()
        self.lines: list[pa.RecordBatch] = []
        self.texts: list[pa.RecordBatch] = []
        self.counts: Counter[int] = Counter()

    def take(
        self, number: int, source: Source, opened: BinaryIO | None = None, base: int = 0
    ) -> None:
        """All lines of a source, or of a part of it, which begins at ``base``."""
        for _ in self.step(number, source, opened, base):
            pass

    def step(
        self, number: int, source: Source, opened: BinaryIO | None = None, base: int = 0
    ) -> Iterator[None]:
        """The same, block by block."""
        try:
            with opened or open_source(source.path) as file:
                for block in self.reader.read(file):
                    if len(block.start):
                        block.offset += base
                        self.lines.append(self._take(number, source, block, self.counts[number]))
                    self.counts[number] += len(block.start)
                    yield
        except (OSError, EOFError, lzma.LZMAError) as error:
            self.seen.notes.append(
                f"{source.name} ends in the middle, after {self.counts[number]} lines: {error}"
            )

    def _take(self, number: int, source: Source, block: Block, before: int) -> pa.RecordBatch:
        self.seen.records += len(block.start)
        boot = self._find_boots(source, block)
        numbers = np.arange(before + 1, before + 1 + len(block.start), dtype=np.int32)
        self._keep(number, source, block, boot, numbers)
        columns: tuple[Array, ...] = (
            np.full(len(boot), number, dtype=np.int32),
            *(numbers, boot, block.kind, block.time_ms, block.serial),
            *(block.start + np.int64(block.offset), (block.end - block.start).view(np.int32)),
            block.damage,
        )
        return pa.RecordBatch.from_arrays([*map(arrow.numbers, columns)], schema=LINES)

    def _find_boots(self, source: Source, block: Block) -> Array:
        boot = np.full(len(block.start), -1, dtype=np.int32)
        found = np.flatnonzero(block.serial >= 0)
        if not len(found):
            return boot
        # Nearly always all have one, and what is not picked out need not be copied.
        stamped: Array | slice = slice(None) if len(found) == len(boot) else found
        daemon = (block.mark & _DAEMON).astype(np.bool_)
        nodes = {number: name for name, number in tuple(self.reader.nodes.items())}
        place = str(source.name.parent)
        hosts: dict[str, list[int]] = {}
        for node in np.unique(block.node[stamped]).tolist() if nodes else [-1]:
            named = "" if source.fixed or node < 0 else nodes[node].decode(errors="replace")
            hosts.setdefault(named or source.host, []).append(node)
        for host, members in hosts.items():
            rows = stamped
            if len(hosts) > 1:
                rows = np.flatnonzero((block.serial >= 0) & np.isin(block.node, members))
            boot[rows] = self.boots.assign(
                *(source.stream, host, place),
                *(block.serial[rows], block.time_ms[rows], daemon[rows]),
            )
        return boot

    def _keep(self, number: int, source: Source, block: Block, boot: Array, numbers: Array) -> None:
        kinds = self.reader.kinds
        rows, texts = block.picked
        if not len(rows):
            return
        names = arrow.texts([*(name.decode(errors="replace") for name in tuple(kinds)), ""])
        kind = np.where(block.kind[rows] < 0, len(names) - 1, block.kind[rows])
        for at in np.flatnonzero(block.damage > 0).tolist():
            reason = reading.DAMAGE[int(block.damage[at])]
            self.seen.damage[reason] += 1
            where = f"{source.name}:{numbers[at]}"
            self.seen.examples.setdefault(reason, where)
        columns = [
            arrow.numbers(np.full(len(rows), number, dtype=np.int32)),
            arrow.numbers(numbers[rows]),
            arrow.numbers(boot[rows]),
            names.take(arrow.numbers(kind)),
            *map(arrow.numbers, (block.time_ms[rows], block.serial[rows], block.damage[rows])),
            texts,
        ]
        self.texts.append(pa.RecordBatch.from_arrays(columns, schema=TEXTS))


def pick(block: Block) -> tuple[Ints, Any]:
    """The lines of a block of which the texts are kept, and these texts, if there are any."""
    keep = (block.mark & _KEPT).astype(np.bool_) | (block.damage > 0)
    keep[_find_orphans(block)] = True
    rows = np.flatnonzero(keep)
    return rows, _texts(block, rows) if len(rows) else None


def _find_orphans(block: Block) -> Ints:
    """System calls that point to a CONTAINER_ID that is not in this block."""
    both = NUMBERED | _CALL
    calls = np.flatnonzero((block.mark & both) == both)
    named = block.serial[(block.mark & _NAMING).astype(np.bool_)]
    orphans: Ints = calls[~np.isin(block.serial[calls], named)]
    return orphans


def _texts(block: Block, rows: Ints) -> Any:
    """The texts of some lines, the damaged ones no longer than can be shown."""
    if block.damage[rows].any() or not block.data.isascii():
        texts = [block.text(at)[: _SHOWN if block.damage[at] else None] for at in rows.tolist()]
        return arrow.texts([text.decode(errors="backslashreplace") for text in texts])
    # Every second string is what lies between two lines; none of it is copied.
    offsets = np.stack([block.start[rows], block.end[rows]], axis=1).astype(np.int32).ravel()
    buffers = pa.py_buffer(offsets), pa.py_buffer(block.data)
    strings = pa.StringArray.from_buffers(len(offsets) - 1, *buffers)
    return strings.take(arrow.numbers(np.arange(0, len(offsets), 2)))


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
