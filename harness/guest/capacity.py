"""How many guests this host runs at a time."""

from __future__ import annotations

from pathlib import Path

from harness.guest import qemu

# Beside its guest's memory QEMU has its own, and with emulation the code that it has translated.
_OWN_MIB = 256
_MEMINFO = Path("/proc/meminfo")


def count_guests(cores: int, wanted: int, *, available_mib: int | None = None) -> int:
    """How many guests to run at a time where ``wanted`` have something to do; at least one.

    Half as many again as there are cores: a guest waits for a good part of its time, for the
    delay after a password that was wrong, for a daemon, and for whoever asks it. But no more
    than what is left of the host's memory holds (``MemAvailable``, proc(5)), each as full as it
    can get: beyond that the host would swap, or kill one.
    """
    if available_mib is None:
        available_mib = read_available_mib(_MEMINFO.read_text())
    held = available_mib // (qemu.MEMORY_MIB + _OWN_MIB)
    return max(1, min(cores + (cores + 1) // 2, held, wanted))


def read_available_mib(meminfo: str) -> int:
    """What programs can still have without swapping, in MiB, from the text of /proc/meminfo."""
    for line in meminfo.splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) // 1024
    raise ValueError("/proc/meminfo has no MemAvailable")
