"""The tables of the terminal: all alike, readable at 80 columns and without colour.

Owns how results look on a console that it is given. Knows no command and no other format.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.model import ArmResult, Outcome, RunResult, ScenarioResult, Verdict
from harness.plain import clean
from harness.report import evidence

_UNSURE = (Outcome.SKIP, Outcome.MISS)


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], console: Console
) -> None:
    """A table whose last column takes the room that is left, and folds there."""
    table = make_table(title)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number < len(columns) - 1)
    for row in rows:
        table.add_row(*(_text(cell) for cell in row))
    # What goes into a pipe is for grep and cut: there nothing is folded.
    print_whole(table, console, fold=console.is_terminal)


def print_line(text: str, console: Console) -> None:
    """A line of text, harmless whatever is in it; the terminal folds it."""
    _say(text, console)


def print_run(result: RunResult, console: Console) -> None:
    """The table of verdicts, a block for each arm that is not as expected, and a summary.

    The verdict stands below the scenario's name, which leaves the names their full width.
    """
    table = make_table("")
    for column in ("scenario", "arm (stack)", "expected", "  outcome"):
        table.add_column(column)
    table.add_column("seconds", justify="right")
    for one in result.scenarios:
        _add_scenario(table, one)
    if result.scenarios:
        print_whole(table, console, fold=False)
    for one in result.scenarios:
        odd = [arm for arm in one.arms if not arm.as_expected]
        for arm in odd:
            _print_arm(arm, console)
        if not odd and not one.verdict.as_expected:
            why = f"{one.name}: {one.verdict}, though each arm alone is as expected"
            _say(why, console, "bold")
            console.print()
    if result.folder:
        _say(f"results: {result.folder}", console, "dim")
    _say(summarise(result), console, "bold green" if result.as_expected else "bold red")


def summarise(result: RunResult) -> str:
    """The run in one line: how many scenarios, what they say, how long, and how they ran."""
    number = len(result.scenarios)
    verdicts = [one.verdict for one in result.scenarios]
    counts = [f"{verdicts.count(one)} {one}" for one in Verdict if one in verdicts]
    return (
        f"{number} scenario{'' if number == 1 else 's'}: {', '.join(counts) or 'nothing was asked'}"
        f"   ({result.seconds:.1f} s, {result.host.accelerator}: {result.host.why})"
    )


def _add_scenario(table: Table, one: ScenarioResult) -> None:
    green = one.verdict.as_expected
    verdict = _text(f"  {one.verdict}", "bold green" if green else "bold red")
    # A scenario of a single arm has a second line for its verdict all the same.
    arms: list[ArmResult | None] = [*one.arms, *([None] * (2 - len(one.arms)))]
    for number, arm in enumerate(arms):
        first = (_text(one.name, "bold"), verdict)[number] if number < 2 else Text()
        cells = _arm_cells(arm) if arm else ()
        table.add_row(first, *cells, end_section=number == len(arms) - 1)


def _arm_cells(arm: ArmResult) -> tuple[Text, ...]:
    odd = "bold yellow" if arm.outcome in _UNSURE else "bold red"
    style = "green" if arm.as_expected else odd
    # The mark says without colour which lines are worth a look.
    mark = " " if arm.as_expected else "!"
    return (
        _text(arm.arm.stack),
        _text(arm.arm.expect),
        _text(f"{mark} {arm.outcome}", style),
        _text("known" if arm.known else f"{arm.seconds:.1f}"),
    )


def _print_arm(arm: ArmResult, console: Console) -> None:
    what = f"{arm.arm.scenario} on {arm.arm.stack}: {arm.outcome}, expected {arm.arm.expect}"
    _say(what, console, "bold")
    for line in evidence.describe(arm):
        _say(f"  {line}", console)
    console.print()


def make_table(title: str) -> Table:
    """An empty table as all of them look."""
    return Table(
        box=box.SIMPLE_HEAD,
        title=_text(title, "bold") if title else None,
        title_justify="left",
        header_style="bold",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def print_whole(table: Table, console: Console, *, fold: bool) -> None:
    """Prints a table as wide as it needs to be where nothing may be folded or cut."""
    if not fold:
        options = console.options.update(max_width=10_000)
        table.width = console.measure(table, options=options).maximum
    console.print(table, crop=False)


def _say(text: str, console: Console, style: str = "") -> None:
    # The terminal wraps a long line itself, so that paths can be copied in one piece.
    console.print(_text(text, style), soft_wrap=True)


def _text(text: str, style: str = "") -> Text:
    return Text(clean(text), style)
