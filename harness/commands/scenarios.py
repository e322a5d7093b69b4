"""List the scenarios."""

from __future__ import annotations

import argparse

from harness import questions
from harness.commands import output


def add_words(parser: argparse.ArgumentParser) -> None:
    """Table or JSON."""
    parser.add_argument("--json", action="store_true")


def act(options: argparse.Namespace) -> int:
    """Lists them."""
    rows = questions.describe()
    columns = ("scenario", "broken", "question")
    output.show("scenarios", columns, rows, as_json=options.json)
    return 0
