"""Follows logs while they are written: whole events, each told once, a moment after its end.

Files are held open, so that a rotation takes nothing away, and a part of a line is left for the
next time. What containers there are is worked out anew from all that was read, each time that
there is more: the later the event, the more is known. Nothing is told of an event while records
of it may still come.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa

from harness.trail.asked import Key
from harness.trail.engine import Engine
from harness.trail.index import Index
from harness.trail.intake import Intake
from harness.trail.model import KEY, Model
from harness.trail.sources import PACKED, Source, find_more, find_sources, identify
from harness.workspace import Workspace

_STEP = 1 << 16


class Tail:
    """The logs at some places, as far as they were written. Raises what ``find_sources`` does."""

    def __init__(self, places: Sequence[str], workspace: Workspace, engine: Engine) -> None:
        self._places = places
        found = find_sources(places)
        self._seen = {identify(one.path) for one in found.sources}
        self._intake = Intake(workspace, found.notes)
        kinds = self._intake.reader.kinds
        self.index = Index(engine=engine, sources=[], kinds=kinds, seen=self._intake.seen)
        self._files: dict[int, int] = {}
        self._read: dict[int, int] = {}
        # Events of which records may still come: such as came lately, and those of a cut line.
        self._pending: set[Key] = set()
        self._open: set[Key] = set()
        self._last: dict[int, Key] = {}
        self._told: set[Key] = set()
        self._model: Model | None = None
        self._add(found.sources)

    def poll(self) -> tuple[Model, set[Key]]:
        """What is known now, and the events that are whole since the last time."""
        taken = len(self._intake.lines)
        self._add(find_more(self._places, self.index.sources, self._seen))
        self._open.clear()
        for number, file in self._files.items():
            self._grow(number, file)
        fresh = _keys(self._intake.lines[taken:])
        fresh |= self._pending & self._open
        whole, self._pending = self._pending - fresh, fresh
        if taken < len(self._intake.lines) or self._model is None:
            self.index.load(self._intake)
            self._model = Model(self.index)
        return self._model, self._once(whole)

    def _once(self, whole: set[Key]) -> set[Key]:
        """Those that another log did not have before, by the boots that there are now."""
        now = self.index.renumbered
        before, self._told = self._told, self._told | whole
        if not now:
            return whole
        # What was told may have been of a boot that was taken for another one.
        told = {(now.get(boot, boot), ms, serial) for boot, ms, serial in before}
        return {(now.get(boot, boot), ms, serial) for boot, ms, serial in whole} - told

    def close(self) -> None:
        """Lets go of the files."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()

    def _add(self, sources: Iterable[Source]) -> None:
        for one in sources:
            number = len(self.index.sources)
            if one.path.suffix in PACKED:
                self.index.sources.append(one)
                self._intake.take(number, one)
                continue
            file = os.open(one.path, os.O_RDONLY | os.O_CLOEXEC)
            self._files[number], self._read[number] = file, 0
            opened = replace(one, path=Path(f"/proc/self/fd/{file}"), found=one.path)
            self.index.sources.append(opened)

    def _grow(self, number: int, file: int) -> None:
        """Takes the whole lines that a file has more."""
        begin, size = self._read[number], os.fstat(file).st_size
        if size < begin:
            name = self.index.sources[number].name
            self.index.seen.notes.append(f"{name} was cut, and is read from its beginning again")
            begin = self._read[number] = 0
        end = _end_of_lines(file, begin, size)
        if end > begin:
            # The reader only needs what a raw file has.
            part = cast("BinaryIO", _Part(file, begin, end))
            self._intake.take(number, self.index.sources[number], part, begin)
            self._read[number] = end
            self._last[number] = _last_of(self._intake.lines[-1])
        if end < size and number in self._last:
            self._open.add(self._last[number])


class _Part(RawIOBase):
    """The bytes of a file between two places; the file stays open."""

    def __init__(self, file: int, begin: int, end: int) -> None:
        self._file, self._at, self._end = file, begin, end

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """As many bytes as there are room and bytes for."""
        size = min(len(buffer), self._end - self._at)
        data = os.pread(self._file, size, self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _end_of_lines(file: int, begin: int, size: int) -> int:
    """Where the last whole line between two places ends; ``begin`` if there is none."""
    at = size
    while at > begin:
        step = min(_STEP, at - begin)
        found = os.pread(file, step, at - step).rfind(b"\n")
        if found >= 0:
            return at - step + found + 1
        at -= step
    return begin


def _last_of(batch: pa.RecordBatch) -> Key:
    """The event that the last line is of."""
    boot, ms, serial = (batch.column(name)[len(batch) - 1].as_py() for name in KEY)
    return boot, ms, serial


def _keys(batches: Iterable[pa.RecordBatch]) -> set[Key]:
    """The events that some lines are of."""
    found: set[Key] = set()
    for batch in batches:
        columns = [batch.column(name).to_numpy().astype(np.int64) for name in KEY]
        rows = np.unique(np.stack(columns, axis=1), axis=0)
        found |= {(int(boot), int(ms), int(serial)) for boot, ms, serial in rows if boot >= 0}
    return found
