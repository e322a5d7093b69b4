"""Slots: counted over processes, given back by the dead, and no overtaking."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from harness import slots

_CONTEXT = multiprocessing.get_context("fork")
_LIMIT_S = 10.0


def _hold(folder: Path, number: int, wanted: int, told: Connection) -> None:
    with slots.take(folder, number, wanted) as mine:
        told.send(mine)
        told.recv()
    told.send(0)
    told.recv()


def holder(folder: Path, number: int, wanted: int) -> tuple[int, Connection]:
    ours, theirs = _CONTEXT.Pipe()
    child = _CONTEXT.Process(target=_hold, args=(folder, number, wanted, theirs), daemon=True)
    child.start()
    assert child.pid
    return child.pid, ours


def waits_at(folder: Path) -> Callable[[int], None]:
    """Waits until a process has the turnstile's file open, which is what it does first."""

    def wait(pid: int) -> None:
        end = time.monotonic() + _LIMIT_S
        while time.monotonic() < end:
            for link in Path(f"/proc/{pid}/fd").iterdir():
                # A file may be closed between two looks.
                with contextlib.suppress(FileNotFoundError):
                    if link.readlink() == folder / "turnstile":
                        return
        raise AssertionError(f"process {pid} does not come to the turnstile")

    return wait


def test_one_who_wants_more_than_there_are_gets_all(tmp_path: Path) -> None:
    with slots.take(tmp_path / "s", 2, 3) as mine:
        assert mine == 2


def test_the_next_one_waits_until_as_many_are_free_as_it_wants(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    _, first = holder(folder, 3, 2)
    assert first.recv() == 2
    pid, second = holder(folder, 3, 2)
    waits_at(folder)(pid)
    assert not second.poll(0.2)
    first.send("go")
    assert first.recv() == 0
    assert second.poll(_LIMIT_S)
    assert second.recv() == 2


def test_a_small_one_does_not_pass_a_large_one_that_waits(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    _, first = holder(folder, 2, 1)
    assert first.recv() == 1
    pid, large = holder(folder, 2, 2)
    waits_at(folder)(pid)
    pid, small = holder(folder, 2, 1)
    waits_at(folder)(pid)
    assert not small.poll(0.2)
    first.send("go")
    assert first.recv() == 0
    assert large.poll(_LIMIT_S)
    assert large.recv() == 2
    assert not small.poll(0.2)
    large.send("go")
    assert large.recv() == 0
    assert small.poll(_LIMIT_S)


def test_the_dead_hold_none(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    pid, told = holder(folder, 2, 2)
    assert told.recv() == 2
    os.kill(pid, signal.SIGKILL)
    with slots.take(folder, 2, 2) as mine:
        assert mine == 2
