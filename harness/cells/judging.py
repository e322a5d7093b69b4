"""What the cells of a series say together: from where on a scenario works, what is wrong. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from harness.model import MatrixRow, Outcome
from harness.questions import Ends

_OURS = (Outcome.ERROR, Outcome.TIMEOUT, Outcome.MISS, Outcome.SKIP)


def tell(rows: Sequence[MatrixRow], name: str) -> str:
    """The column of a scenario in one line: its outcomes in their order, each once in a row.

    ``works`` is a PASS up to the last patch that was asked.
    """
    column = [(row.number, row.arms[name].outcome) for row in rows if name in row.arms]
    if not column:
        return "was not asked"
    runs = [
        (outcome, [number for number, _ in cells])
        for outcome, cells in groupby(column, key=lambda cell: cell[1])
    ]
    said = []
    for place, (outcome, numbers) in enumerate(runs):
        first, last = place == 0, place == len(runs) - 1
        word = "works" if last and outcome is Outcome.PASS else str(outcome)
        if first and last:
            return f"{word} everywhere"
        if last:
            said.append(f"{word} from {numbers[0]:04} on")
        elif first:
            where = f"up to {numbers[-1]:04}" if numbers[-1] else "below the series"
            said.append(f"{word} {where}")
        else:
            said.append(f"{word} {_span(numbers)}")
    return ", ".join(said)


def _span(numbers: Sequence[int]) -> str:
    return f"{numbers[0]:04}" if len(numbers) == 1 else f"{numbers[0]:04} to {numbers[-1]:04}"


def find_faults(rows: Sequence[MatrixRow], ends: Mapping[str, Ends]) -> tuple[str, ...]:
    """What is not as it should be, in the order of the patches.

    Each patch applies, builds without new warnings and boots; no cell ends in a crash or without
    an answer; at both ends a scenario shows what is expected there; and one that passes does so
    with the next patch too, unless the series is one that breaks it.
    """
    return tuple(line for row in rows for line in _faults_of(row, rows, ends))


def _faults_of(
    row: MatrixRow, rows: Sequence[MatrixRow], ends: Mapping[str, Ends]
) -> Iterator[str]:
    for gate, lines in row.check.gates.items():
        if lines:
            yield f"{row.number:04} {gate}: {lines[0]}"
    for name, arm in row.arms.items():
        wanted, why = _wanted(row, rows, name, ends[name])
        if arm.outcome is Outcome.CRASH or arm.outcome in _OURS:
            yield f"{row.number:04} {name}: {arm.outcome}, {arm.signature}"
        elif wanted and arm.outcome is not wanted:
            yield f"{row.number:04} {name}: {arm.outcome} and not {wanted}, {why}: {arm.signature}"


def _wanted(
    row: MatrixRow, rows: Sequence[MatrixRow], name: str, ends: Ends
) -> tuple[Outcome | None, str]:
    if row.number == 0:
        return ends.below, "as below the series"
    if row.number == rows[-1].number:
        return ends.whole, "as the whole series is to show"
    if ends.whole is Outcome.PASS:
        below = [
            one.arms[name].outcome for one in rows if one.number < row.number and name in one.arms
        ]
        # What was lost further down was told there.
        if below and below[-1] is Outcome.PASS:
            return Outcome.PASS, "as before"
    return None, ""
