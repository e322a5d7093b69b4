"""Build stacks."""

from __future__ import annotations

import argparse

from rich.console import Console

from harness.commands import output
from harness.commands.opening import open_lab
from harness.report import terminal


def add_words(parser: argparse.ArgumentParser) -> None:
    """Which stacks, and in which form."""
    parser.add_argument("stack", nargs="+")
    parser.add_argument("--config", default="default")
    parser.add_argument("--bzimage", action="store_true", help="the compressed image too")
    parser.add_argument("--json", action="store_true")


def act(options: argparse.Namespace) -> int:
    """Builds, and tells where the kernels are."""
    with open_lab(options.config) as (lab, _):
        kernels = [lab.kernel(name, bzimage=options.bzimage) for name in options.stack]
    if options.json:
        output.print_json(
            [
                {
                    "stack": kernel.stack,
                    "base": kernel.base,
                    "release": kernel.release,
                    "kernel": kernel.vmlinux,
                    "bzimage": kernel.bzimage,
                    "config": kernel.config,
                }
                for kernel in kernels
            ]
        )
    else:
        rows = [(kernel.stack, kernel.release, str(kernel.vmlinux)) for kernel in kernels]
        terminal.print_table("kernels", ("stack", "release", "file"), rows, Console())
    return 0
