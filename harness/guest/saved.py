"""Saved guests: booted once up to a first command's end, and forked from there.

A saved guest is an entry of the cache: ``ram`` (a sparse file as large as its memory),
``state`` (what QEMU's migration stream says of processors and devices) and ``console.log``.
QEMU maps ``ram`` privately in every fork, so that a fork costs the pages that it touches and
none sees what another does. The memory is left out of the stream (QEMU's capability
``x-ignore-shared``, docs/devel/migration in its source).

What a fork has of its own: the wall clock and the kernel's random key (the agent takes both
before anything else runs), its ports, sockets and folders. Host keys and the machine id are
made in the guest by whoever needs them, after that. Audit's serial numbers go on from the
saved guest's, as do process ids: they are counted in one guest, and none is shown to another.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.errors import GuestCrashed, GuestLost, HarnessError
from harness.guest import channel, launcher, qemu
from harness.guest.boot import BOOT_LIMIT_S, add_last_words, start_guest
from harness.guest.launcher import Launcher
from harness.guest.machine import Guest
from harness.guest.qemu import Machine, Ram
from harness.workspace import Workspace, digest

log = logging.getLogger(__name__)

KIND = "guest"
RAM, STATE, CONSOLE = "ram", "state", "console.log"
# Goes up when the same words make another state.
_RECIPE = 1
_MIGRATION_LIMIT_S = 10.0
# Each holds some 100 MiB on the disk.
_KEPT = 40
# A clock that KVM keeps goes on in other ways; nobody has seen that work with these guests.
_ACCELERATORS = frozenset({"tcg"})
# What nearly every command needs is in the page cache then: the loader, the C library, a shell.
_READY = ("sh", "-c", "echo ready | cat")
_CAPABILITIES = ("x-ignore-shared", "events")


def key_of(machine: Machine, qemu_version: str, content_of: Callable[[Path], str]) -> str:
    """What a saved guest depends on: QEMU, its whole command line, and every file in it.

    ``content_of`` names the content of a file.
    """

    def named(path: Path) -> Path:
        return Path(content_of(path))

    words = qemu.command(
        dataclasses.replace(
            machine,
            kernel=named(machine.kernel),
            initrd=named(machine.initrd),
            root=named(machine.root) if machine.root else None,
            layers={name: named(path) for name, path in machine.layers.items()},
            ram=Ram(file=Path(RAM), private=False),
        ),
        qemu.Sockets(channel="", console="", serial="", qmp=""),
    )
    return digest(str(_RECIPE), qemu_version, *words)


def find_obstacle(machine: Machine, by: Launcher) -> str:
    """Why guests of this kind are not forked, or nothing."""
    if not by.forks:
        return f"{by.title} starts no saved guests"
    if machine.icount:
        return "a guest that counts its instructions counts them from its boot"
    if machine.accelerator not in _ACCELERATORS:
        return f"guests are not forked with {machine.accelerator}"
    return ""


def save(machine: Machine, folder: Path, *, by: Launcher = launcher.DEFAULT, scale: float) -> None:
    """Boots a guest and fills ``folder`` with its state; raises as a boot does."""
    shared = dataclasses.replace(machine, ram=Ram(file=folder / RAM, private=False))
    with start_guest(shared, folder, by=by, scale=scale) as guest:
        guest.run(_READY).require()
        guest.pause()
        _migrate(guest, folder / STATE, "migrate", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    for name in ("qemu.log", "command.txt"):
        (folder / name).unlink()


@contextlib.contextmanager
def fork(
    machine: Machine,
    saved: Path,
    folder: Path,
    *,
    by: Launcher = launcher.DEFAULT,
    scale: float = 1.0,
) -> Iterator[Guest]:
    """A guest that goes on where the saved one was; otherwise as ``start_guest``."""
    private = dataclasses.replace(machine, ram=Ram(file=saved / RAM, private=True))
    said = (saved / CONSOLE).read_text(errors="replace")
    began = time.monotonic()
    with start_guest(private, folder, by=by, scale=scale, await_hello=False, said=said) as guest:
        try:
            _migrate(guest, saved / STATE, "migrate-incoming", os.O_RDONLY)
            guest.resume()
            guest.transmit(channel.fork_frame(time.time_ns(), os.urandom(64)))
            guest.await_hello(began, BOOT_LIMIT_S)
        except GuestLost as error:
            add_last_words(error, folder, by)
            raise
        guest.boot = "warm"
        yield guest


def _migrate(guest: Guest, file: Path, command: str, flags: int) -> None:
    """Writes or reads a device state. QEMU gets the open file: it may not open or start any."""
    states = [{"capability": name, "state": True} for name in _CAPABILITIES]
    guest.ask_qmp("migrate-set-capabilities", {"capabilities": states})
    number = os.open(file, flags | os.O_CLOEXEC, 0o644)
    try:
        guest.ask_qmp("getfd", {"fdname": "state"}, fd=number)
    finally:
        os.close(number)
    guest.ask_qmp(command, {"uri": "fd:state"})
    ended = ("completed", "failed")
    guest.wait_until(lambda: guest.monitor.migration in ended, _MIGRATION_LIMIT_S, "the state")
    if guest.monitor.migration == "failed":
        raise HarnessError(f"QEMU says that {command} failed")


class SavedGuests:
    """The saved guests of one state folder, made when they are asked for.

    Where one cannot be used, ``refused`` says why, and from then on none is tried.
    """

    def __init__(
        self, workspace: Workspace, *, by: Launcher, qemu_version: str, scale: float
    ) -> None:
        self.refused = ""
        self._workspace = workspace
        self._by = by
        self._qemu_version = qemu_version
        self._scale = scale

    def require(self, machine: Machine) -> Path:
        """The folder of the saved guest, compared with what it was when it was made."""
        key = key_of(machine, self._qemu_version, self._workspace.content_of)

        def fill(folder: Path) -> None:
            save(machine, folder, by=self._by, scale=self._scale)

        known = self._workspace.find(KIND, key, recheck=True)
        if known is None:
            known = self._workspace.make(KIND, key, fill)
            self._workspace.prune(KIND, _KEPT)
        with contextlib.suppress(FileNotFoundError):  # somebody else may have pruned it
            os.utime(known)
        return known

    def try_fork(self, machine: Machine, folder: Path, stack: contextlib.ExitStack) -> Guest | None:
        """A fork that ``stack`` owns, or None where the guest has to boot.

        A kernel that crashes is no reason to give up: the boot that follows tells the same. A
        saved guest that cannot be used is dropped.
        """
        if self.refused or find_obstacle(machine, self._by):
            return None
        try:
            saved = self.require(machine)
        except GuestCrashed as error:
            log.info("no guest was saved: %s", error.message)
            return None
        except HarnessError as error:
            self._refuse(f"a guest could not be saved: {error.message}")
            return None
        try:
            return stack.enter_context(fork(machine, saved, folder, by=self._by, scale=self._scale))
        except FileNotFoundError as error:
            # Another process found it damaged, or old, and took it away under our hands.
            log.warning("the saved guest has gone: %s", error.filename)
            return None
        except HarnessError as error:
            self._workspace.drop(KIND, saved.name)
            self._refuse(f"a saved guest could not be used: {error.message}")
            with contextlib.suppress(FileNotFoundError):  # QEMU may not even have started
                (folder / CONSOLE).replace(folder / "console-fork.log")
            return None

    def _refuse(self, why: str) -> None:
        self.refused = why.replace("\n", "; ")
        log.warning("guests boot cold: %s", self.refused)
