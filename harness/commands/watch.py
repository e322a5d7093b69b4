"""Ask the scenarios again whenever a file of your tree is saved.

What is built and asked is what ``nsaudit run --tree`` does, each time in a process of its own,
so that a scenario that was edited meanwhile is read again; kernels that show the symptom are asked
once. Saves that come while it runs are one more round.
"""

from __future__ import annotations

import argparse
import queue
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from watchdog.events import (
    DirMovedEvent,
    FileClosedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from harness import proc
from harness.errors import HarnessError, UsageError
from harness.jobs import SCENARIOS

# An editor or git writes several files for one save: the last of them counts.
_QUIET_S = 0.3
_SAVES = (FileClosedEvent, FileMovedEvent, FileDeletedEvent, DirMovedEvent)


def add_words(parser: argparse.ArgumentParser) -> None:
    """Which tree is looked at, and what is asked of it."""
    parser.add_argument("scenario", nargs="*", help="all, when none is named")
    parser.add_argument("--tree", type=Path, metavar="DIR", required=True, help="your own tree")
    parser.add_argument("--base", help="the base that it is nearest to (6.12)")
    parser.add_argument("--config", default="default", help="configuration of the kernel")
    parser.add_argument("--cold", action="store_true", help="boot every guest, fork none")


def act(options: argparse.Namespace) -> int:
    """Goes on until it is interrupted."""
    tree = options.tree.absolute()
    if not tree.is_dir():
        raise UsageError(f"there is no folder {options.tree}")
    for changed in rounds([tree, SCENARIOS]):
        sys.stderr.write(f"\n{changed}\n" if changed else "")
        ask(options)
    return 0


def ask(options: argparse.Namespace) -> int:
    """One round on this terminal; its status is shown and ends nothing."""
    with proc.start(command(options), stdout=None, stderr=None) as child:
        return child.wait()


def command(options: argparse.Namespace) -> Sequence[str | Path]:
    """The ``nsaudit run`` of a round."""
    words: list[str | Path] = [sys.executable, "-m", "harness", "run", *options.scenario]
    words += ["--tree", options.tree.absolute(), "--config", options.config]
    words += ["--base", options.base] if options.base else []
    return [*words, "--cold"] if options.cold else words


class _Handler(FileSystemEventHandler):
    """Passes on what matters of one folder, by its name there."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self._folder = folder
        self._tell = tell

    def on_any_event(self, event: FileSystemEvent) -> None:
        """A save is a file that was written and closed, or took another's place."""
        if isinstance(event, _SAVES):
            for path in filter(None, map(str, (event.src_path, event.dest_path))):
                name = Path(path).relative_to(self._folder)
                if matters(name):
                    self._tell(str(name))


def rounds(folders: Sequence[Path]) -> Iterator[str]:
    """An empty text at once, and then what changed, each time that something was saved.

    Raises HarnessError where the host does not watch so many folders.
    """
    saved: queue.SimpleQueue[str] = queue.SimpleQueue()

    observer = Observer()
    try:
        for folder in folders:
            observer.schedule(_Handler(folder, saved.put), str(folder), recursive=True)
        observer.start()
    except OSError as error:
        raise HarnessError(
            f"{folders[0]} cannot be watched: {error.strerror}",
            hint="sysctl fs.inotify.max_user_watches=524288",
        ) from error
    try:
        yield ""
        while True:
            names = [saved.get()]
            while True:
                try:
                    names.append(saved.get(timeout=_QUIET_S))
                except queue.Empty:
                    break
            yield ", ".join(dict.fromkeys(names))
    finally:
        observer.stop()
        observer.join()


def matters(name: Path) -> bool:
    """Whether a file can change a kernel or a scenario: git's own and editors' copies cannot.

    ``name`` is relative to the folder that is watched. (vim tries whether it may write by a
    file that is called by a number.)
    """
    if name.name.endswith(("~", ".swp", ".swx", ".pyc", ".tmp")) or name.name.isdigit():
        return False
    return not any(part.startswith(".") or part == "__pycache__" for part in name.parts)
