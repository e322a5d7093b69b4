"""The figure of a series' matrix: how long after a change to its last patch."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.bench.figure import Figure
from harness.bench.plan import Plan
from harness.cells import opening
from harness.cells.asking import Asker
from harness.cells.matrix import Walk
from harness.errors import UsageError
from harness.kernel import hunks, prefixes
from harness.kernel.prefixes import Prefix
from harness.kernel.tree import Tree, export, git
from harness.model import MatrixRow, Stack
from harness.workspace import Workspace

_SERIES = "nsid"
_PATCHES = 8


def matrix(plan: Plan) -> Iterator[Figure]:
    """The matrix of eight patches with all that their series proves, once the last one changed.

    A line of code is added to the last patch each time, so that its kernel is built, booted and
    asked. The patches are applied anew; what is known of those below is found, and counted.
    """
    catalogue = plan.lab.catalogue
    stack = catalogue.require_stack(plan.stacks[0] if plan.stacks else f"{_SERIES}-{plan.base}")
    last = stack.series[-1]
    ground = len(stack.patches) - len(last.patches[plan.base])
    names = last.proves
    asker = opening.open_asker(plan.lab, plan.base)
    plan.on_step(f"asking the first {_PATCHES} patches of {last.name}")
    first = prefixes.upto(stack, ground + _PATCHES)
    found = _split(plan, first)
    rows = _ask(plan, asker, names, found)
    seconds: list[float] = []
    fault = _find_fault(rows, 0)
    for number in range(1, (plan.times or 3) + 1):
        with plan.lab.workspace.scratch() as scratch:
            changed = _change(plan.lab.workspace, first, found, scratch)
            plan.on_step(f"after a change to the last patch, {number}")
            began = time.monotonic()
            rows = _ask(plan, asker, names, _split(plan, changed))
            seconds.append(time.monotonic() - began)
        fault = fault or _find_fault(rows, len(rows) - 1)
    yield Figure(
        name="matrix",
        what=f"matrix of {len(rows) - 1} patches of {last.name}, {len(names)} scenarios,"
        " after a change to the last patch",
        samples=tuple(seconds),
        unit="s",
        bar=45.0,
        fault=fault,
    )


def _split(plan: Plan, stack: Stack) -> Sequence[Prefix]:
    _, found = prefixes.open_split(plan.lab.workspace, stack)
    return found


def _ask(
    plan: Plan, asker: Asker, names: Sequence[str], found: Sequence[Prefix]
) -> list[MatrixRow]:
    walk = Walk(asker=asker, inspector=plan.lab.inspector, names=names, on_step=plan.on_step)
    return list(walk.rows(found))


def _find_fault(rows: Sequence[MatrixRow], known: int) -> str:
    """What makes the time worth nothing: a row that does not run, or that was not known."""
    for row in rows:
        if not row.arms:
            return f"patch {row.number} does not run: {dict(row.check.gates)}"
    if known and (count := sum(row.known == set(row.arms) for row in rows)) != known:
        return f"{count} rows were known instead of {known}"
    return ""


def _change(workspace: Workspace, stack: Stack, found: Sequence[Prefix], into: Path) -> Stack:
    """The stack with a line of code more in its last patch, as patch files in a folder."""
    last, before = found[-1].revision, found[-2].revision
    if last is None or before is None:
        raise UsageError(f"{stack.name} does not apply", hint=f"nsaudit patches check {stack.name}")
    tree: Tree = last.source
    changes = hunks.find_hunks(tree, tree.root, last.commit)
    code = [one for one in changes if hunks.is_in(one, ["*.c"])]
    text = hunks.read_file(tree, last.commit, code[-1].file)
    line = f"\nstatic const int nsaudit_{secrets.token_hex(4)} __maybe_unused;\n"
    with workspace.lock(f"tree-{stack.base.name}"):
        top = tree.commit_with(last.commit, code[-1].file, text + line)
        content = tree.tree_of(top)
        squashed = git(
            tree.folder, "commit-tree", "-p", before.commit, "-m", "the last one", content
        )
        (patch,) = export(tree.folder, before.commit, squashed, into)
    one = stack.series[-1]
    base = stack.base.name
    patches = {base: (*one.patches[base][:-1], patch)}
    series = (*stack.series[:-1], dataclasses.replace(one, patches=patches))
    return dataclasses.replace(stack, series=series)
