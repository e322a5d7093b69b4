"""Finds audit logs: rotated, compressed, of several hosts, each of them once.

A place is a file or a folder, with ``HOST=`` before it when everything in it is of that host.
In a folder, at any depth, ``audit*.log`` and ``records*.log`` are logs, with what logrotate
and auditd append: ``.1`` (the higher, the older), ``-20261125``, and an ending of ``PACKED``.
Logs of one folder and one name are one stream, the oldest first. What is called like one, and
ends otherwise, is not read, and counted.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from harness.errors import UsageError

# What compressed logs end in that can be read, and some that cannot, by whatever name.
PACKED = (".bz2", ".gz", ".lz4", ".xz", ".zst")
_UNREAD = (".7z", ".br", ".lz", ".lzma", ".lzo", ".sz", ".z", ".zip", ".Z")
_NAME = re.compile(
    r"(?P<stem>.+?\.log)(?:[.-](?P<date>\d{8}(?:-\d+)?)|\.(?P<number>\d{1,7}))?"
    rf"(?:{'|'.join(map(re.escape, PACKED))})?"
)
_IN_FOLDER = re.compile(r"(?:audit|records).*\.log.*")
_HOST = re.compile(r"(?P<host>[^/=]+)=(?P<path>.+)", re.DOTALL)
_BLOCK = 1 << 20
# What events can be placed by, as daemons write it that know the types, and that do not.
_TELLING = re.compile(rb"type=(?:UNKNOWN\[134[0-5]\]|CONTAINER_(?:ID|OP)|NS_(?:INFO|INIT)) ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A log file. ``host`` is what its records without a node are of.

    With ``fixed`` all of them are, whatever node they name. ``stream`` numbers those that are
    one log that was rotated. ``found`` is where it was when it was found, if it is read by
    another name now.
    """

    path: Path
    host: str
    fixed: bool
    stream: int
    found: Path | None = None

    @property
    def name(self) -> Path:
        """What people call it."""
        return self.found or self.path

    @property
    def key(self) -> tuple[str, str, str]:
        """What the logs of one stream have in common: host, folder, and name without a number."""
        return _key(self.host, self.name)


@dataclass(slots=True)
class Found:
    """The logs to read in their order, and what has to be said about the others."""

    sources: list[Source] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_sources(places: Sequence[str]) -> Found:
    """The logs at these places. Raises UsageError when there is none, or no such place."""
    found = Found()
    seen: dict[Identity, Path] = {}
    streams: dict[tuple[str, str, str], list[tuple[Path, str, bool]]] = {}
    for path, label, fixed in _list(places, found.notes):
        identity = identify(path)
        if twin := seen.get(identity):
            found.notes.append(f"{path} is {twin}: read once")
            continue
        seen[identity] = path
        streams.setdefault(_key(label, path), []).append((path, label, fixed))
    for number, rows in enumerate(streams.values()):
        for path, label, fixed in sorted(rows, key=lambda row: _age(row[0])):
            found.sources.append(Source(path=path, host=label, fixed=fixed, stream=number))
    _drop_copies(found)
    if not found.sources:
        raise UsageError(
            f"there is no audit log in {', '.join(places)}"
            + "".join(f"\n  {note}" for note in found.notes),
            hint="name a file, or a folder with audit*.log or records*.log in it",
        )
    return found


def find_more(places: Sequence[str], known: Sequence[Source], seen: set[Identity]) -> list[Source]:
    """The logs that came up since: what a rotation began, and those of new hosts.

    What begins like a known one is that one, moved or compressed. ``seen`` are the files that
    were looked at, and those looked at now.
    """
    streams = {one.key: one.stream for one in known}
    heads: set[bytes] = set()
    fresh = []
    for path, label, fixed in _list(places, []):
        try:
            identity = identify(path)
            head = b"" if identity in seen else _head(path)
        except (OSError, EOFError, lzma.LZMAError):
            # It went away meanwhile, or is still being compressed.
            continue
        if not head:
            continue
        seen.add(identity)
        heads = heads or {_head(one.path) for one in known}
        if head not in heads:
            stream = streams.setdefault(_key(label, path), len(streams))
            fresh.append(Source(path=path, host=label, fixed=fixed, stream=stream))
    return sorted(fresh, key=lambda one: _age(one.path))


Identity = tuple[int, int]


def identify(path: Path) -> Identity:
    """Which file it is, whatever it is called."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _head(path: Path) -> bytes:
    """The first line, or nothing of an empty file."""
    with open_source(path) as file:
        return file.readline(4096)


def _list(places: Sequence[str], notes: list[str]) -> Iterator[tuple[Path, str, bool]]:
    """Each log at some places, its host, and whether that was said."""
    unread: dict[str, list[Path]] = {}
    for place in places:
        host, root = split_place(place)
        for path in _logs_at(root, notes, unread):
            yield path, host or path.absolute().parent.name or "host", bool(host)
    for ending, paths in unread.items():
        if len(paths) == 1:
            notes.append(f"1 file that ends in {ending} is not read: {paths[0]}")
        else:
            notes.append(f"{len(paths)} files that end in {ending} are not read, first {paths[0]}")


def _key(host: str, path: Path) -> tuple[str, str, str]:
    return host, str(path.absolute().parent), _parts(path)[0]


def names_containers(folder: Path) -> bool:
    """Whether some log in a folder may name a container: a quick look, without an engine."""
    for path in _logs_at(folder, [], {}):
        with open_source(path) as file:
            if _TELLING.search(file.read()):
                return True
    return False


def open_source(path: Path) -> BinaryIO:
    """The content of a log, decompressed. Raises OSError, EOFError or LZMAError while read."""
    if path.suffix == ".gz":
        return cast("BinaryIO", gzip.open(path))
    if path.suffix == ".bz2":
        return cast("BinaryIO", bz2.open(path))
    if path.suffix == ".xz":
        return cast("BinaryIO", lzma.open(path))
    if codec := {".lz4": "lz4", ".zst": "zstd"}.get(path.suffix):
        import pyarrow as pa

        return cast("BinaryIO", pa.CompressedInputStream(pa.OSFile(str(path)), codec))
    return path.open("rb")


def read_parts(path: Path, parts: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """What is at each (place, size) of a log, decompressed; these are in their order."""
    with open_source(path) as opened:
        at = 0
        for place, size in parts:
            if opened.seekable():
                opened.seek(place)
            else:
                opened.read(place - at)
            at = place + size
            yield opened.read(size)


def split_place(place: str) -> tuple[str, Path]:
    """The host that is said before a path, or nothing, and the path."""
    named = _HOST.fullmatch(place)
    if named and not Path(place).exists():
        return named["host"], Path(named["path"])
    return "", Path(place)


def _logs_at(root: Path, notes: list[str], unread: dict[str, list[Path]]) -> Iterator[Path]:
    """The logs at a place. ``unread`` gets what is called like one, by its ending."""
    try:
        is_folder = stat.S_ISDIR(root.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"there is no {root}", hint="PATH or HOST=PATH") from error
    except OSError as error:
        notes.append(f"{root} cannot be read: {error.strerror}")
        return
    if not is_folder:
        if root.suffix in _UNREAD:
            unread.setdefault(root.suffix, []).append(root)
        elif os.access(root, os.R_OK):
            yield root
        else:
            notes.append(f"{root} cannot be read: permission denied")
        return

    def refuse(error: OSError) -> None:
        notes.append(f"{error.filename} cannot be read: {error.strerror}")

    for folder, below, names in os.walk(root, onerror=refuse):
        below.sort()
        for name in sorted(names):
            if not _IN_FOLDER.fullmatch(name):
                continue
            path = Path(folder, name)
            if not _NAME.fullmatch(name):
                unread.setdefault(path.suffix, []).append(path)
            elif os.access(path, os.R_OK):
                yield path
            else:
                notes.append(f"{path} cannot be read: permission denied")


def _parts(path: Path) -> tuple[str, str, int]:
    """The name without what rotation appends, the date, and the number (-1 for none)."""
    parts = _NAME.fullmatch(path.name)
    if not parts:
        return path.name, "", -1
    return parts["stem"], parts["date"] or "", int(parts["number"] or -1)


def _age(path: Path) -> tuple[int, str, int]:
    """Sorts the oldest first: dated ones, then numbered ones downwards, then the current."""
    _, date, number = _parts(path)
    return (0 if date else 1 if number >= 0 else 2, date, -number)


def _drop_copies(found: Found) -> None:
    """Leaves out what another file holds, too, from its first byte on."""
    begins: dict[bytes, list[Source]] = {}
    dropped: set[Path] = set()
    for source in found.sources:
        try:
            with open_source(source.path) as file:
                head = file.read(4096)
        except (OSError, EOFError, lzma.LZMAError):
            continue
        if not head:
            found.notes.append(f"{source.path} is empty")
            continue
        # A log that was shorter than this when it was copied is told apart by its first line.
        others = begins.setdefault(head.partition(b"\n")[0], [])
        for other in others:
            shorter = _shorter(source.path, other.path)
            if shorter and other.path not in dropped:
                longer = other.path if shorter == source.path else source.path
                found.notes.append(f"{longer} holds all of {shorter}: that is read once")
                dropped.add(shorter)
                break
        others.append(source)
    found.sources = [one for one in found.sources if one.path not in dropped]


def _shorter(one: Path, other: Path) -> Path | None:
    """Which of two files the other begins with (the first one if they are alike), or None."""
    try:
        with open_source(one) as first, open_source(other) as second:
            while True:
                left, right = first.read(_BLOCK), second.read(_BLOCK)
                if left == right and left:
                    continue
                if not right.startswith(left) and not left.startswith(right):
                    return None
                if len(left) <= len(right):
                    return one if not first.read(1) else None
                return other if not second.read(1) else None
    except (OSError, EOFError, lzma.LZMAError):
        return None
