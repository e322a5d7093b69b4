"""The two ways to start a guest's QEMU: by a command line of our own, or by virtme-ng.

Both give the same four streams and the same first process, so that whoever uses a guest
cannot tell which it was.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from harness import proc
from harness.errors import DeadlineExceeded, GuestLost, UsageError
from harness.guest import qemu, vng
from harness.guest.qemu import Machine, Sockets


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A guest's process and our end of each of its streams; both end with its launcher."""

    child: subprocess.Popen[bytes]
    ends: Mapping[str, socket.socket]


class Launcher(Protocol):
    """What starts guests. ``str`` of one is a word that ``parse`` reads."""

    @property
    def title(self) -> str:
        """Who speaks in ``qemu.log``, for a message."""

    @property
    def bzimage(self) -> bool:
        """Whether kernels that are built for it are compressed images too."""

    @property
    def forks(self) -> bool:
        """Whether it starts guests whose memory is a file (``Machine.ram``)."""

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the launcher's own, from its user."""

    def require(self) -> None:
        """Raises HostMissing where the host cannot do this."""

    def start(
        self, machine: Machine, folder: Path, limit_s: float
    ) -> AbstractContextManager[Running]:
        """A guest that boots, for the length of the block.

        ``folder`` gets ``command.txt`` and ``qemu.log``. Raises GuestLost when it ends at
        once, DeadlineExceeded when QEMU does not come up within ``limit_s`` seconds.
        """


@dataclass(frozen=True, slots=True)
class OwnQemu:
    """QEMU as a child of ours, with our own command line."""

    title = "QEMU"
    bzimage = False
    forks = True
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "qemu"

    def require(self) -> None:
        """See ``Launcher``."""
        proc.require_tool(qemu.PROGRAM)

    @contextlib.contextmanager
    def start(self, machine: Machine, folder: Path, limit_s: float) -> Iterator[Running]:
        """See ``Launcher``."""
        with ExitStack() as stack:
            ends: dict[str, socket.socket] = {}
            theirs: dict[str, socket.socket] = {}
            for name in qemu.streams(machine):
                ends[name], theirs[name] = socket.socketpair()
                stack.callback(ends[name].close)
                stack.callback(theirs[name].close)
            numbers = {name: end.fileno() for name, end in theirs.items()}
            sockets = Sockets(**{name: f"fd={number}" for name, number in numbers.items()})
            argv = qemu.command(machine, sockets)
            complaints = stack.enter_context(_open_log(folder, argv))
            child = stack.enter_context(
                proc.start(
                    argv,
                    stdout=complaints,
                    stderr=subprocess.STDOUT,
                    pass_fds=list(numbers.values()),
                )
            )
            for end in theirs.values():
                end.close()
            yield Running(child=child, ends=ends)


@dataclass(frozen=True, slots=True)
class Vng:
    """virtme-ng, which starts QEMU, with options that its user added.

    It hands on no descriptors, so QEMU connects to sockets in a folder that nobody else may
    enter. The folder is also the home of virtme-ng: what a user keeps in theirs would change
    the guest behind our back.
    """

    title = "virtme-ng"
    bzimage = True
    forks = False
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return shlex.join(["vng", *self.options])

    def require(self) -> None:
        """See ``Launcher``."""
        vng.require()

    @contextlib.contextmanager
    def start(self, machine: Machine, folder: Path, limit_s: float) -> Iterator[Running]:
        """See ``Launcher``."""
        program = vng.require()
        with ExitStack() as stack:
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="vng-", dir=folder))
            names = qemu.streams(machine)
            waiting = {name: stack.enter_context(_listen(Path(home), name)) for name in names}
            # Relative to the child's folder: a socket's path holds 107 bytes and no more.
            sockets = Sockets(**{name: f"path={name}" for name in names})
            argv = vng.guest_command(program, machine, sockets, self.options)
            complaints = stack.enter_context(_open_log(folder, argv))
            child = stack.enter_context(
                proc.start(
                    argv,
                    cwd=Path(home),
                    env={**vng.environment(program), "HOME": home, "TMPDIR": home},
                    stdout=complaints,
                    stderr=subprocess.STDOUT,
                    leash=True,
                )
            )
            ends: dict[str, socket.socket] = {}
            _accept(waiting, child, ends, stack, time.monotonic() + limit_s)
            yield Running(child=child, ends=ends)


_LAUNCHERS: Mapping[str, Callable[[tuple[str, ...]], Launcher]] = {"qemu": OwnQemu, "vng": Vng}
DEFAULT: Launcher = OwnQemu()


def parse(text: str, more: Sequence[str] = ()) -> Launcher:
    """The launcher that ``qemu``, ``vng`` or ``vng OPTION…`` names; ``more`` are options too.

    Raises UsageError for any other text.
    """
    try:
        name, *options = [*shlex.split(text), *more]
    except ValueError:
        name, options = text, []
    if name not in _LAUNCHERS:
        raise UsageError(f"there is no launcher {name!r}", hint="--launcher qemu|vng|'vng OPTION…'")
    if options and name == "qemu":
        raise UsageError(
            f"the launcher qemu takes no options, but there is {options[0]!r}",
            hint="virtme-ng takes its own: --launcher 'vng OPTION…'",
        )
    if "--gdb" in options:
        raise UsageError(
            "vng --gdb starts no guest, it looks into one that runs with --debug",
            hint="--launcher 'vng --debug', and in another terminal: nsaudit shell STACK -- --gdb",
        )
    return _LAUNCHERS[name](tuple(options))


@contextlib.contextmanager
def _open_log(folder: Path, argv: Sequence[str]) -> Iterator[IO[bytes]]:
    """``qemu.log``, and beside it the command whose words it holds."""
    (folder / "command.txt").write_text(proc.pasteable(argv) + "\n")
    # virtme-ng's QEMU opens it a second time: both must write at its end.
    (folder / "qemu.log").unlink(missing_ok=True)
    with (folder / "qemu.log").open("ab") as log:
        yield log


@contextlib.contextmanager
def _listen(folder: Path, name: str) -> Iterator[socket.socket]:
    number = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            # The folder's own path may be longer than a socket's can be.
            listener.bind(f"/proc/self/fd/{number}/{name}")
            listener.listen(1)
            yield listener
    finally:
        os.close(number)


def _accept(
    waiting: Mapping[str, socket.socket],
    child: subprocess.Popen[bytes],
    ends: dict[str, socket.socket],
    stack: ExitStack,
    until: float,
) -> None:
    """Fills ``ends`` as QEMU connects; the child's end ends the wait."""
    life = os.pidfd_open(child.pid)
    stack.callback(os.close, life)
    with selectors.DefaultSelector() as selector:
        selector.register(life, selectors.EVENT_READ, data="")
        for name, listener in waiting.items():
            selector.register(listener, selectors.EVENT_READ, data=name)
        while len(ends) < len(waiting):
            ready = selector.select(max(0.0, until - time.monotonic()))
            if not ready:
                raise DeadlineExceeded("virtme-ng started no QEMU in time")
            for name in (key.data for key, _ in ready):
                if not name:
                    raise GuestLost(f"virtme-ng ended at once, with status {child.wait()}")
                ends[name], _ = waiting[name].accept()
                stack.callback(ends[name].close)
                selector.unregister(waiting[name])
