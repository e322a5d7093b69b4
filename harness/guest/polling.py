"""Waits for what a guest does not tell by itself: somebody has to look again and again.

What its streams bring is waited for by ``Guest.wait_until``, without polling.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from harness.errors import DeadlineExceeded

Seen = TypeVar("Seen")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.5


def poll(
    look: Callable[[], Seen], until: Callable[[Seen], bool], *, limit_s: float, what: str
) -> Seen:
    """What ``look`` sees when it is as wanted for the first time.

    Each look comes a little later after the one before. Raises DeadlineExceeded after
    ``limit_s``, which is the caller's to scale (``Guest.scale``).
    """
    end = time.monotonic() + limit_s
    pause = _FIRST_PAUSE_S
    while not until(seen := look()):
        if time.monotonic() > end:
            raise DeadlineExceeded(f"{what}: not within {limit_s:.0f} s")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)
    return seen
