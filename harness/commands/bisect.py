"""Find the commit, or the patch of a series, at which a scenario turned.

git chooses the commits between two ends, which are proved first; one that does not build or
boot is skipped, and so is one that fails otherwise than the bad end. With the bad end below the
good one, the first good commit is looked for.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from harness.cells import opening
from harness.cells.bisection import Search
from harness.commands import output
from harness.commands.opening import open_lab
from harness.errors import UsageError
from harness.jobs import Lab
from harness.kernel import history, prefixes
from harness.kernel.prefixes import Prefix
from harness.kernel.tree import Revision, open_tree
from harness.model import BisectResult, Tried
from harness.report import bisection
from harness.report.screen import Screen


def add_words(parser: argparse.ArgumentParser) -> None:
    """What is asked, and of which commits."""
    parser.add_argument("scenario")
    parser.add_argument("--good", metavar="REF", help="a commit, or a patch's number: it passes")
    parser.add_argument("--bad", metavar="REF", help="another, on which it does not")
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--tree",
        type=Path,
        metavar="DIR",
        default=Path(),
        help="search the history of this tree (the current folder)",
    )
    place.add_argument("--series", metavar="S", help="search the patches of this series (all)")
    parser.add_argument("--base", default="6.12", help="what the series is put on, or the base that"
        " the tree is nearest to (6.12)")  # fmt: skip
    parser.add_argument("--config", default="default", help="configuration of the kernels")
    parser.add_argument("--cold", action="store_true", help="boot every guest, fork none")
    parser.add_argument("--json", type=Path, metavar="F", help="write json (- is stdout)")


def act(options: argparse.Namespace) -> int:
    """Searches and reports; 1 when skipped commits hide the one."""
    with open_lab(options.config, cold=options.cold) as (lab, screen):
        lab.catalogue.require_base(options.base)
        opening.require_scenarios(lab, options.base, [options.scenario])
        if options.series:
            result = _in_series(lab, screen, options)
        else:
            result = _in_history(lab, screen, options)
    bisection.print_result(result, Console(stderr=options.json == output.STDOUT))
    if options.json:
        output.write(options.json, bisection.render_json(result))
    return 0 if result.first else 1


def _tell(screen: Screen, one: Tried) -> None:
    screen.tell(bisection.describe_step(one))


def _in_history(lab: Lab, screen: Screen, options: argparse.Namespace) -> BisectResult:
    if not (options.good and options.bad):
        raise UsageError("a history has no ends of its own", hint="--good REF --bad REF")
    base = lab.catalogue.bases[options.base]
    good, bad = (history.resolve(options.tree, ref) for ref in (options.good, options.bad))
    for commit in (good, bad):
        history.require_kernel(options.tree, commit)
    with lab.workspace.lock(f"tree-{base.name}"):
        own = open_tree(lab.workspace, base, screen.step)
        tree = history.open_history(lab.workspace, base, options.tree.absolute(), own)
    search = Search(
        asker=opening.open_asker(lab, base.name),
        scenario=options.scenario,
        folder=tree.folder,
        where=str(options.tree),
        revision_of=lambda commit: history.revision_of(tree, commit),
        name_of=lambda commit: commit[:12],
        on_tried=lambda one: _tell(screen, one),
    )
    return search.find(good, bad)


def _in_series(lab: Lab, screen: Screen, options: argparse.Namespace) -> BisectResult:
    stack = lab.catalogue.stack_of(options.series, options.base)
    tree, found = prefixes.open_split(lab.workspace, stack, screen.step)
    by_commit = {one.revision.commit: one for one in found if one.revision}

    def revision_of(commit: str) -> Revision:
        revision = by_commit[commit].revision
        assert revision
        return revision

    search = Search(
        asker=opening.open_asker(lab, stack.base.name),
        scenario=options.scenario,
        folder=tree.folder,
        where=f"{options.series} on {stack.base.name}",
        revision_of=revision_of,
        name_of=lambda commit: f"{by_commit[commit].number:04}",
        on_tried=lambda one: _tell(screen, one),
    )
    good, bad = (_commit(found, ref) for ref in _ends(options, len(found) - 1))
    return search.find(good, bad)


def _ends(options: argparse.Namespace, last: int) -> Sequence[str]:
    """The two ends; those of the series where none is named."""
    if options.good is None and options.bad is None:
        raise UsageError("which end is the good one?", hint=f"--good 0 --bad {last}")
    good = options.good or (str(last) if options.bad in ("0", "0000") else "0")
    bad = options.bad or (str(last) if good in ("0", "0000") else "0")
    return good, bad


def _commit(found: Sequence[Prefix], ref: str) -> str:
    if not ref.isdigit() or int(ref) >= len(found):
        raise UsageError(
            f"{ref!r} is no patch of the series", hint=f"0 (below it) to {len(found) - 1}"
        )
    one = found[int(ref)]
    if one.revision is None:
        refused = next((line for p in found for line in p.refused[:1]), "")
        raise UsageError(f"patch {ref} cannot be reached: {refused}")
    return one.revision.commit
