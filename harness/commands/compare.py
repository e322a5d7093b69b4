"""Compare designs that say whose an event is, on one workload of which the truth is known.

Guests of a kernel with all of them run the workload; ``nsaudit trail`` attributes what happened,
seeing the records of one design at a time. Whatever is measured is kept in the folder of the run.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from harness.commands import output
from harness.commands.opening import open_lab
from harness.compare import kept
from harness.errors import UsageError
from harness.jobs import Lab
from harness.report import terminal
from harness.report.screen import Screen
from harness.workspace import Workspace

if TYPE_CHECKING:
    from harness.compare.designs import Design
    from harness.compare.result import Comparison


def add_words(parser: argparse.ArgumentParser) -> None:
    """Which designs, on which base, at which rates, and which reports are written."""
    parser.add_argument("design", nargs="+", help="a series that says whose an event is")
    parser.add_argument("--base", default="6.12", help="measure on this base (6.12)")
    parser.add_argument(
        "-n", "--times", type=int, default=3, help="count instructions in N boots (3)"
    )
    parser.add_argument(
        "--rate", type=float, default=100.0, metavar="N", help="events in containers a second (100)"
    )
    parser.add_argument(
        "--starts", type=float, default=60.0, metavar="N", help="containers begun an hour (60)"
    )
    parser.add_argument("--run", type=Path, metavar="DIR", help="judge a kept run again")
    for form in ("markdown", "html", "json"):
        parser.add_argument(f"--{form}", type=Path, metavar="F", help=f"write {form} (- is stdout)")


def act(options: argparse.Namespace) -> int:
    """Measures, judges, reports; the reports are always kept in the run's folder, too."""
    from harness.compare.designs import require_designs

    designs = require_designs(options.design)
    if options.times < 1 or options.rate < 0 or options.starts < 0:
        raise UsageError("nothing can be measured less than once, or at less than 0 a second")
    if options.run:
        folder = options.run
        if not (folder / kept.ABOUT).is_file():
            raise UsageError(f"{folder} is no run of this command", hint="below runs/")
        workspace = Workspace.default()
    else:
        with open_lab() as (lab, screen):
            workspace = lab.workspace
            folder = _measure(lab, screen, designs, options)
    found = _judge(designs, folder, workspace, options)
    _report(found, folder, options)
    return 0


def _measure(
    lab: Lab, screen: Screen, designs: Sequence[Design], options: argparse.Namespace
) -> Path:
    from harness.bench import cost, figure
    from harness.bench.plan import Plan
    from harness.compare import code, measures, workload

    base = options.base
    lab.catalogue.require_base(base)
    kernel = lab.kernel(workload.choose_stack(lab.catalogue, designs, base).name)
    folder = lab.workspace.new_run()
    workload.run(lab, kernel, folder, screen.step)
    plan = Plan(lab=lab, base=base, times=options.times, on_step=screen.step)
    seen = cost.count(plan, [f"vanilla-{base}", *(f"{one.name}-{base}" for one in designs)])
    measures.write_cost(folder / measures.COST, seen)
    patches = {one.name: lab.catalogue.series[one.name].patches[base] for one in designs}
    found = {name: asdict(code.measure(paths)) for name, paths in patches.items()}
    (folder / measures.CODE).write_text(json.dumps(found, indent=1), encoding="utf-8")
    machine = figure.describe_machine(lab.host_for(kernel), os.getloadavg()[0])
    emulated = "emulated" if machine.accelerator == "tcg" else machine.accelerator
    about = {
        "started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "base": base,
        "about": {
            "workload on": f"{kernel.release}, with the series {' and '.join(kernel.series)}",
            "instructions counted": f"in guests of {', '.join(seen)}",
            "machine": f"{machine.cores} cores, {emulated}",
        },
    }
    (folder / kept.ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
    return folder


def _judge(
    designs: Sequence[Design], folder: Path, workspace: Workspace, options: argparse.Namespace
) -> Comparison:
    from harness.compare import code, judge, measures, result, workload

    about = json.loads((folder / kept.ABOUT).read_text(encoding="utf-8"))
    facts, logs = workload.read(folder, designs)
    judged = {
        one.name: judge.judge_log(one, facts, folder / one.name, logs[one.name], workspace)
        for one in designs
    }
    cases = result.tally(judged)
    codes = {
        name: code.Code(**one)
        for name, one in json.loads((folder / measures.CODE).read_text()).items()
    }
    rates = measures.Rates(events_s=options.rate, starts_h=options.starts)
    return result.Comparison(
        run=folder.resolve().name,
        started=about["started"],
        about=about["about"],
        designs={one.name: one.title for one in designs},
        cases=cases,
        measures=[
            *result.attribution(cases, [one.name for one in designs], workload.files(designs)),
            *measures.of_size(designs, facts, logs, rates),
            *measures.of_cost(designs, about["base"], measures.read_cost(folder / measures.COST)),
            *measures.of_work(designs, facts, logs),
            *measures.of_code(designs, codes),
        ],
        reused=facts.reused,
    )


def _report(found: Comparison, folder: Path, options: argparse.Namespace) -> None:
    from harness.compare import report

    command = f"nsaudit compare {' '.join(found.designs)}"

    def html(at: Path) -> str:
        return report.render_html(
            found, command, lambda name: os.path.relpath(folder / name, at.parent)
        )

    markdown = report.render_markdown(found, command)
    output.write(folder / kept.PAGE, html(folder / kept.PAGE))
    output.write(folder / "compare.md", markdown)
    output.write(folder / kept.RESULT, found.as_json())
    if options.html:
        output.write(options.html, html(output.place(options.html)))
    if options.markdown:
        stdout = options.markdown == output.STDOUT
        output.write(options.markdown, markdown.rstrip("\n") if stdout else markdown)
    if options.json:
        output.write(options.json, found.as_json())
    console = Console(stderr=output.STDOUT in (options.html, options.markdown, options.json))
    names = list(found.designs)
    rows = [
        (case.name, str(case.deeds), *(report.cell(case.tallies[name]) for name in names))
        for case in found.cases
    ]
    terminal.print_table("who did it", ("case", "deeds", *names), rows, console)
    rows = [
        (
            f"{one.group}: {one.name}",
            *(report.show(one, one.values[name]) for name in names),
            one.winner or "-",
        )
        for one in found.measures
    ]
    terminal.print_table("what it takes", ("figure", *names, "winner"), rows, console)
    terminal.print_line(report.overall(found), console)
    terminal.print_line(f"reports: {folder}", console)
