"""Reads log lines in arrays: type, node, time and serial of each, and what is wrong with it.

A block of some MiB is looked at as bytes: where its lines, parentheses and quotes are is found
for all at once. That settles the lines that auditd writes every day. Whatever looks different
(a header of another shape, a quote left open, a second header) goes through
``harness.audit.records.parse_record`` one by one, whose word on damage is final.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from lzma import LZMAError
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from harness.audit.records import UNPARSED, parse_record

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]

BLOCK = 1 << 20
# A line that is longer than this is no record of a kernel's (MAX_AUDIT_MESSAGE_LENGTH is 8970).
LONGEST_LINE = 16 << 20
_PAD = 64
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
    """Numbers for words, given in the order in which they are first seen."""

    def __missing__(self, word: bytes) -> int:
        self[word] = len(self)
        return self[word]


@dataclass(slots=True)
class Block:
    """The lines of one block. ``start`` and ``end`` are positions in ``data``.

    ``kind`` and ``node`` number the words in ``Reader.kinds`` and ``Reader.nodes``; -1 is none.
    """

    data: bytes
    start: Ints
    end: Ints
    kind: Ints
    node: Ints
    time_ms: Ints
    serial: Ints
    damage: Ints
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

    def read(self, file: BinaryIO) -> Iterator[Block]:
        """All lines of a file; only empty ones are left out. Raises what ``file`` does."""
        rest, offset = b"", 0
        failure: list[Exception] = []
        while fresh := _fill(file, failure):
            data = rest + fresh
            cut = data.rfind(b"\n") + 1
            if not cut and len(data) > LONGEST_LINE:
                # It is counted, and its end will be a line that is not a record.
                cut = len(data)
                yield self._lone(data, offset, TOO_LONG)
            elif cut:
                yield self._block(data[:cut], offset)
            offset += cut
            rest = data[cut:]
        if rest:
            yield self._lone(rest, offset, CUT)
        if failure:
            raise failure[0]

    def _lone(self, data: bytes, offset: int, damage: int) -> Block:
        """A line without a newline. What was cut may have lost what says whose it is."""
        block = self._block(data + b"\n", offset)
        if damage == TOO_LONG or block.damage[0] != NO_HEADER:
            block.damage[0] = damage
        return block

    def _block(self, data: bytes, offset: int) -> Block:
        bytes_ = np.frombuffer(data + b"\0" * _PAD, dtype=np.uint8)
        ends = np.flatnonzero(bytes_ == 10)
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
        seconds, whole = _number(bytes_, opening + 1, opening + 11)
        ok &= whole
        millis, whole = _number(bytes_, opening + 12, opening + 15)
        ok &= whole
        serial, whole = _number(bytes_, opening + 16, closing)
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
        for key, number in self._known.items():
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


def _number(bytes_: Bytes, begin: Ints, end: Ints) -> tuple[Ints, Bools]:
    """The decimal numbers between positions, and whether there are but digits."""
    value = np.zeros(len(begin), dtype=np.int64)
    whole = np.ones(len(begin), dtype=np.bool_)
    size = end - begin
    most = int(size.max()) if len(size) else 0
    least = int(size.min()) if len(size) else 0
    for at in range(most):
        digit = bytes_[np.minimum(begin + at, len(bytes_) - 1)].astype(np.int64) - 48
        fits = (digit >= 0) & (digit <= 9)
        if at < least:
            whole &= fits
            value = value * 10 + digit
        else:
            there = size > at
            whole &= fits | ~there
            value = np.where(there, value * 10 + digit, value)
    return value, whole


def _word(text: bytes) -> Any:
    return np.uint64(int.from_bytes(text, "little"))


def _mask(size: int) -> Any:
    return np.uint64((1 << (8 * size)) - 1)


_MSG_AUD = _word(b" msg=aud")
_SG_AUDIT = _word(b"sg=audit")
_MASKS = np.array([(1 << (8 * size)) - 1 for size in range(9)], dtype=np.uint64)
