"""Takes the lines of logs in, as batches of two tables.

``lines`` has a row for each line, without its text; ``texts`` has those texts that say which
container an event is of, and those that could not be read.
"""

from __future__ import annotations

import lzma
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from harness.trail import arrow
from harness.trail import lines as reading
from harness.trail.boots import Boots
from harness.trail.lines import FIRST_FREE_MARK, NUMBERED, Array, Block, Ints, Reader
from harness.trail.sources import Found, Source, open_source
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


@dataclass(slots=True, kw_only=True)
class Seen:
    """What was found out about logs while they were read."""

    notes: list[str] = field(default_factory=list)
    damage: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    records: int = 0


def take_in(found: Found, workspace: Workspace) -> Intake:
    """All lines of all logs; what cannot be read is counted."""
    intake = Intake(workspace, found.notes)
    for number, source in enumerate(found.sources):
        intake.take(number, source)
    return intake


def _mark(kind: bytes) -> int:
    """What the reader marks the lines of a type with."""
    if kind.startswith(b"DAEMON_"):
        return _DAEMON
    special = {b"SYSCALL": _CALL, b"CONTAINER_ID": _NAMING}
    return special.get(kind, 0) | (_KEPT if kind.decode(errors="replace") in KEPT else 0)


class Intake:
    """Turns blocks into batches of both tables, file by file.

    ``lines`` and ``texts`` are what was taken so far, ``counts`` the lines of each source;
    ``notes`` is what was found out about the logs before.
    """

    def __init__(self, workspace: Workspace, notes: Iterable[str] = ()) -> None:
        self.reader = Reader(workspace, _mark, _pick)
        self.seen = Seen(notes=list(notes))
        self.boots = Boots()
        self.lines: list[pa.RecordBatch] = []
        self.texts: list[pa.RecordBatch] = []
        self.counts: Counter[int] = Counter()
        self._alike: dict[str, Array] = {}

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
            self._share("file", np.full(len(boot), number, dtype=np.int32)),
            *(numbers, self._share("boot", boot), block.kind, block.time_ms, block.serial),
            *(block.start + np.int64(block.offset), (block.end - block.start).view(np.int32)),
            self._share("damage", block.damage),
        )
        return pa.RecordBatch.from_arrays([*map(arrow.numbers, columns)], schema=LINES)

    def _share(self, name: str, values: Array) -> Array:
        """The same values, in memory that earlier batches have, too, if they are all alike.

        New pages cost more than anything else that is done with a line.
        """
        if (values != values[0]).any():
            return values
        kept = self._alike.get(name)
        if kept is None or len(kept) < len(values) or kept[0] != values[0]:
            kept = self._alike[name] = values
        return kept[: len(values)]

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


def _pick(block: Block) -> tuple[Ints, Any]:
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
    if block.damage[rows].any() or not block.ascii:
        texts = [block.text(at)[: _SHOWN if block.damage[at] else None] for at in rows.tolist()]
        return arrow.texts([text.decode(errors="backslashreplace") for text in texts])
    # Every second string is what lies between two lines; none of it is copied.
    offsets = np.stack([block.start[rows], block.end[rows]], axis=1).astype(np.int32).ravel()
    buffers = pa.py_buffer(offsets), pa.py_buffer(block.data)
    strings = pa.StringArray.from_buffers(len(offsets) - 1, *buffers)
    return strings.take(arrow.numbers(np.arange(0, len(offsets), 2)))
