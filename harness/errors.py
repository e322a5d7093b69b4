"""The one exception tree.

Every error carries what a person needs: what happened, what to do next, and where
the full log is. Only ``cli`` and ``plugin`` turn one into text and an exit status.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path


class HarnessError(Exception):
    """Something of ours went wrong: a host tool, a file, a guest that was lost.

    ``message`` is one line, ``hint`` the next command or step, ``log`` the file
    that holds the rest. ``exit_code`` follows sysexits(3): 69 is EX_UNAVAILABLE.
    """

    exit_code = 69

    def __init__(self, message: str, *, hint: str = "", log: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.log = log

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process borders (xdist); the default pickles only args.
        return (_rebuild, (type(self), self.message, self.hint, self.log))


def _rebuild(kind: type[HarnessError], message: str, hint: str, log: Path | None) -> HarnessError:
    error = kind.__new__(kind)
    HarnessError.__init__(error, message, hint=hint, log=log)
    return error


class UsageError(HarnessError):
    """The command line or a file of the project asks for something that does not exist."""

    exit_code = 2


class SourceError(HarnessError):
    """A kernel source could not be had, or is not what its checksum says."""


class SeriesError(HarnessError):
    """``stacks.toml``, ``bases.toml`` or a ``series.toml`` is malformed."""

    exit_code = 2


class ApplyError(HarnessError):
    """A patch does not apply, exactly and without fuzz."""

    exit_code = 3


class ConfigError(HarnessError):
    """Fragments contradict each other, or the kernel did not honour what was asked."""

    exit_code = 3


class BuildError(HarnessError):
    """The compiler or the linker refused."""

    exit_code = 3


class HostMissing(HarnessError):
    """A program that the host must have is not there."""


class CommandFailed(HarnessError):
    """A program on the host ended with a status that was not expected."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        log: Path | None = None,
        status: int = -1,
        output: str = "",
    ) -> None:
        super().__init__(message, hint=hint, log=log)
        self.status = status
        self.output = output


def is_out_of_room(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error, be it of ours or of a program on the host."""
    full = (errno.ENOSPC, errno.EDQUOT)
    while error:
        if isinstance(error, OSError) and error.errno in full:
            return True
        if isinstance(error, CommandFailed) and any(os.strerror(n) in error.output for n in full):
            return True
        error = error.__cause__ or error.__context__
    return False


class DeadlineExceeded(HarnessError):
    """Something did not end within its time; in a guest this is the outcome TIMEOUT."""


class BootStalled(DeadlineExceeded):
    """A guest stood still before the agent in it ran: no program of a scenario's ever did."""


class GuestLost(HarnessError):
    """QEMU ended or the command channel closed while the guest was still needed."""


class GuestCrashed(HarnessError):
    """The guest's kernel reported a crash on its console."""


class GuestToolMissing(HarnessError):
    """A program that a scenario needs is not in the image, or did not start."""


def explain(error: HarnessError) -> str:
    """An error as people read it: what happened, the next step, the log."""
    lines = [error.message]
    if error.hint:
        lines.append(f"  try:   {error.hint}")
    if error.log:
        lines.append(f"  log:   {error.log}")
    return "\n".join(lines)
