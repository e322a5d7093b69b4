"""The one owner of paths, locks and publishing below the state folder.

Layout: ``cache/<kind>/<key>/`` holds finished things, immutable, each with a manifest of its
files and a note of when these were last compared with it; ``work/`` holds what is being built
(git worktrees, object folders); ``runs/`` one folder for each run; ``locks/`` the lock files;
``tmp/`` what is not finished yet. A folder becomes visible in ``cache`` by one rename, so
nothing half-written is ever found there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import HarnessError

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
_CHECKED = ".checked.json"
# Two changes within one tick of a file system's clock (10 ms at most) have one time.
_TICK_NS = 100_000_000
_BLOCK = 1 << 16
PROJECT = Path(__file__).resolve().parent.parent


def digest(*parts: str | bytes) -> str:
    """SHA-256, in hex, over parts that cannot run into each other."""
    state = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        state.update(f"{len(raw)}:".encode())
        state.update(raw)
    return state.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def content_digest(paths: Iterable[Path], *, without: Collection[str] = ()) -> str:
    """SHA-256, in hex, over files and folders: what is in them, and what it is called there.

    Hidden files, what Python compiled, and folders named in ``without`` do not count.
    """
    left_out = {"__pycache__", *without}
    parts: list[str | bytes] = []
    for path in sorted(paths):
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            name = file.relative_to(path.parent)
            counts = not (file.name.startswith(".") or left_out & set(name.parts))
            if counts and file.is_file():
                parts += [str(name), file.read_bytes()]
    return digest(*parts)


def data_digest(path: Path) -> str:
    """SHA-256, in hex, over the blocks of 64 KiB that are not all zero, each with its offset.

    It costs what a sparse file holds, not what its size is, and does not depend on where the
    file system happened to put holes.
    """
    state = hashlib.sha256()
    with path.open("rb", buffering=0) as handle:
        size, at = os.fstat(handle.fileno()).st_size, 0
        block, zeros = bytearray(_BLOCK), bytes(_BLOCK)
        with contextlib.suppress(OSError):  # ENXIO: nothing but a hole is left
            while at < size:
                at = os.lseek(handle.fileno(), at, os.SEEK_DATA) // _BLOCK * _BLOCK
                end = os.lseek(handle.fileno(), at, os.SEEK_HOLE)
                handle.seek(at)
                while at < end and (count := handle.readinto(block)):
                    if block[:count] != zeros[:count]:
                        state.update(at.to_bytes(8, "little"))
                        state.update(memoryview(block)[:count])
                    at += count
    return state.hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file's content by one rename, so that no reader sees half of it."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        aside.write_text(text)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


class Workspace:
    """Paths, locks, cache entries and run folders below one state folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._trusted: set[Path] = set()
        try:
            for name in ("cache", "work", "runs", "locks", "tmp"):
                (root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HarnessError(
                f"the state folder {root} cannot be made: {error.strerror}",
                hint="name a folder of yours in NSAUDIT_STATE",
            ) from error

    @classmethod
    def default(cls) -> Workspace:
        """``$NSAUDIT_STATE``, or ``nsaudit`` below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
        if named := os.environ.get("NSAUDIT_STATE"):
            return cls(Path(named).absolute())
        cache = os.environ.get("XDG_CACHE_HOME")
        return cls((Path(cache) if cache else Path.home() / ".cache") / "nsaudit")

    # -- locks ---------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Holds a named lock. Its holder is waited for, and named in the log if not ourselves.

        It is flock(2) on a file that stays: the kernel drops it with its holder, however that
        ends, and there is no stale lock to clean up.
        """
        path = self.root / "locks" / name.replace("/", "_")
        with path.open("a+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.seek(0)
                holder = handle.read().strip()
                # Another thread of this process is no news to who started it.
                if holder != str(os.getpid()):
                    log.warning("waiting for %s: process %s has it", name, holder)
                fcntl.flock(handle, fcntl.LOCK_EX)
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            yield

    # -- the cache -----------------------------------------------------------

    def find(self, kind: str, key: str, *, recheck: bool = False) -> Path | None:
        """The folder of a finished entry, or None. A damaged one is reported and dropped.

        It is compared with its manifest once in a process, or every time with ``recheck``.
        """
        path = self.root / "cache" / kind / key
        if path in self._trusted and not recheck:
            return path
        if not path.is_dir():
            return None
        if damage := find_damage(path):
            log.warning("cache entry %s is damaged (%s): dropped, will be made again", path, damage)
            self._trusted.discard(path)
            shutil.rmtree(path, ignore_errors=True)
            return None
        self._trusted.add(path)
        return path

    def content_of(self, path: Path) -> str:
        """A name for a file's content; for one of the cache it is read from the manifest."""
        try:
            entry, name = self.place_of(path)
            facts = read_manifest(entry)[name]
            return str(facts.get("sha256") or facts["data"])
        except (OSError, ValueError, KeyError):
            return file_digest(path)

    def place_of(self, path: Path) -> tuple[Path, str]:
        """The entry that holds a file of the cache, and what the file is called in it.

        Raises ValueError for a file that lies elsewhere.
        """
        inside = path.relative_to(self.root / "cache").parts
        return self.root / "cache" / Path(*inside[:2]), str(Path(*inside[2:]))

    def make(
        self, kind: str, key: str, fill: Callable[[Path], None], *, recheck: bool = False
    ) -> Path:
        """The folder of an entry; where it is missing, ``fill`` writes it, under a lock.

        ``fill`` is given an empty folder. If it raises, nothing stays behind.
        """
        if found := self.find(kind, key, recheck=recheck):
            return found
        with self.lock(f"{kind}-{key}"):
            if found := self.find(kind, key, recheck=recheck):
                return found
            path = self.root / "cache" / kind / key
            with self.scratch() as folder:
                fill(folder)
                with self._explained():
                    _write_manifest(folder)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    folder.rename(path)
            self._trusted.add(path)
            return path

    def drop(self, kind: str, key: str) -> None:
        """Removes an entry, if it is there, so that it is made again."""
        path = self.root / "cache" / kind / key
        self._trusted.discard(path)
        shutil.rmtree(path, ignore_errors=True)

    def prune(self, kind: str, keep: int) -> None:
        """Removes all but the ``keep`` entries of a kind whose folders were touched last."""
        with contextlib.suppress(FileNotFoundError):
            entries = sorted(
                (self.root / "cache" / kind).iterdir(),
                key=lambda path: path.stat().st_mtime,
                reverse=True,
            )
            for path in entries[keep:]:
                self.drop(kind, path.name)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder, on the same file system as the cache, that is gone afterwards."""
        folder = self.root / "tmp" / f"{os.getpid()}-{secrets.token_hex(6)}"
        with self._explained():
            folder.mkdir()
        try:
            with self._explained():
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def work(self, *names: str) -> Path:
        """A folder below ``work/`` that outlives the process; its user holds a lock for it."""
        path = self.root / "work" / Path(*names)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def sweep(self) -> None:
        """Removes what killed processes left in ``tmp/``."""
        for folder in (self.root / "tmp").iterdir():
            owner = folder.name.partition("-")[0]
            if owner.isdigit() and not Path("/proc", owner).exists():
                shutil.rmtree(folder, ignore_errors=True)

    # -- runs ----------------------------------------------------------------

    def new_run(self) -> Path:
        """A new folder below ``runs/``, named by UTC time and a random word."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        folder = self.root / "runs" / f"{stamp}-{secrets.token_hex(3)}"
        with self._explained():
            folder.mkdir()
        return folder

    def prune_runs(self, keep: int, spare: Collection[Path] = ()) -> None:
        """Removes runs older than a day, but the newest ``keep`` and those in ``spare``."""
        runs = sorted((self.root / "runs").iterdir(), reverse=True)
        for folder in runs[keep:]:
            if folder not in spare and time.time() - folder.stat().st_mtime > 86400:
                shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns a full disk into one line with the next step."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise HarnessError(
                    f"no space left below {self.root}",
                    hint="free some, or name another folder in NSAUDIT_STATE",
                ) from error
            raise


def read_manifest(entry: Path) -> Mapping[str, Mapping[str, object]]:
    """The files of an entry: name to ``size`` (bytes) and ``sha256``, or ``data`` for a sparse one.

    Raises OSError or ValueError when it cannot be read.
    """
    files: Mapping[str, Mapping[str, object]] = json.loads((entry / MANIFEST).read_text())
    return files


def _write_manifest(folder: Path) -> None:
    began = time.time_ns()
    files: dict[str, dict[str, object]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            facts = path.stat()
            sparse = facts.st_blocks * 512 < facts.st_size // 2
            content = {"data": data_digest(path)} if sparse else {"sha256": file_digest(path)}
            files[str(path.relative_to(folder))] = {"size": facts.st_size, **content}
    (folder / MANIFEST).write_text(json.dumps(files, indent=1))
    _note_check(folder, list(files), began)


def find_damage(folder: Path) -> str:
    """What is wrong with a cache entry, or nothing.

    A file whose content was compared since this host was started, and whose inode nobody has
    touched since, is not read again: of a guest's memory that would cost as much as it saves.
    """
    began = time.time_ns()
    try:
        files = read_manifest(folder)
        checked, stamps = _last_check(folder), {}
        for name, facts in files.items():
            path = folder / name
            if path.stat().st_size != facts["size"]:
                return f"{name} has {path.stat().st_size} bytes instead of {facts['size']}"
            stamps[name] = _stamp(path)
            if checked.get(name) == stamps[name]:
                continue
            same = (
                file_digest(path) == facts["sha256"]
                if "sha256" in facts
                else data_digest(path) == facts["data"]
            )
            if not same:
                return f"{name} has another checksum than when it was made"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its manifest cannot be read: {error}"
    if checked != stamps:
        _note_check(folder, list(files), began)
    return ""


def _stamp(path: Path) -> list[int]:
    facts = path.stat()
    return [facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _note_check(folder: Path, names: Sequence[str], began: int) -> None:
    """Remembers which files were compared, ``began`` being when that was begun (ns).

    One that changed within a tick of it is left out: it could change again and look the same.
    After a crash of the host a file may have its size and times and not its content, so this
    holds for one boot.
    """
    stamps = {name: _stamp(folder / name) for name in names}
    old = {name: stamp for name, stamp in stamps.items() if max(stamp[2:]) < began - _TICK_NS}
    with contextlib.suppress(OSError):  # a cache that we may only read
        write_atomically(folder / _CHECKED, json.dumps({"boot": _boot_id(), "files": old}))


def _last_check(folder: Path) -> dict[str, list[int]]:
    try:
        noted = json.loads((folder / _CHECKED).read_text())
        return dict(noted["files"]) if noted["boot"] == _boot_id() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
