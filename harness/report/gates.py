"""What the gates said of patches: a table for the terminal, and the same as plain data.

Owns the form of both. Knows no gate by name: the columns are those that the patches have.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from harness.model import PatchCheck
from harness.report import terminal

# How many complaints of one gate the terminal shows; the rest is counted.
_SHOWN = 10
_WIDTH = 80


def as_plain(stack: str, checks: Sequence[PatchCheck]) -> dict[str, object]:
    """One stack for JSON: each patch with its gates and their complaints."""
    return {
        "stack": stack,
        "passed": bool(checks) and all(one.passed for one in checks),
        "patches": [
            {
                "series": one.series,
                "patch": one.patch,
                "subject": one.subject,
                "passed": one.passed,
                "gates": {name: list(lines) for name, lines in one.gates.items()},
            }
            for one in checks
        ],
    }


def print_checks(stack: str, checks: Sequence[PatchCheck], console: Console) -> None:
    """The table of a stack, and below it what is wrong with each patch that did not pass."""
    columns, rows = tabulate(checks)
    terminal.print_table(stack, columns, rows, console)
    for one in checks:
        for gate, lines in one.gates.items():
            if lines:
                console.print(f"{one.series}: {one.patch}: {gate}", style="bold", soft_wrap=True)
            for line in lines[:_SHOWN]:
                console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
            if len(lines) > _SHOWN:
                console.print(f"  and {len(lines) - _SHOWN} more (--json has them)")
    good = sum(one.passed for one in checks)
    style = "bold green" if good == len(checks) else "bold red"
    console.print(f"{stack}: {good} of {len(checks)} patches pass every gate", style=style)


def tabulate(checks: Sequence[PatchCheck]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Columns and rows: ``ok``, ``FAIL``, or a dash for a gate that was not reached."""
    names = list(dict.fromkeys(name for one in checks for name in one.gates))
    room = _WIDTH - 4 - sum(max(len(name), 4) + 2 for name in names)
    rows = []
    for one in checks:
        cells = [_cell(one, name) for name in names]
        number = one.patch.partition("-")[0]
        rows.append([_shorten(f"{number} {one.subject}", room), *cells])
    return ["patch", *names], rows


def _cell(check: PatchCheck, gate: str) -> str:
    if gate not in check.gates:
        return "-"
    return "FAIL" if check.gates[gate] else "ok"


def _shorten(text: str, room: int) -> str:
    room = max(room, 4)
    return text if len(text) <= room else text[: room - 1] + "…"
