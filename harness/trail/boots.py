"""Tells the boots of a host apart, and clocks that jump.

A kernel numbers its events from 1 on (``audit_serial`` in ``kernel/audit.c``), so a number that
is much smaller than the one before it is of another boot. The records of one boot may come
late and out of order: the time of a system call is that of its begin, and what came late has
been followed by larger numbers. auditd gives its own records numbers that say nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.trail.lines import Bools, Ints

# A number must fall to less than half, which takes records that come late out.
_FALL = 2
_JUMP_MS = 60_000
# Few hosts are up and log nothing for so long.
_GAP_MS = 90 * 86_400_000
# Small numbers that come in between, and are not late, are those of another kernel.
_MANY = 3
# No machine boots twice in this time.
_TOO_SOON_MS = 3_000


@dataclass(slots=True)
class Boot:
    """One boot of one host, as far as its records go. Times are ms since 1970, UTC.

    ``jumps`` counts how often the clock was set back. ``gap_ms`` is the longest time, if it is
    very long, of which there is nothing, and ``gap_ends_ms`` its end: whether the clock was set
    ahead then, nothing tells.
    """

    number: int
    host: str
    order: int
    stream: int
    place: str
    first_ms: int
    last_ms: int
    serial: int = 0
    last_serial_ms: int = 0
    jumps: int = 0
    gap_ms: int = 0
    gap_ends_ms: int = 0
    strays: int = 0
    collides: bool = False


class Boots:
    """Numbers boots; blocks have to come in the order of their stream."""

    def __init__(self) -> None:
        self.all: list[Boot] = []
        self._current: dict[tuple[int, str], Boot] = {}
        self._orders: dict[str, int] = {}

    def assign(
        self, stream: int, host: str, place: str, serial: Ints, time_ms: Ints, daemon: Bools
    ) -> Ints:
        """The boot of each of the records of one host, in their order."""
        boot = self._current.get((stream, host))
        if boot and not daemon.any() and _goes_on(boot, serial, time_ms):
            return np.full(len(serial), boot.number, dtype=np.int64)
        boots = np.zeros(len(serial), dtype=np.int64)
        rows = np.flatnonzero(~daemon)
        falls, strays = _falls(serial[rows], time_ms[rows], boot)
        begins = [int(rows[at]) for at in falls]
        # auditd announces itself before it hands on what the new kernel had for it.
        begins = [_with_daemon(at, daemon) for at in begins]
        edges = [0, *begins, len(serial)]
        for first, after in pairwise(edges):
            if boot is None or first in begins:
                boot = self._begin(stream, host, place, int(time_ms[min(first, len(serial) - 1)]))
            if first < after:
                part = slice(first, after)
                boots[part] = boot.number
                self._extend(boot, serial[part], time_ms[part], daemon[part])
        if boot:
            boot.strays += strays
            boot.collides = boot.collides or boot.strays >= _MANY
        return boots

    def _begin(self, stream: int, host: str, place: str, time_ms: int) -> Boot:
        order = self._orders[host] = self._orders.get(host, 0) + 1
        boot = Boot(len(self.all), host, order, stream, place, time_ms, time_ms)
        before = self._current.get((stream, host))
        if before and abs(time_ms - before.first_ms) < _TOO_SOON_MS:
            boot.collides = True
        self.all.append(boot)
        self._current[stream, host] = boot
        return boot

    @staticmethod
    def _extend(boot: Boot, serial: Ints, time_ms: Ints, daemon: Bools) -> None:
        # What began early and comes late is no end of a gap, and begins none.
        latest = np.maximum.accumulate(np.concatenate([[boot.last_ms], time_ms]))[:-1]
        longest = int(np.argmax(time_ms - latest))
        gap_ms = int(time_ms[longest] - latest[longest])
        if gap_ms > max(boot.gap_ms, _GAP_MS):
            boot.gap_ms, boot.gap_ends_ms = gap_ms, int(time_ms[longest])
        boot.first_ms = min(boot.first_ms, int(time_ms.min()))
        boot.last_ms = max(boot.last_ms, int(time_ms.max()))
        kernel = np.flatnonzero(~daemon)
        if not len(kernel):
            return
        times = time_ms[kernel]
        if boot.last_serial_ms:
            times = np.concatenate([[boot.last_serial_ms], times])
        boot.serial = int(serial[kernel][-1])
        boot.last_serial_ms = int(times[-1])
        back = np.maximum.accumulate(times)[:-1] - times[1:] > _JUMP_MS
        if not back.any():
            return
        # Two in a row have to be earlier: the time of one system call may be that of its begin.
        earlier = np.minimum.accumulate(times[::-1])[::-1]
        settled = np.flatnonzero(back & (times[1:] == earlier[1:]))
        runs = np.flatnonzero(np.diff(settled, prepend=-2) > 1)
        lengths = np.diff(np.append(runs, len(settled)))
        boot.jumps += int(np.count_nonzero(lengths > 1))


def _goes_on(boot: Boot, serial: Ints, time_ms: Ints) -> bool:
    """Adds a kernel's records to its boot if nothing about them is odd, as in nearly all blocks.

    That takes a tenth of the time of a closer look, which would find the same.
    """
    if serial[0] * _FALL < boot.serial or (serial[1:] * _FALL < serial[:-1]).any():
        return False
    latest = np.maximum.accumulate(time_ms)
    first_ms, last_ms = int(time_ms.min()), int(latest[-1])
    back_ms = max(boot.last_serial_ms - first_ms, int((latest - time_ms).max()))
    ahead_ms = max(int(time_ms[0]) - boot.last_ms, int(np.diff(latest).max(initial=0)))
    if back_ms > _JUMP_MS or ahead_ms > _GAP_MS:
        return False
    boot.first_ms, boot.last_ms = min(boot.first_ms, first_ms), max(boot.last_ms, last_ms)
    boot.serial, boot.last_serial_ms = int(serial[-1]), int(time_ms[-1])
    return True


def _falls(serial: Ints, time_ms: Ints, boot: Boot | None) -> tuple[Ints, int]:
    """Where another kernel begins to count: the event there and the next one are far below.

    Besides, how many numbers are far below though the next one is not, and though they are
    not late.
    """
    if not len(serial):
        return np.zeros(0, dtype=np.int64), 0
    # The records of one event mostly stand together, and count once.
    first = np.concatenate([[0], np.flatnonzero(np.diff(serial)) + 1])
    numbers, times = serial[first], time_ms[first]
    before = np.concatenate([[boot.serial if boot else 0], numbers[:-1]])
    time_before = np.concatenate([[boot.last_serial_ms if boot else 0], times[:-1]])
    # After the last one nothing is known: it had better be later.
    stays = np.append(numbers[1:] * _FALL < before[:-1], times[-1] > time_before[-1])
    low = numbers * _FALL < before
    if low.any():
        low &= ~_seen_before(numbers, times)
    return first[low & stays], int(np.count_nonzero(low & ~stays & (times >= time_before)))


def _seen_before(numbers: Ints, times: Ints) -> Bools:
    """Whether the event is one of those before it: the records of several come by turns."""
    order = np.lexsort((numbers, times))
    alike = (np.diff(numbers[order]) == 0) & (np.diff(times[order]) == 0)
    seen = np.zeros(len(order), dtype=np.bool_)
    seen[order[1:][alike]] = True
    return seen


def _with_daemon(at: int, daemon: Bools) -> int:
    while at and daemon[at - 1]:
        at -= 1
    return at
