"""A line of commits to search in, by git's own bisection, and a developer's history to build from.

Neither changes the repository that is looked at: both work in one of ours that borrows its
objects (git clone --shared).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness import proc
from harness.errors import CommandFailed, HarnessError, UsageError
from harness.kernel.tree import ENVIRONMENT, Revision, Tree, git
from harness.model import Base, Series, Stack
from harness.workspace import Workspace, digest

_FIRST = re.compile(r"^([0-9a-f]{40,64}) is the first bad commit", re.MULTILINE)
_COMMIT = re.compile(r"^([0-9a-f]{40,64})$", re.MULTILINE)
# What git bisect ends with when all that is left was skipped (bisect.h of its source).
_ONLY_SKIPPED = 2


class Answer(StrEnum):
    """What a commit is like: the old end, the new end, or nobody can tell."""

    OLD = "good"
    NEW = "bad"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Found:
    """The first commit that is like the new end; several where those between were skipped."""

    candidates: tuple[str, ...]

    @property
    def first(self) -> str:
        """The one commit, or nothing where it is one of several."""
        return self.candidates[0] if len(self.candidates) == 1 else ""


def resolve(folder: Path, name: str) -> str:
    """The commit that a name stands for in a repository. Raises UsageError for none."""
    try:
        return git(folder, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    except CommandFailed as error:
        raise UsageError(
            f"{name!r} is no commit of {folder}", hint=f"git -C {folder} log"
        ) from error


def require_kernel(folder: Path, commit: str) -> None:
    """Raises UsageError unless a commit has a kernel's source."""
    for name in ("Kconfig", "Makefile"):
        words: list[str | Path] = ["git", "-C", folder, "cat-file", "-e", f"{commit}:{name}"]
        if proc.run(words, env=ENVIRONMENT, check=False).status:
            raise UsageError(
                f"{commit[:12]} of {folder} is no kernel tree: it has no {name}",
                hint="name a kernel's repository with --tree, or a series with --series",
            )


def is_ancestor(folder: Path, one: str, other: str) -> bool:
    """True when ``one`` is below ``other``, or is the same."""
    words: list[str | Path] = ["git", "-C", folder, "merge-base", "--is-ancestor", one, other]
    return proc.run(words, env=ENVIRONMENT, check=False).status == 0


def describe(folder: Path, commit: str) -> str:
    """The first line of a commit's message."""
    return git(folder, "log", "-1", "--format=%s", commit)


def bisect(
    workspace: Workspace, folder: Path, old: str, new: str, ask: Callable[[str], Answer]
) -> Found:
    """Has git choose the commits between two, and ``ask`` what each is like.

    Nothing is checked out. Raises UsageError when the two have no line of commits between them.
    """
    with workspace.scratch() as scratch:
        place = scratch / "bisect.git"
        git(scratch, "clone", "--quiet", "--bare", "--shared", "--no-tags", folder, place)
        # Where it comes back to; the branch that HEAD names may have no commit yet.
        git(place, "update-ref", "--no-deref", "HEAD", old)
        said = _say(place, "start", "--no-checkout", new, old)
        while not (found := _read(said)):
            current = git(place, "rev-parse", "--verify", "BISECT_HEAD")
            said = _say(place, ask(current).value, current)
    return found


def _say(place: Path, *words: str) -> proc.Completed:
    command: list[str | Path] = ["git", "-C", place, "bisect", *words]
    return proc.run(command, env=ENVIRONMENT, check=False)


def _read(said: proc.Completed) -> Found | None:
    """What git found, None where it goes on."""
    if first := _FIRST.search(said.stdout):
        return Found((first[1],))
    if said.status == _ONLY_SKIPPED:
        return Found(tuple(_COMMIT.findall(said.stdout)))
    if said.status:
        text = (said.stderr or said.stdout).strip()
        kind = UsageError if "merge base" in text else HarnessError
        raise kind(f"git bisect does not go on: {text}")
    return None


def open_history(workspace: Workspace, base: Base, folder: Path, own: Tree) -> Tree:
    """A repository of ours with a developer's commits. Hold ``tree-<base>``.

    For a worktree of the base's own repository, as ``patches edit`` makes them, that is ``own``:
    there most objects are built already.
    """
    try:
        common = git(folder, "rev-parse", "--path-format=absolute", "--git-common-dir")
    except CommandFailed as error:
        raise UsageError(f"{folder} is in no git repository") from error
    if Path(common).resolve() == (own.folder / ".git").resolve():
        return own
    place = workspace.work("trees", f"history-{digest(common)[:12]}")
    if not (place / ".git").is_dir():
        words = ("clone", "--quiet", "--shared", "--no-checkout", "--no-tags")
        git(place.parent, *words, "--config", "gc.auto=0", folder, place)
    return Tree(workspace, base, place, "")


def revision_of(tree: Tree, commit: str) -> Revision:
    """A commit of a developer's history; all of one repository are built in one lane."""
    base = tree.base
    lane = Series(
        name=tree.folder.name,
        title="somebody's own",
        origin="ours",
        needs=(),
        proves=(),
        patches={base.name: ()},
    )
    # The base's own repository has a root, and with it a lane that everybody builds in.
    lanes = () if tree.root else (lane,)
    return tree.revision(commit, Stack(name=f"commit-{commit[:12]}", base=base, series=lanes))
