"""Reads log lines in arrays: type, node, time and serial of each, and what is wrong with it.

A block of some MiB is looked at as bytes: where its lines, parentheses and quotes are is found
for all at once. That settles the lines that auditd writes every day. Whatever looks different
(a header of another shape, a quote left open, a second header) goes through
``harness.audit.records.parse_record`` one by one, whose word on damage is final.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from lzma import LZMAError
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from harness.audit.records import UNPARSED, parse_record

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]

BLOCK = 4 << 20
# A line that is longer than this is no record of a kernel's (MAX_AUDIT_MESSAGE_LENGTH is 8970).
LONGEST_LINE = 16 << 20
_THREADS = len(os.sched_getaffinity(0))
_PAD = 64
_PADDING = b"\0" * _PAD
_NODES = 16

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


class Numbers(dict[bytes, int]):
    """Numbers for words, given in the order in which they are first seen, by any thread."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = Lock()

    def __missing__(self, word: bytes) -> int:
        with self._lock:
            return self.setdefault(word, len(self))


@dataclass(slots=True)
class Block:
    """The lines of one block. ``start`` and ``end`` are positions in ``data``.

    ``kind`` and ``node`` number the words in ``Reader.kinds`` and ``Reader.nodes``; -1 is none.
    ``numbered`` are the records that end with the number of a CONTAINER_ID.
    """

    data: bytes
    start: Ints
    end: Ints
    kind: Ints
    node: Ints
    time_ms: Ints
    serial: Ints
    damage: Ints
    numbered: Bools
    offset: int

    def text(self, at: int) -> bytes:
        """A line without its newline."""
        return self.data[int(self.start[at]) : int(self.end[at])]


class Reader:
    """Reads blocks; types and nodes keep their numbers over all files."""

    def __init__(self) -> None:
        self.kinds = Numbers()
        self.nodes = Numbers()
        self._known: dict[tuple[int, int, int], int] = {}
        self._failure: list[Exception] = []

    def read(self, file: BinaryIO) -> Iterator[Block]:
        """All lines of a file; only empty ones are left out. Raises what ``file`` does."""
        pieces = self._pieces(file)
        # numpy lets go of the interpreter's lock, so that blocks are looked at side by side.
        with ThreadPoolExecutor(_THREADS) as pool:
            ahead: deque[Future[Block]] = deque()
            for piece in pieces:
                ahead.append(pool.submit(piece))
                if len(ahead) > 2 * _THREADS:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        if self._failure:
            raise self._failure[0]

    def _pieces(self, file: BinaryIO) -> Iterator[Callable[[], Block]]:
        """What has to be done for each block, in the order of the file."""
        rest, offset = b"", 0
        self._failure = []
        while fresh := _fill(file, self._failure):
            cut = fresh.rfind(b"\n") + 1
            if not cut and len(rest) + len(fresh) > LONGEST_LINE:
                # It is counted, and its end will be a line that is not a record.
                yield partial(self._lone, rest + fresh, offset, TOO_LONG)
                offset += len(rest) + len(fresh)
                rest = b""
            elif cut:
                size = len(rest) + cut
                yield partial(self._block, b"".join([rest, fresh, _PADDING]), size, offset)
                offset += size
                rest = fresh[cut:]
            else:
                rest += fresh
        if rest:
            yield partial(self._lone, rest, offset, CUT)

    def _lone(self, data: bytes, offset: int, damage: int) -> Block:
        """A line without a newline. What was cut may have lost what says whose it is."""
        block = self._block(data + b"\n" + _PADDING, len(data) + 1, offset)
        if damage == TOO_LONG or block.damage[0] != NO_HEADER:
            block.damage[0] = damage
        return block

    def _block(self, data: bytes, size: int, offset: int) -> Block:
        """The lines in the first ``size`` bytes; the padding lets words reach beyond them."""
        bytes_ = np.frombuffer(data, dtype=np.uint8)
        ends = np.flatnonzero(bytes_[:size] == 10)
        starts = np.concatenate([[0], ends[:-1] + 1])
        full = ends > starts
        starts, ends = starts[full], ends[full]
        count = len(starts)

        def none() -> Ints:
            return np.full(count, -1, dtype=np.int64)

        block = Block(
            data=data,
            start=starts,
            end=ends,
            kind=none(),
            node=none(),
            time_ms=none(),
            serial=none(),
            damage=np.zeros(count, dtype=np.int64),
            numbered=np.zeros(count, dtype=np.bool_),
            offset=offset,
        )
        if count:
            # Eight bytes from every position on, as one word.
            words: Words = np.ndarray(
                shape=(len(bytes_) - 7,), dtype="<u8", buffer=bytes_.data, strides=(1,)
            )
            openings = np.flatnonzero(bytes_ == 40)
            known = self._headers(block, bytes_, words, openings)
            for at in np.flatnonzero(~known | _odd(block, known, bytes_, words, openings)):
                self._look_closely(block, int(at))
        return block

    def _headers(self, block: Block, bytes_: Bytes, words: Words, openings: Ints) -> Bools:
        """Reads the headers of the usual shape, and says which those were."""
        begin = self._nodes_of(block, words)
        opening = _next(openings, begin, block.end)
        closing = _next(np.flatnonzero(bytes_ == 41), opening, block.end)
        known: Bools = (
            (begin >= 0)
            & (opening - begin > 15)
            & (closing - opening > 16)
            & (closing - opening < 34)
            & (closing < block.end)
        )
        rows = np.flatnonzero(known)
        begin, opening, closing = begin[rows], opening[rows], closing[rows]
        ok = (words[begin] & _mask(5)) == _word(b"type=")
        ok &= (words[opening - 10] == _MSG_AUD) & (words[opening - 8] == _SG_AUDIT)
        ok &= (bytes_[opening + 11] == 46) & (bytes_[opening + 15] == 58)
        ok &= bytes_[closing + 1] == 58
        seconds, whole = _number(words, opening + 1, opening + 11)
        ok &= whole
        millis, whole = _number(words, opening + 12, opening + 15)
        ok &= whole
        serial, whole = _number(words, opening + 16, closing)
        ok &= whole
        rows, begin, opening = rows[ok], begin[ok], opening[ok]
        block.time_ms[rows] = seconds[ok] * 1000 + millis[ok]
        block.serial[rows] = serial[ok]
        block.kind[rows] = self._kinds_of(block, words, begin + 5, opening - 10)
        known[:] = False
        known[rows] = block.kind[rows] >= 0
        return known

    def _nodes_of(self, block: Block, words: Words) -> Ints:
        """Where ``type=`` begins in each line, or -1; fills in the nodes."""
        first = words[block.start]
        begin = np.where((first & _mask(5)) == _word(b"type="), block.start, -1)
        left = np.flatnonzero((first & _mask(5)) == _word(b"node="))
        for _ in range(_NODES):
            if not len(left):
                break
            line = block.text(int(left[0]))
            size = line.find(b" ") + 1
            ours = 6 < size <= _PAD and line[size : size + 5] == b"type="
            if not ours or not _is_word(line[5 : size - 1]):
                left = left[1:]
                continue
            same = np.ones(len(left), dtype=np.bool_)
            for at in range(0, size, 8):
                # The last words of a block may reach into its padding, but no further.
                where = np.minimum(block.start[left] + at, len(words) - 1)
                part = min(8, size - at)
                same &= (words[where] & _mask(part)) == _word(line[at : at + part])
            rows = left[same]
            block.node[rows] = self.nodes[line[5 : size - 1]]
            begin[rows] = block.start[rows] + size
            left = left[~same]
        return begin

    def _kinds_of(self, block: Block, words: Words, begin: Ints, end: Ints) -> Ints:
        """The numbers of the types that stand there; -1 for one that takes a closer look."""
        size = end - begin
        low = words[begin] & _MASKS[np.minimum(size, 8)]
        high = words[begin + 8] & _MASKS[np.clip(size - 8, 0, 8)]
        found = np.full(len(begin), -1, dtype=np.int64)
        left = np.flatnonzero((size > 0) & (size <= 16))
        for key, number in tuple(self._known.items()):
            if not len(left):
                break
            same = (low[left] == key[0]) & (high[left] == key[1]) & (size[left] == key[2])
            found[left[same]] = number
            left = left[~same]
        while len(left):
            at = left[0]
            name = block.data[int(begin[at]) : int(end[at])]
            key = (int(low[at]), int(high[at]), int(size[at]))
            number = self.kinds[_plain(name)] if _is_word(name) else -1
            self._known[key] = number
            same = (low[left] == key[0]) & (high[left] == key[1]) & (size[left] == key[2])
            found[left[same]] = number
            left = left[~same]
        return found

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
            block.kind[at] = self.kinds[_plain(record.type.encode(errors="surrogateescape"))]
            block.damage[at] = OK
        if block.time_ms[at] < 0:
            block.time_ms[at] = min(round(record.time_s * 1000), 1 << 62)
            block.serial[at] = record.serial
            node = record.fields.get("node", "").encode(errors="surrogateescape")
            if node and text.startswith(b"node="):
                block.node[at] = self.nodes[node]


def _fill(file: BinaryIO, failure: list[Exception]) -> bytes:
    """The next block, or what came before a failure."""
    parts, size = [], 0
    # A larger read would lose what a damaged archive gives before it fails.
    read = getattr(file, "read1", file.read)
    while size < BLOCK and not failure:
        try:
            part = read(BLOCK - size)
        except (OSError, EOFError, ValueError, LZMAError) as error:
            failure.append(error)
            break
        if not part:
            break
        parts.append(part)
        size += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


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


def _odd(block: Block, known: Bools, bytes_: Bytes, words: Words, openings: Ints) -> Bools:
    """Which lines may be damaged though their header is whole."""
    end = block.end
    if b"\x1d" in block.data:
        end = np.minimum(end, _next(np.flatnonzero(bytes_ == 29), block.start, block.end))
    for digits in (1, 2, 3):
        block.numbered |= words[np.maximum(end - 8 - digits, 0)] == _RECORD
    odd: Bools = _count(np.flatnonzero(bytes_ == 34), block.start, end) % 2 == 1
    behind = openings[openings >= 11]
    headers = behind[(words[behind - 10] == _MSG_AUD) & (words[behind - 8] == _SG_AUDIT)]
    if len(headers) > np.count_nonzero(known):
        odd |= _count(headers, block.start, block.end) > 1
    apostrophes = np.flatnonzero(bytes_ == 39)
    behind = apostrophes[apostrophes >= 6]
    texts = behind[(words[behind - 5] & _mask(6)) == _word(b" msg='")]
    if len(texts):
        after = bytes_[apostrophes + 1]
        closed = apostrophes[(after == 10) | (after == 29)]
        odd |= _count(texts, block.start, block.end) > _count(closed, block.start, block.end)
    return odd


def _count(places: Ints, start: Ints, end: Ints) -> Ints:
    """How many of the sorted places are in each stretch."""
    return np.searchsorted(places, end) - np.searchsorted(places, start)


def _next(places: Ints, after: Ints, otherwise: Ints) -> Ints:
    """The first of the sorted places at or after each position."""
    where = np.searchsorted(places, after)
    padded = np.append(places, np.iinfo(np.int64).max)
    return np.where(where < len(places), padded[where], otherwise)


def _number(words: Words, begin: Ints, end: Ints) -> tuple[Ints, Bools]:
    """The decimal numbers between positions, and whether there are but digits."""
    value, whole = _eight(words[end - 8], np.minimum(end - begin, 8))
    for more in (8, 16):
        left = end - begin - more
        if not (left > 0).any():
            break
        high, fits = _eight(words[np.maximum(end - more - 8, 0)], np.clip(left, 0, 8))
        value = value + high * 10**more
        whole &= fits
    return value, whole


def _eight(word: Words, size: Ints) -> tuple[Ints, Bools]:
    """The number that the last ``size`` of eight bytes spell, and whether all are digits."""
    kept = ~_MASKS[8 - size]
    # What is not of the number becomes zeros; then two, four, eight digits are put together.
    digits = (word & kept) ^ (_ZEROS & kept)
    whole = ((digits | (digits + _TO_TOP)) & _TOPS) == 0
    digits = (digits * np.uint64(10) + (digits >> np.uint64(8))) & _PAIRS
    digits = (digits * np.uint64(100) + (digits >> np.uint64(16))) & _FOURS
    digits = (digits * np.uint64(10_000) + (digits >> np.uint64(32))) & _LOW
    return digits.astype(np.int64), whole


def _word(text: bytes) -> Any:
    return np.uint64(int.from_bytes(text, "little"))


def _mask(size: int) -> Any:
    return np.uint64((1 << (8 * size)) - 1)


_MSG_AUD = _word(b" msg=aud")
_SG_AUDIT = _word(b"sg=audit")
_RECORD = _word(b" record=")
_ZEROS = np.uint64(0x3030303030303030)
_TO_TOP = np.uint64(0x7676767676767676)  # 10 + 0x76 is the top bit of a byte
_TOPS = np.uint64(0x8080808080808080)
_PAIRS = np.uint64(0x00FF00FF00FF00FF)
_FOURS = np.uint64(0x0000FFFF0000FFFF)
_LOW = np.uint64(0x00000000FFFFFFFF)
_MASKS = np.array([(1 << (8 * size)) - 1 for size in range(9)], dtype=np.uint64)
