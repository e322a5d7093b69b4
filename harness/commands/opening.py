"""What commands open before they do anything: the lab, its screen, a launcher."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence

from rich.console import Console

from harness.guest import launcher
from harness.guest.launcher import Launcher
from harness.jobs import Lab
from harness.report.screen import Screen
from harness.workspace import Workspace


@contextlib.contextmanager
def open_lab(
    config: str = "default", by: Launcher = launcher.DEFAULT, *, cold: bool = False
) -> Iterator[tuple[Lab, Screen]]:
    """The lab of the default state folder, and the screen on which it shows its progress."""
    workspace = Workspace.default()
    workspace.sweep()
    with Screen(Console(stderr=True)) as screen:
        lab = Lab(
            workspace,
            config=config,
            by=by,
            cold=cold,
            progress=screen.build,
            on_step=screen.step,
        )
        yield lab, screen
        screen.quiet()


def require_launcher(text: str, more: Sequence[str] = ()) -> Launcher:
    """The launcher that was asked for, seen to be there before anything is built for it."""
    by = launcher.parse(text, more)
    by.require()
    return by


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """The option that chooses a launcher."""
    parser.add_argument(
        "--launcher",
        default="qemu",
        metavar="L",
        help="what starts guests: qemu (default), vng (virtme-ng), 'vng OPTION…' (its own options;"
        " after run they may also follow --)",
    )


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """The option that says how many guests run at a time; 0 leaves it to the host."""
    parser.add_argument(
        "-j", "--jobs", type=int, default=0, help="guests at a time (half as many again as cores)"
    )
