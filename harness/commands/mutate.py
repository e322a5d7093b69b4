"""Take each hunk of a series away, and see which of them no scenario misses.

A hunk that the kernel does not build without needs no scenario, and one that no scenario runs is
missed by none, if a kernel that counts is asked for first. What survives is asked under the
next configuration, and listed in the end, unless unmissed.toml in the folder of the series says
why it may. Of an unfix it is asked first whether it turns its own scenarios red and no other.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from harness import questions
from harness.cells import mutation, opening, reach, record
from harness.cells.mutation import Findings, Mutation
from harness.cells.reach import Reach
from harness.cells.record import Record
from harness.commands import output
from harness.commands.opening import add_jobs, open_lab
from harness.errors import UsageError
from harness.guest import capacity
from harness.jobs import KCONFIGS, PATCHES, Lab
from harness.kernel import hunks, kconfig, prefixes, series
from harness.kernel.tree import Revision, Tree
from harness.model import MutationResult, Stack
from harness.report import mutation as shown
from harness.report.screen import Screen


def add_words(parser: argparse.ArgumentParser) -> None:
    """Which series on which base, and what is asked of it."""
    parser.add_argument("series", help="a folder of kernel-patches/, like unfix/pid-vnr")
    parser.add_argument("scenario", nargs="*", help="what the series proves, when none is named")
    parser.add_argument("--base", default="6.12", help="the base that it is put on (6.12)")
    parser.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="GLOB",
        help="only hunks of such files, or at such a place (FILE:LINE)",
    )
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="C",
        help="configuration of the kernels (default); what nobody misses there goes on to the next",
    )
    parser.add_argument(
        "--record",
        action="store_true",
        help=f"write who missed what into {record.MISSED}, beside the patches; it is asked first"
        " the next time",
    )
    parser.add_argument(
        "--new", action="store_true", help=f"only hunks that {record.MISSED} does not tell of"
    )
    parser.add_argument(
        "--coverage",
        action="store_true",
        help="see first which scenarios run which lines, and ask no others (under default only)",
    )
    add_jobs(parser)
    parser.add_argument("--json", type=Path, metavar="F", help="write json (- is stdout)")


def act(options: argparse.Namespace) -> int:
    """Asks and reports; 1 when a hunk survives, or the whole series is not as expected."""
    began = time.monotonic()
    # What is wrong with the words or the tables is said before anything is asked for hours.
    stack = series.load(PATCHES).stack_of(options.series, options.base)
    last = stack.series[-1]
    excuses = hunks.load_excuses(PATCHES / last.name, stack.base.name)
    missed = Record.load(_home(stack))
    configs = _require_configs(options)
    findings, faults = Findings(), list[str]()
    if options.coverage and reach.OF in configs:
        findings.reach = _measure(stack, options)
    for config in configs:
        # A guest that is saved pays off when it is forked often, and these are asked once or twice.
        with open_lab(config, cold=True) as (lab, screen):
            faults += _ask(lab, screen, stack, options, findings, missed, excuses.strays)
        findings.excuse(excuses.hunks, certain=True)
    idle = findings.excuse(excuses.hunks)
    result = MutationResult(
        series=last.name,
        base=stack.base.name,
        seconds=round(time.monotonic() - began, 1),
        whole=findings.whole,
        mutants=tuple(findings.mutants.values()),
        # Where not all hunks are asked, others may be what is listed.
        faults=(*faults, *([] if options.file else idle)),
    )
    shown.print_result(result, Console(stderr=options.json == output.STDOUT))
    if options.json:
        output.write(options.json, shown.render_json(result))
    return 1 if result.survivors or result.faults else 0


def _home(stack: Stack) -> Path:
    """Where the patches of the last series are, and what is written down of them."""
    return PATCHES / stack.series[-1].name / stack.base.name


def _require_configs(options: argparse.Namespace) -> list[str]:
    """The configurations, each of which lets ask the named scenarios."""
    configs = list(dict.fromkeys(options.config or ["default"]))
    for config in configs:
        kconfig.require_name(KCONFIGS, config)
        if options.scenario and (left := questions.elsewhere(options.scenario, config)):
            raise UsageError("; ".join(left))
    return configs


def _split(lab: Lab, screen: Screen, stack: Stack) -> tuple[Tree, Revision, Revision]:
    """The base's tree, and the stack there without its last series and with it."""
    tree, patches = prefixes.open_split(lab.workspace, stack, screen.step)
    below, whole = patches[0].revision, patches[-1].revision
    if below is None or whole is None:
        name = stack.series[-1].name
        raise UsageError(
            f"{name} does not apply to {stack.base.name}",
            hint=f"nsaudit matrix {name} --base {stack.base.name}",
        )
    return tree, below, whole


def _measure(stack: Stack, options: argparse.Namespace) -> Reach:
    """Which lines of the whole series' files the scenarios run, of those that can be counted."""
    with open_lab(reach.CONFIG, cold=True) as (lab, screen):
        asked = opening.require_scenarios(lab, stack.base.name, ())
        names = [one for one in options.scenario or stack.series[-1].proves if one in asked]
        *_, whole = _split(lab, screen, stack)
        screen.step(f"asking {len(names)} scenarios under {reach.CONFIG} which lines they run")
        kernel = lab.builder.build_revision(whole)
        asker = opening.open_asker(lab, stack.base.name, workers=options.jobs, probe=kernel)
        found = reach.measure(asker, whole, names)
        screen.step(f"{len(found.counts)} of {len(names)} scenarios are counted")
        return found


def _ask(
    lab: Lab,
    screen: Screen,
    stack: Stack,
    options: argparse.Namespace,
    findings: Findings,
    missed: Record,
    strays: Mapping[str, str],
) -> list[str]:
    """Asks one configuration about the hunks that nobody missed before.

    What is wrong with the whole series, as lines.
    """
    last, config = stack.series[-1], lab.builder.config
    names = opening.require_names(lab, stack, options.scenario)
    tree, below, whole = _split(lab, screen, stack)
    ends = {name: questions.ends_of(name, stack, lab.catalogue) for name in names}
    # The kernel that is asked about anyway tells what host this is: the base's may be unbuilt.
    kernel = lab.builder.build_revision(whole)
    asker = opening.open_asker(lab, stack.base.name, workers=options.jobs, probe=kernel)
    host = lab.host_for(kernel)
    run = Mutation(
        asker=asker,
        whole=whole,
        ends=ends,
        at_a_time=options.jobs or capacity.count_guests(host.cores, len(names)),
        record=missed,
        reach=findings.reach if config == reach.OF else Reach(),
        new=frozenset(names).difference(*findings.whole.values()),
    )
    faults: list[str] = []
    if not findings.whole and not last.has_lane:
        screen.step("asking the whole unfix, and its base, for all regressions")
        every = {
            name: questions.ends_of(name, stack, lab.catalogue) for name in questions.regressions()
        }
        faults += mutation.find_strays(asker, below, whole, every, strays)
    changes = hunks.find_hunks(tree, below.commit, whole.commit)
    found = [one for one in changes if hunks.is_in(one, options.file)]
    if options.new:
        findings.take(missed, found)
    left = findings.left_of(found)
    if not left:
        return faults
    screen.step(f"asking the whole series under {config}, and then {len(left)} hunks")
    findings.whole[config] = run.require_whole()
    for number, one in enumerate(run.run(left, findings), 1):
        screen.tell(f"{number} of {len(left)}: {shown.describe(one)}")
        if options.record:
            missed.save(_home(stack), changes)
    return faults
