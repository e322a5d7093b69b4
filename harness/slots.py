"""How many guests may run at a time, counted over several processes.

A slot is a file in a folder that the processes share, and is taken by flock(2): the kernel
gives it back with its holder, however that ends. Who waits for slots holds the turnstile, so
that one who needs many is not passed by those who need few.
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_POLL_S = 0.05


@contextlib.contextmanager
def take(folder: Path, number: int, wanted: int) -> Iterator[int]:
    """Waits for ``wanted`` of ``number`` slots and holds them for the length of the block.

    Who wants more than there are gets all of them. The value is how many it got.
    """
    wanted = min(wanted, number)
    folder.mkdir(exist_ok=True)
    with contextlib.ExitStack() as held:
        with (folder / "turnstile").open("a") as turnstile:
            fcntl.flock(turnstile, fcntl.LOCK_EX)
            mine: set[int] = set()
            while len(mine) < wanted:
                for slot in range(number):
                    if slot not in mine and len(mine) < wanted:
                        handle = (folder / f"slot-{slot}").open("a")
                        if _try_lock(handle):
                            held.enter_context(handle)
                            mine.add(slot)
                        else:
                            handle.close()
                if len(mine) < wanted:
                    # Nothing tells when one of several locks is free.
                    time.sleep(_POLL_S)
        yield len(mine)


def _try_lock(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
