"""An interactive guest, by virtme-ng, whose own options come after --."""

from __future__ import annotations

import argparse

from harness.commands.opening import open_lab
from harness.guest import vng


def add_words(parser: argparse.ArgumentParser) -> None:
    """On which stack, and over which root."""
    parser.add_argument("stack")
    parser.add_argument("--host-root", action="store_true", help="over your own root, read-only")


def act(options: argparse.Namespace) -> int:
    """Hands the terminal to the guest."""
    with open_lab() as (lab, screen):
        screen.step(f"building {options.stack}")
        kernel = lab.kernel(options.stack, bzimage=True)
        image = None if options.host_root else lab.image
        host = lab.host_for(kernel)
    # The screen is left by now: its live line would wipe what the guest's shell prints.
    return vng.shell(kernel, image, host, options.rest)
