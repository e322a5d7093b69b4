"""A series patch by patch: the stacks that its first patches make, and how far they apply."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ApplyError
from harness.kernel.tree import Revision, Tree, open_tree
from harness.model import Series, Stack
from harness.workspace import Workspace

log = logging.getLogger(__name__)

_TAG = "[PATCH] "


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """The last series of a stack up to patch ``number``; 0 is what the series stands on.

    ``stack`` is what is built of it, and ``refused`` says why the patch does not apply.
    ``revision`` is there for those that do.
    """

    number: int
    stack: Stack
    series: str
    patch: Path | None = None
    revision: Revision | None = None
    refused: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The first line of the patch's message, or what the series stands on."""
        if self.patch is None:
            below = [one.name for one in self.stack.series]
            return " + ".join([self.stack.base.name, *below])
        return read_subject(self.patch)


def upto(stack: Stack, count: int) -> Stack:
    """The stack with its first ``count`` patches; a series with none of them is left out."""
    kept: list[Series] = []
    for one in stack.series:
        patches = one.patches[stack.base.name][:count]
        if patches:
            kept.append(dataclasses.replace(one, patches={stack.base.name: patches}))
        count -= len(patches)
    return dataclasses.replace(stack, series=tuple(kept))


def apply(tree: Tree, stack: Stack) -> tuple[Sequence[str], tuple[str, ...]]:
    """The commits of the patches that apply, and why the next one does not."""
    try:
        return tree.commits_of(stack), ()
    except ApplyError as error:
        refused = error
    commits: Sequence[str] = ()
    for count in range(1, len(stack.patches)):
        try:
            commits = tree.commits_of(upto(stack, count))
        except ApplyError:
            break
    said = (line.strip() for line in refused.message.splitlines())
    return commits, (*said, refused.hint)


def open_split(
    workspace: Workspace, stack: Stack, on_step: Callable[[str], None] = log.info
) -> tuple[Tree, Sequence[Prefix]]:
    """The tree of a stack's base, fetched where it is new, and what ``split`` says there."""
    with workspace.lock(f"tree-{stack.base.name}"):
        tree = open_tree(workspace, stack.base, on_step)
        return tree, split(tree, stack)


def split(tree: Tree, stack: Stack) -> Sequence[Prefix]:
    """What the last series of a stack stands on, and then the series with each patch more.

    Hold ``tree-<base>``. Raises ApplyError when one of the series before it does not apply.
    """
    last = stack.series[-1]
    patches = last.patches[stack.base.name]
    ground = upto(stack, len(stack.patches) - len(patches))
    # All that stands below has to apply, whatever becomes of the series.
    below = tree.commit_of(ground)
    commits, refused = apply(tree, stack)
    commits = [below, *commits[len(ground.patches) :]]
    name = f"{stack.name}-0000" if ground.series else f"vanilla-{stack.base.name}"
    found = []
    for number in range(len(patches) + 1):
        one = upto(stack, len(ground.patches) + number)
        one = dataclasses.replace(one, name=f"{stack.name}-{number:04}" if number else name)
        applies = number < len(commits)
        found.append(
            Prefix(
                number=number,
                stack=one,
                series=last.name,
                patch=patches[number - 1] if number else None,
                revision=tree.revision(commits[number], one) if applies else None,
                refused=refused if number == len(commits) else (),
            )
        )
    return found


def read_subject(patch: Path) -> str:
    """The first line of a patch's message, whole."""
    head = patch.read_text(errors="replace").partition("\n\n")[0].splitlines()
    subject, reading = "", False
    for line in head:
        if reading := line.startswith("Subject: ") or (reading and line.startswith(" ")):
            subject += line
    return subject.removeprefix("Subject: ").removeprefix(_TAG)
