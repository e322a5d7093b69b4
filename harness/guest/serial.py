"""The guest's login console, driven as a person would: pexpect on a virtio console.

It is not the kernel's console, so no message of the kernel gets between a prompt and its
answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
from pexpect.socket_pexpect import SocketSpawn

from harness.errors import DeadlineExceeded
from harness.guest.machine import Guest

DEVICE = "/dev/hvc0"
ANSWER_LIMIT_S = 20.0


# The type's parameter exists in its stubs only.
if TYPE_CHECKING:
    _Spawn = SocketSpawn[bytes]
else:
    _Spawn = SocketSpawn


class _Recorded(_Spawn):
    """pexpect's socket does not keep its log; this one does."""

    def read_nonblocking(self, size: int = 1, timeout: float | None = -1) -> bytes:
        chunk: bytes = super().read_nonblocking(size, timeout)
        if self.logfile_read is not None:
            self.logfile_read.write(chunk)
        return chunk


class Console:
    """What stands on the console; every wait has a limit, scaled by the guest."""

    def __init__(self, guest: Guest, spawn: _Recorded) -> None:
        self._spawn = spawn
        self._limit_s = ANSWER_LIMIT_S * guest.scale

    def send(self, line: str) -> None:
        """Types a line and the return key."""
        self._spawn.send(line.encode() + b"\r")

    def expect(self, patterns: Sequence[str]) -> int:
        """The index of the regular expression that comes first on the console."""
        try:
            return int(self._spawn.expect([one.encode() for one in patterns], self._limit_s))
        except pexpect.TIMEOUT:
            seen = (self._spawn.before or b"").decode(errors="replace").strip()
            raise DeadlineExceeded(
                f"the console shows none of {list(patterns)}, but {seen[-200:]!r}"
            ) from None


@contextlib.contextmanager
def open_console(guest: Guest, transcript: Path) -> Iterator[Console]:
    """The console of a guest; all that it shows is written to ``transcript``."""
    with transcript.open("wb") as log:
        spawn = _Recorded(guest.serial)
        spawn.logfile_read = log
        yield Console(guest, spawn)
