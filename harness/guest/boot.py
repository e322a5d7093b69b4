"""How a guest begins: QEMU starts, its kernel boots, and the agent in it says that it is there."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from harness.errors import BootStalled, DeadlineExceeded, GuestLost
from harness.guest import launcher, qemu
from harness.guest.launcher import Launcher
from harness.guest.machine import Guest

log = logging.getLogger(__name__)

# The time of the probe's boot to which limits are scaled, and how long a boot may take there.
BOOT_REFERENCE_S = 1.0
BOOT_LIMIT_S = 20.0


@contextlib.contextmanager
def start_guest(
    machine: qemu.Machine,
    folder: Path,
    *,
    by: Launcher = launcher.DEFAULT,
    scale: float = 1.0,
    await_hello: bool = True,
    said: str = "",
) -> Iterator[Guest]:
    """Boots a guest and owns it: QEMU is gone when the block is left, however that happens.

    ``folder`` gets ``console.log``, ``qemu.log`` and ``command.txt``. ``scale`` stretches
    every limit: the host's boot time over ``BOOT_REFERENCE_S``. ``said`` is what the kernel
    printed before, where the guest goes on from a saved one.

    Of a great many boots under emulation, one stands still before its first program, for no
    fault of the kernel's that anybody found. So what stands still boots once more, and says
    so: a warning, ``boot`` is ``second cold``, and the first boot's files stay in ``stalled``.
    """
    with contextlib.ExitStack() as stack:

        def boot() -> Guest:
            folder.mkdir(parents=True, exist_ok=True)
            one = _boot(machine, folder, by=by, scale=scale, await_hello=await_hello, said=said)
            return stack.enter_context(one)

        try:
            guest = boot()
        except BootStalled as error:
            # The memory of one that is to be saved is no longer fresh.
            if machine.ram:
                raise
            log.warning("%s\nIt boots once more: %s", error, folder)
            _put_aside(folder)
            guest = boot()
            guest.boot = "second cold"
        yield guest


@contextlib.contextmanager
def _boot(
    machine: qemu.Machine,
    folder: Path,
    *,
    by: Launcher,
    scale: float,
    await_hello: bool,
    said: str,
) -> Iterator[Guest]:
    with contextlib.ExitStack() as stack:
        began = time.monotonic()
        try:
            running = stack.enter_context(by.start(machine, folder, BOOT_LIMIT_S * scale))
            guest = Guest(machine, folder, running, scale, said)
            stack.callback(guest.close)
            guest.open_qmp()
            if await_hello:
                _await_hello(guest, began)
        except GuestLost as error:
            add_last_words(error, folder, by)
            raise
        yield guest


def _await_hello(guest: Guest, began: float) -> None:
    try:
        guest.await_hello(began, BOOT_LIMIT_S)
    except DeadlineExceeded as error:
        where = guest.note_processors()
        raise BootStalled(f"{error.message}\nits processors: {where}") from None


def _put_aside(folder: Path) -> None:
    (folder / "stalled").mkdir()
    for name in ("console.log", "processors.txt", "qemu.log"):
        if (folder / name).exists():
            (folder / name).rename(folder / "stalled" / name)


def add_last_words(error: GuestLost, folder: Path, by: Launcher) -> None:
    """Has an error tell what the launcher of a guest said before it ended."""
    said = (folder / "qemu.log").read_text(errors="replace").strip()
    if said:
        error.message += f"\n{by.title}: {said.splitlines()[-1]}"
