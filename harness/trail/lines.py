"""Reads log lines in arrays: type, node, time and serial of each, and what is wrong with it.

``scan.c`` finds the lines of a block and settles those that auditd writes every day, several
blocks at a time. Whatever looks different (a header of another shape, a quote left open, a
second header) goes through ``harness.audit.records.parse_record`` one by one, whose word on
damage is final.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from lzma import LZMAError
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from harness.audit.records import UNPARSED, parse_record
from harness.cc import compile_file
from harness.workspace import Workspace

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

BLOCK = 4 << 20
# A line that is longer than this is no record of a kernel's (MAX_AUDIT_MESSAGE_LENGTH is 8970).
LONGEST_LINE = 16 << 20
_THREADS = len(os.sched_getaffinity(0))

OK = 0
DAMAGE = (
    "",
    "not a record",
    "cut at the end of the file",
    "two records in one line",
    "a quote is left open",
    "longer than 16 MiB",
)
NO_HEADER, CUT, MERGED, OPEN_QUOTE, TOO_LONG = range(1, len(DAMAGE))

# What is marked in a line: the first two stand in scan.c, too; the caller has the others.
_LOOK, NUMBERED, FIRST_FREE_MARK = 0x01, 0x02, 0x04


class _Word(ctypes.Structure):
    """``struct word`` of scan.c."""

    _fields_ = (
        ("text", ctypes.c_char_p),
        ("size", ctypes.c_uint32),
        ("number", ctypes.c_int32),
        ("mark", ctypes.c_uint8),
    )


class _Words(ctypes.Structure):
    """``struct words`` of scan.c."""

    _fields_ = (
        ("all", ctypes.POINTER(_Word)),
        ("count", ctypes.c_int32),
        ("last", ctypes.c_int32),
    )


# The columns of scan.c, in its order.
_COLUMNS: Mapping[str, type[np.generic]] = {
    "start": np.uint32,
    "end": np.uint32,
    "kind": np.int32,
    "node": np.int32,
    "time_ms": np.int64,
    "serial": np.int64,
    "mark": np.uint8,
}


class _Columns(ctypes.Structure):
    """``struct columns`` of scan.c."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in _COLUMNS)


class _Scan(ctypes.Structure):
    """``struct scan`` of scan.c."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("at", ctypes.c_uint32),
        ("to", ctypes.c_uint32),
        ("kinds", _Words),
        ("nodes", _Words),
        ("out", _Columns),
        ("lines", ctypes.c_uint32),
        ("asked", ctypes.c_uint32),
        ("asked_size", ctypes.c_uint32),
        ("asked_node", ctypes.c_uint32),
    )


@functools.cache
def load_scanner(workspace_root: Path) -> ctypes.CDLL:
    """``scan.c``, compiled where the cache of a state folder has it not.

    Raises HostMissing without a C compiler.
    """
    source = Path(__file__).with_name("scan.c")
    flags = ("-O3", "-shared", "-fPIC")
    scanner = ctypes.CDLL(str(compile_file(Workspace(workspace_root), source, flags=flags)))
    scanner.scan_lines.argtypes = [ctypes.POINTER(_Scan)]
    scanner.count_lines.argtypes = [
        *(ctypes.c_void_p, ctypes.c_uint32),
        ctypes.POINTER(ctypes.c_uint8),
    ]
    scanner.count_lines.restype = ctypes.c_uint32
    return scanner


def keep_memory(workspace: Workspace) -> None:
    """Has this process keep the memory that reading frees, for as long as it lives."""
    load_scanner(workspace.root).keep_memory()


class Numbers(dict[bytes, int]):
    """Numbers for words, given in the order in which they are first seen, by any thread.

    ``mark`` says what lines with a word are marked with.
    """

    def __init__(self, mark: Callable[[bytes], int] = lambda _word: 0) -> None:
        super().__init__()
        self.mark = mark
        self._lock = Lock()
        # What the scanner knows, and the texts that it only has the places of.
        self._room = (_Word * 16)()
        self._texts: list[bytes] = []

    def __missing__(self, word: bytes) -> int:
        with self._lock:
            return self.setdefault(word, len(self))

    def learn(self, written: bytes, word: bytes | None) -> None:
        """Has the scanner know a word as it is written; None is one to look at closely."""
        number, mark = (-1, _LOOK) if word is None else (self[word], self.mark(word))
        with self._lock:
            count = len(self._texts)
            if count == len(self._room):
                # A scanner that runs has the old one, which stays as it is.
                room = (_Word * (2 * count))()
                ctypes.memmove(room, self._room, ctypes.sizeof(self._room))
                self._room = room
            self._texts.append(written)
            self._room[count] = _Word(written, len(written), number, mark)

    def table(self) -> _Words:
        """What the scanner knows now."""
        with self._lock:
            return _Words(self._room, len(self._texts), 0)


@dataclass(slots=True)
class Block:
    """The lines of one block. ``start`` and ``end`` are positions in ``data``.

    ``data`` is that of another block once the next one is asked for, and there may be more in it
    than this one's. ``kind`` and ``node`` number the words in ``Reader.kinds`` and
    ``Reader.nodes``; -1 is none. ``ascii`` says whether all of its texts are that. ``picked`` is
    what ``Reader`` was told to pick out of it. ``mark`` has NUMBERED for records that end with the
    number of a CONTAINER_ID, and what ``Reader`` was told of their types.
    """

    data: bytearray
    start: Array
    end: Array
    kind: Array
    node: Array
    time_ms: Ints
    serial: Ints
    mark: Array
    damage: Array
    offset: int
    ascii: bool
    picked: Any = None

    def text(self, at: int) -> bytes:
        """A line without its newline."""
        return bytes(self.data[int(self.start[at]) : int(self.end[at])])


class Reader:
    """Reads blocks; types and nodes keep their numbers over all files.

    ``mark`` gives bits from FIRST_FREE_MARK on to the lines of a type; ``pick`` looks at each
    block, several at a time, before it is handed out.
    """

    def __init__(
        self,
        workspace: Workspace,
        mark: Callable[[bytes], int] = lambda _kind: 0,
        pick: Callable[[Block], Any] = lambda _block: None,
    ) -> None:
        self._pick = pick
        self.kinds = Numbers(mark)
        self.nodes = Numbers()
        self._scanner = load_scanner(workspace.root)
        self._failure: list[Exception] = []
        # Room for blocks that are done with: to have it made and cleared takes as long as to read.
        self._spare: list[bytearray] = []

    def read(self, file: BinaryIO) -> Iterator[Block]:
        """All lines of a file; only empty ones are left out. Raises what ``file`` does."""
        pieces = self._pieces(file)
        # The scanner runs without the interpreter's lock, so that blocks are read side by side.
        with ThreadPoolExecutor(_THREADS) as pool:
            ahead: deque[Future[Block]] = deque()
            for piece in pieces:
                ahead.append(pool.submit(self._read, piece))
                if len(ahead) > 2 * _THREADS:
                    yield from self._hand_out(ahead.popleft())
            while ahead:
                yield from self._hand_out(ahead.popleft())
        if self._failure:
            raise self._failure[0]

    def _read(self, piece: Callable[[], Block]) -> Block:
        block = piece()
        block.picked = self._pick(block)
        return block

    def _hand_out(self, ahead: Future[Block]) -> Iterator[Block]:
        block = ahead.result()
        yield block
        self._spare.append(block.data)

    def _pieces(self, file: BinaryIO) -> Iterator[Callable[[], Block]]:
        """What has to be done for each block, in the order of the file."""
        rest, offset = b"", 0
        self._failure = []
        while True:
            data, size = self._fill(file, rest)
            if size == len(rest):
                break
            cut = data.rfind(b"\n", 0, size) + 1
            if not cut and size > LONGEST_LINE:
                # It is counted, and its end will be a line that is not a record.
                yield partial(self._lone, bytes(data[:size]), offset, TOO_LONG)
                cut = size
            elif cut:
                yield partial(self._block, data, cut, offset)
            offset += cut
            rest = bytes(memoryview(data)[cut:size])
        if rest:
            yield partial(self._lone, rest, offset, CUT)

    def _fill(self, file: BinaryIO, rest: bytes) -> tuple[bytearray, int]:
        """What was left over and the next block, or what came of it before a failure; its size."""
        end = len(rest) + BLOCK
        data = self._spare.pop() if self._spare else bytearray()
        if len(data) < end:
            # Some more, for the rests of other blocks.
            data = bytearray(end + BLOCK // 64)
        size = len(rest)
        data[:size] = rest
        view = memoryview(data)
        # A larger read would lose what a damaged archive gives before it fails.
        read: Callable[[memoryview], int] = getattr(file, "readinto1", None) or file.readinto  # type: ignore[attr-defined]
        while size < end and not self._failure:
            try:
                count = read(view[size:end])
            except (OSError, EOFError, ValueError, LZMAError) as error:
                self._failure.append(error)
                break
            if not count:
                break
            size += count
        return data, size

    def _lone(self, data: bytes, offset: int, damage: int) -> Block:
        """A line without a newline. What was cut may have lost what says whose it is."""
        block = self._block(bytearray(data + b"\n"), len(data) + 1, offset)
        if damage == TOO_LONG or block.damage[0] != NO_HEADER:
            block.damage[0] = damage
        return block

    def _block(self, data: bytearray, size: int, offset: int) -> Block:
        """The lines in the first ``size`` bytes, which end with a newline."""
        view = (ctypes.c_char * len(data)).from_buffer(data)
        where = ctypes.addressof(view)
        ascii_ = ctypes.c_uint8()
        room = self._scanner.count_lines(where, size, ascii_)
        columns = {name: np.empty(room, dtype=kind) for name, kind in _COLUMNS.items()}
        out = _Columns(*(column.ctypes.data for column in columns.values()))
        scan = _Scan(data=where, to=size, out=out)
        while True:
            scan.kinds, scan.nodes = self.kinds.table(), self.nodes.table()
            if not self._scanner.scan_lines(scan):
                break
            word = bytes(data[scan.asked : scan.asked + scan.asked_size])
            plain = _is_word(word)
            if scan.asked_node:
                self.nodes.learn(word, word if plain else None)
            else:
                self.kinds.learn(word, _plain(word) if plain else None)
        lines = scan.lines
        columns = {name: column[:lines] for name, column in columns.items()}
        damage = np.zeros(lines, dtype=np.int8)
        block = Block(data=data, ascii=bool(ascii_.value), damage=damage, offset=offset, **columns)
        for at in np.flatnonzero(block.mark & _LOOK):
            self._look_closely(block, int(at))
        return block

    def _look_closely(self, block: Block, at: int) -> None:
        text = block.text(at)
        record = parse_record(text.decode(errors="surrogateescape"))
        if record.type == UNPARSED:
            block.kind[at] = -1
            block.damage[at] = _name_damage(text) if record.time_s else NO_HEADER
            if not record.time_s:
                block.time_ms[at] = block.serial[at] = -1
                return
        else:
            kind = _plain(record.type.encode(errors="surrogateescape"))
            block.kind[at] = self.kinds[kind]
            block.mark[at] |= self.kinds.mark(kind)
        if block.time_ms[at] < 0:
            block.time_ms[at] = min(round(record.time_s * 1000), 1 << 62)
            block.serial[at] = record.serial
            node = record.fields.get("node", "").encode(errors="surrogateescape")
            if node and text.startswith(b"node="):
                block.node[at] = self.nodes[node]


def _plain(name: bytes) -> bytes:
    """The name of a type that the daemon did not know, where records.py knows it."""
    if not name.startswith(b"UNKNOWN["):
        return name
    header = f"type={name.decode(errors='replace')} msg=audit(1.000:1): "
    return parse_record(header).type.encode()


def _is_word(name: bytes) -> bool:
    """Whether records.py, too, would see no blank of any kind in it."""
    text = name.decode(errors="surrogateescape")
    return text.split() == [text]


def _name_damage(text: bytes) -> int:
    return MERGED if text.count(b" msg=audit(") > 1 else OPEN_QUOTE
