"""Ask the scenarios of every patch of a series, and show both as a table.

A patch is built with all below it. What was asked before is known by its content: after a change
to a patch, that one and those above it are asked again, and what was broken off goes on.
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from harness import questions
from harness.cells import asking, judging, opening
from harness.cells.matrix import Walk
from harness.commands import output
from harness.commands.opening import add_jobs, open_lab
from harness.jobs import Lab
from harness.kernel import gates, prefixes
from harness.model import MatrixResult, MatrixRow, Stack
from harness.report import matrix
from harness.report.screen import Screen

_REFUSED = 3


def add_words(parser: argparse.ArgumentParser) -> None:
    """Which series on which base, what is asked, and which reports are written."""
    parser.add_argument("series", help="a folder of kernel-patches/, like unfix/pid-vnr")
    parser.add_argument("scenario", nargs="*", help="what the series proves, when none is named")
    parser.add_argument("--base", default="6.12", help="the base that it is put on (6.12)")
    parser.add_argument("--config", default="default", help="configuration of the kernels")
    parser.add_argument("--cold", action="store_true", help="boot every guest, fork none")
    parser.add_argument(
        "--warnings",
        action="store_true",
        help="build with W=1 what `patches check` has not seen; otherwise that is not told",
    )
    add_jobs(parser)
    for form in ("json", "html"):
        parser.add_argument(f"--{form}", type=Path, metavar="F", help=f"write {form} (- is stdout)")


def act(options: argparse.Namespace) -> int:
    """Asks and reports; 3 when a patch is refused or not built, 1 for any other fault."""
    with open_lab(options.config, cold=options.cold) as (lab, screen):
        stack = lab.catalogue.stack_of(options.series, options.base)
        names = opening.require_names(lab, stack, options.scenario)
        result = _ask(lab, screen, stack, names, options)
    to_stdout = output.STDOUT in (options.json, options.html)
    matrix.print_matrix(result, Console(stderr=to_stdout))
    for file, render in ((options.json, matrix.render_json), (options.html, matrix.render_html)):
        if file:
            output.write(file, render(result))
    refused = (gates.APPLIES, asking.BUILDS)
    if any(row.check.gates.get(gate) for row in result.rows for gate in refused):
        return _REFUSED
    return 1 if result.faults else 0


def _ask(
    lab: Lab, screen: Screen, stack: Stack, names: list[str], options: argparse.Namespace
) -> MatrixResult:
    began, started = time.monotonic(), datetime.now(UTC)
    _, found = prefixes.open_split(lab.workspace, stack, screen.step)
    walk = Walk(
        asker=opening.open_asker(lab, stack.base.name, workers=options.jobs),
        inspector=lab.inspector,
        names=names,
        warnings=options.warnings,
        on_step=screen.step,
    )
    rows: list[MatrixRow] = []
    for row in walk.rows(found):
        rows.append(row)
        screen.tell(matrix.describe_row(row))
    rows.sort(key=lambda row: row.number)
    ends = {name: questions.ends_of(name, stack, lab.catalogue) for name in names}
    return MatrixResult(
        started=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=round(time.monotonic() - began, 1),
        series=stack.series[-1].name,
        base=stack.base.name,
        config=lab.builder.config,
        rows=tuple(rows),
        stories={name: judging.tell(rows, name) for name in names},
        faults=judging.find_faults(rows, ends),
    )
