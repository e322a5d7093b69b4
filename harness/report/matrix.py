"""The matrix of a series for the terminal, as JSON, and as an HTML page.

Owns the form of all three. On the terminal every scenario is a column under a letter, and below
the table stands what the letters mean and from which patch on each scenario works; however many
there are, a row fits into 80 columns.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_letters

from markupsafe import Markup
from rich.console import Console
from rich.text import Text

from harness.model import ArmResult, MatrixResult, MatrixRow, Outcome
from harness.plain import one_line
from harness.report import as_json, evidence, html, terminal

_WIDTH = 80
# What the subject of a patch needs at least, before outcomes become single letters.
_SUBJECT = 20
_CONSOLE_LINES = 60
_TONES: Mapping[Outcome, str] = {
    Outcome.PASS: "good",
    Outcome.SYMPTOM: "symptom",
    Outcome.FAIL: "bad",
    Outcome.CRASH: "bad",
    Outcome.TIMEOUT: "ours",
    Outcome.ERROR: "ours",
    Outcome.SKIP: "skip",
    Outcome.MISS: "skip",
}
_STYLES: Mapping[str, str] = {
    "good": "green",
    "symptom": "magenta",
    "bad": "bold red",
    "ours": "bold yellow",
    "skip": "yellow",
}
_MARKS = {"good": "✓", "symptom": "≈", "bad": "✗", "ours": "!", "skip": "-"}
_NONE = "·"


def render_json(result: MatrixResult) -> str:
    """One object, schema 1; a gate or a cell that was not reached is not there."""
    return json.dumps(
        {
            "schema": 1,
            "started": result.started,
            "seconds": result.seconds,
            "series": result.series,
            "base": result.base,
            "config": result.config,
            "scenarios": [{"name": name, "says": says} for name, says in result.stories.items()],
            "rows": [
                {
                    "number": row.number,
                    "patch": row.check.patch,
                    "subject": row.check.subject,
                    "kernel": row.kernel,
                    "tree": row.tree,
                    "gates": {name: list(lines) for name, lines in row.check.gates.items()},
                    "cells": [_plain(row, name, arm) for name, arm in row.arms.items()],
                }
                for row in result.rows
            ],
            "faults": list(result.faults),
        },
        indent=1,
        default=str,
    )


def _plain(row: MatrixRow, name: str, arm: ArmResult) -> dict[str, object]:
    return {
        "scenario": name,
        "outcome": arm.outcome.value,
        "signature": arm.signature,
        "seconds": round(arm.seconds, 3),
        "boot": arm.boot,
        "known": name in row.known,
        "evidence": dict(arm.evidence),
        "checks": as_json.render_checks(arm),
        "artifacts": arm.artifacts,
    }


# -- the terminal ----------------------------------------------------------------


def print_matrix(result: MatrixResult, console: Console) -> None:
    """The table, what its columns mean, what is not as it should be, and a summary."""
    gates = _gates(result.rows)
    rows = [[_kernel(row), *(_gate(row, gate) for gate in gates)] for row in result.rows]
    ahead = ["kernel", *gates]
    # A number, a subject, and the rest: each column has one space after it, the first one before.
    taken = 7 + sum(max(map(len, column)) + 1 for column in zip(ahead, *rows, strict=True))
    narrow = taken + 5 * len(result.scenarios) > _WIDTH - _SUBJECT
    room = _WIDTH - taken - (2 if narrow else 5) * len(result.scenarios)
    table = terminal.make_table("")
    table.padding = 0
    for column in ("", "patch", *ahead, *ascii_letters[: len(result.scenarios)]):
        table.add_column(column, no_wrap=True)
    for row, cells in zip(result.rows, rows, strict=True):
        table.add_row(
            Text(f"{row.number:04}"),
            Text(_cut(one_line(row.check.subject), room)),
            *(Text(cell, _gate_style(cell)) for cell in cells),
            *(_cell(row.arms.get(name), narrow=narrow) for name in result.scenarios),
        )
    terminal.print_whole(table, console, fold=False)
    for letter, (name, says) in zip(ascii_letters, result.stories.items(), strict=False):
        terminal.print_line(f"{letter}  {name}: {says}", console)
    if narrow:
        legend = ", ".join(f"{_letter(outcome)} {outcome}" for outcome in _seen(result))
        terminal.print_line(f"   {legend}", console)
    if unknown := [row.number for row in result.rows if _is_unknown(row, gates)]:
        numbers = ", ".join(f"{number:04}" for number in unknown)
        terminal.print_line(
            f"W=1 is not known of {numbers}: --warnings builds what is missing", console
        )
    for line in result.faults:
        console.print(Text(one_line(line), "bold red"), soft_wrap=True)
    style = "bold red" if result.faults else "bold green"
    console.print(Text(summarise(result), style), soft_wrap=True)


def summarise(result: MatrixResult) -> str:
    """The matrix in one line: how many cells, how they ended, what was known before."""
    counts = Counter(arm.outcome for row in result.rows for arm in row.arms.values())
    said = ", ".join(f"{counts[one]} {one}" for one in Outcome if one in counts)
    known = sum(len(row.known) for row in result.rows)
    patches = len(result.rows) - 1
    good = f"{len(result.faults)} faults" if result.faults else "all as it should be"
    return (
        f"{result.series} on {result.base}, {patches} patch{'' if patches == 1 else 'es'}:"
        f" {said or 'nothing was asked'}; {known} of {sum(counts.values())} known before;"
        f" {good}   ({result.seconds:.1f} s)"
    )


def describe_row(row: MatrixRow) -> str:
    """A row in one line, for those who wait."""
    counts = Counter(arm.outcome for arm in row.arms.values())
    said = [f"{counts[one]} {one}" for one in Outcome if one in counts]
    return f"{row.number:04} {row.check.subject}: {', '.join([_kernel(row), *said])}"


def _gates(rows: Sequence[MatrixRow]) -> Sequence[str]:
    """The gates besides those that ``_kernel`` tells of."""
    names = dict.fromkeys(name for row in rows for name in row.check.gates)
    return [name for name in names if name not in ("applies", "builds", "boots")]


def _kernel(row: MatrixRow) -> str:
    """How far the kernel came."""
    gates = row.check.gates
    if not gates:
        return _NONE
    for name, word in (("applies", "refused"), ("builds", "no build"), ("boots", "no boot")):
        if gates.get(name):
            return word
    return "boots"


def _gate(row: MatrixRow, gate: str) -> str:
    if row.number == 0 or gate not in row.check.gates:
        return _NONE
    return f"{len(row.check.gates[gate])} new" if row.check.gates[gate] else "ok"


def _is_unknown(row: MatrixRow, gates: Sequence[str]) -> bool:
    return row.number > 0 and bool(row.arms) and not any(gate in row.check.gates for gate in gates)


def _gate_style(text: str) -> str:
    return "" if text in (_NONE, "ok", "boots") else "bold red"


def _cell(arm: ArmResult | None, *, narrow: bool) -> Text:
    if arm is None:
        return Text(_NONE)
    word = _letter(arm.outcome) if narrow else arm.outcome[:4]
    return Text(word, _STYLES[_TONES[arm.outcome]])


def _letter(outcome: Outcome) -> str:
    return "-" if outcome is Outcome.SKIP else outcome[0]


def _seen(result: MatrixResult) -> Sequence[Outcome]:
    found = {arm.outcome for row in result.rows for arm in row.arms.values()}
    return [one for one in Outcome if one in found]


def _cut(text: str, room: int) -> str:
    room = max(room, 8)
    return text if len(text) <= room else text[: room - 1] + "…"


# -- the page --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CellView:
    """A cell with what explains it; ``console`` is there for what did not pass."""

    arm: ArmResult
    anchor: str
    tone: str
    known: bool
    rows: tuple[html.Row, ...]
    reproduce: str
    console: str

    @property
    def mark(self) -> str:
        """A sign for the tone, so that colour says nothing alone."""
        return _MARKS[self.tone]


def render_html(result: MatrixResult) -> str:
    """One page that loads nothing; what guests said is escaped."""
    anchors = html.Anchors()
    rows = [
        (row, {name: _view(row, arm, anchors) for name, arm in row.arms.items()})
        for row in result.rows
    ]
    folder = Path(__file__).parent / "templates"
    return (
        html.open_templates(folder)
        .get_template("matrix.html.j2")
        .render(
            result=result,
            summary=summarise(result).rpartition("   (")[0],
            rows=rows,
            gates=_gates(result.rows),
            kernel=_kernel,
            gate=_gate,
            style=Markup((folder / "run.css").read_text()),
        )
    )


def _view(row: MatrixRow, arm: ArmResult, anchors: html.Anchors) -> CellView:
    passed = arm.outcome is Outcome.PASS
    script = evidence.find_reproduce(arm)
    return CellView(
        arm=arm,
        anchor=anchors.make("cell", f"{row.number:04}", arm.arm.scenario),
        tone=_TONES[arm.outcome],
        known=arm.arm.scenario in row.known,
        rows=tuple(html.view_check(check, arm.arm.expect) for check in arm.checks),
        reproduce=str(script) if script else "",
        console="" if passed else evidence.read_console(arm, _CONSOLE_LINES),
    )
