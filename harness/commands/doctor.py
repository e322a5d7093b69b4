"""Say what this host has and lacks, and what mends it."""

from __future__ import annotations

import argparse

from harness import doctor
from harness.commands import output
from harness.workspace import Workspace


def add_words(parser: argparse.ArgumentParser) -> None:
    """Table or JSON."""
    parser.add_argument("--json", action="store_true")


def act(options: argparse.Namespace) -> int:
    """Examines the host; 69 when it lacks something."""
    findings = doctor.examine(Workspace.default())
    columns = ("what", "state", "mend")
    rows = [(one.what, one.state, one.mend) for one in findings]
    output.show("this host", columns, rows, as_json=options.json)
    return 69 if any(one.lacking for one in findings) else 0
