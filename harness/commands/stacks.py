"""List the stacks."""

from __future__ import annotations

import argparse

from harness.commands import output
from harness.commands.opening import open_lab


def add_words(parser: argparse.ArgumentParser) -> None:
    """Table or JSON."""
    parser.add_argument("--json", action="store_true")


def act(options: argparse.Namespace) -> int:
    """Lists them."""
    with open_lab() as (lab, _):
        columns = ("stack", "base", "series")
        rows = [
            (name, stack.base.name, ", ".join(series.name for series in stack.series) or "-")
            for name, stack in lab.catalogue.stacks.items()
        ]
    output.show("stacks", columns, rows, as_json=options.json)
    return 0
