"""Fetch the sources of bases."""

from __future__ import annotations

import argparse

from harness.commands import output
from harness.commands.opening import open_lab
from harness.kernel import sources


def add_words(parser: argparse.ArgumentParser) -> None:
    """Which bases."""
    parser.add_argument("base", nargs="+")
    parser.add_argument("--json", action="store_true")


def act(options: argparse.Namespace) -> int:
    """Fetches, and tells what came."""
    rows = []
    with open_lab() as (lab, screen):
        for name in options.base:
            screen.step(f"fetching {name}")
            fetched = sources.fetch(lab.catalogue.require_base(name), lab.workspace)
            rows.append((name, fetched.version, fetched.note or fetched.key[:12]))
    columns = ("base", "version", "content")
    output.show("sources", columns, rows, as_json=options.json)
    return 0
