"""Measure the figures that the harness must reach."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from harness.bench import FIGURES, figure, measure, plot, require_names
from harness.bench.plan import Plan
from harness.commands import output
from harness.commands.opening import open_lab
from harness.errors import UsageError
from harness.jobs import Lab
from harness.report import terminal
from harness.report.screen import Screen


def add_words(parser: argparse.ArgumentParser) -> None:
    """What is measured, on which kernels, and how often."""
    parser.add_argument(
        "figure",
        nargs="*",
        help=f"one of {', '.join(FIGURES)}"
        " (all but build, cost, delivery, edit, matrix, migration, trail, growth)",
    )
    parser.add_argument("--base", default="6.12", help="measure on this base (6.12)")
    parser.add_argument(
        "--stack",
        action="append",
        default=[],
        help="cost: compare this one with its base (ids); delivery: on this one (prototype);"
        " matrix: its last series (nsid)",
    )
    parser.add_argument(
        "--config", default="default", help="configuration of the kernels (default)"
    )
    parser.add_argument(
        "-n", "--times", type=int, default=0, help="repeat each measurement N times", metavar="N"
    )
    parser.add_argument(
        "--megabytes",
        type=int,
        default=0,
        metavar="N",
        help="trail: size of the log (100); growth: no larger one (3000)",
    )
    parser.add_argument(
        "--svg", type=Path, metavar="F", help="growth: plot time over size (- is stdout)"
    )
    parser.add_argument("--json", type=Path, metavar="F", help="write json (- is stdout)")


def act(options: argparse.Namespace) -> int:
    """Measures and prints; 1 if a bar was missed. Bad words are refused before that."""
    if options.times < 0:
        raise UsageError(f"nothing can be measured {options.times} times", hint="-n 5")
    if options.megabytes < 0:
        raise UsageError(f"no log has {options.megabytes} MB", hint="--megabytes 1000")
    names = require_names(options.figure)
    with open_lab(options.config) as (lab, screen):
        return _act(lab, screen, names, options)


def _act(lab: Lab, screen: Screen, names: Sequence[str], options: argparse.Namespace) -> int:
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lab.catalogue.require_base(options.base)
    for name in options.stack:
        if lab.catalogue.require_stack(name).base.name != options.base:
            raise UsageError(f"{name} is not on base {options.base}", hint="name its --base too")
    plan = Plan(
        lab=lab,
        base=options.base,
        times=options.times,
        on_step=screen.step,
        stacks=tuple(options.stack),
        megabytes=options.megabytes,
    )
    machine, figures = measure(plan, names)
    console = Console(stderr=output.STDOUT in (options.json, options.svg))
    terminal.print_table(machine.describe(), figure.COLUMNS, figure.rows(figures), console)
    if options.svg:
        output.write(options.svg, plot.draw([one for one in figures if one.at is not None]))
    if options.json:
        output.write(options.json, json.dumps(figure.as_json(started, machine, figures), indent=1))
    return 0 if all(one.holds for one in figures) else 1
