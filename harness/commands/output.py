"""What commands print: tables, the same as JSON, and files that may be standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from harness.errors import HarnessError
from harness.report import terminal

STDOUT = Path("-")


def print_json(value: object) -> None:
    """JSON on standard output, paths as text."""
    sys.stdout.write(json.dumps(value, indent=1, default=str) + "\n")


def show(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool
) -> None:
    """A table, or the same as a list of objects."""
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        terminal.print_table(title, columns, rows, Console())


def place(file: Path) -> Path:
    """Where a page stands for its links; on standard output, as a file of the current folder."""
    return file if file != STDOUT else Path("page.html")


def write(file: Path, text: str) -> None:
    """Writes a file that was asked for; ``-`` is standard output."""
    if file == STDOUT:
        sys.stdout.write(text + "\n")
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"cannot write {file}: {error.strerror}") from error
