"""What a guest takes of the host, and what it has to wait for: of its launcher's own process."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from harness.guest.machine import Guest

_PROC = Path("/proc")


def peak_memory_kib(guest: Guest) -> int:
    """The most host memory that it had so far, in KiB (VmHWM)."""
    status = (_PROC / str(guest.pid) / "status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) if found else 0


def waited_s(guest: Guest) -> float:
    """Seconds that its threads were ready to run and the host's processors were not.

    Of all of them together, so far; 0 where the host does not count that (SCHED_INFO).
    """
    nanoseconds = 0
    for thread in (_PROC / str(guest.pid) / "task").iterdir():
        # Threads come and go.
        with contextlib.suppress(OSError):
            nanoseconds += int((thread / "schedstat").read_text().split()[1])
    return nanoseconds / 1e9
