"""What became of a series' hunks, for the terminal and as JSON."""

from __future__ import annotations

import json
from collections import Counter

from rich.console import Console

from harness.model import Fate, Mutant, MutationResult
from harness.plain import one_line
from harness.report import terminal

# How many lines of a hunk the terminal shows; the rest is counted.
_SHOWN = 12


def render_json(result: MutationResult) -> str:
    """One object, schema 2: since then ``whole`` is by configuration, and each hunk has its own."""
    return json.dumps(
        {
            "schema": 2,
            "series": result.series,
            "base": result.base,
            "seconds": result.seconds,
            "whole": {
                config: {name: outcome.value for name, outcome in shown.items()}
                for config, shown in result.whole.items()
            },
            "hunks": [
                {
                    "place": one.place,
                    "fate": one.fate.value,
                    "config": one.config,
                    "by": one.by,
                    "why": one.why,
                    "text": one.text,
                    "artifacts": one.artifacts,
                }
                for one in result.mutants
            ],
            "faults": list(result.faults),
        },
        indent=1,
    )


def describe(one: Mutant) -> str:
    """A hunk in one line."""
    by = f" by {one.by}" if one.by else ""
    return one_line(f"{one.place} {one.fate}{by}: {one.why}")


def print_result(result: MutationResult, console: Console) -> None:
    """A table of who missed how many, each hunk that nobody misses, and a summary."""
    killers = Counter((one.config, one.by) for one in result.mutants if one.fate is Fate.KILLED)
    shown = {
        (config, name): one for config in result.whole for name, one in result.whole[config].items()
    }
    rows = [
        (name, config, str(shown.get((config, name), "")), str(killers[config, name]))
        for config, name in dict.fromkeys([*shown, *killers])
    ]
    header = ("scenario", "configuration", "whole series", "hunks it missed")
    terminal.print_table("", header, rows, console)
    for one in result.mutants:
        if one.fate is Fate.LISTED:
            terminal.print_line(describe(one), console)
    idle = Counter(one.why for one in result.mutants if one.fate is Fate.NO_CODE)
    for why, number in idle.items():
        terminal.print_line(f"{number} {Fate.NO_CODE}: {why}", console)
    for one in result.survivors:
        terminal.print_line(f"{one.place}: nobody misses", console)
        lines = one.text.splitlines()
        for line in lines[:_SHOWN]:
            terminal.print_line(f"  {line}", console)
        if len(lines) > _SHOWN:
            terminal.print_line(f"  and {len(lines) - _SHOWN} more", console)
    for line in result.faults:
        terminal.print_line(line, console)
    good = not (result.survivors or result.faults)
    style = "bold green" if good else "bold red"
    console.print(summarise(result), style=style, markup=False, highlight=False, soft_wrap=True)


def summarise(result: MutationResult) -> str:
    """The hunks in one line."""
    counts = Counter(one.fate for one in result.mutants)
    said = ", ".join(f"{counts[fate]} {fate}" for fate in Fate if fate in counts)
    faults = f"; {len(result.faults)} faults" if result.faults else ""
    return (
        f"{result.series} on {result.base}: {len(result.mutants)} hunks: {said or 'none'}{faults}"
        f"   ({result.seconds:.1f} s)"
    )
