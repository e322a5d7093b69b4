"""A stack as commits, for somebody to change, and the way back into ``kernel-patches/``.

The commits are in a git worktree of the base's repository. Which series each belongs to stands
in git notes, which rebase and amend carry along, and a plan in git's own folder says how far the
stack has been applied. The files of a series are only ever written by exporting its commits.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ApplyError, CommandFailed, SeriesError, UsageError
from harness.kernel.tree import Tree, export, git
from harness.model import Stack
from harness.workspace import write_atomically

_NOTES = "nsaudit-series"
_PLAN = "nsaudit-edit.json"
# What git has in its folder while it is in the middle of something.
_AT_WORK = ("rebase-apply", "rebase-merge", "CHERRY_PICK_HEAD", "MERGE_HEAD", "REVERT_HEAD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What an export changed: names of patch files below ``kernel-patches``."""

    written: Sequence[str] = ()
    removed: Sequence[str] = ()
    same: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Plan:
    """How far a stack is applied: ``start`` is the commit below series number ``reached``."""

    stack: str
    root: str
    start: str
    reached: int

    @property
    def text(self) -> str:
        return json.dumps(dataclasses.asdict(self))


def open_commits(tree: Tree, stack: Stack, into: Path) -> Path:
    """Applies a stack's patches in a worktree, a commit each; returns where that is.

    A worktree that is open already is gone on with. Raises ApplyError where git am stopped,
    with the worktree left there. Hold ``tree-<base>``.
    """
    folder = find_open(tree, stack)
    if folder is None:
        folder = into
        _add(tree, stack, folder)
    plan = _settle(stack, folder)
    for one in stack.series[plan.reached :]:
        patches = one.patches[stack.base.name]
        try:
            git(folder, "am", "--3way", "--quiet", *patches)
        except CommandFailed as error:
            raise ApplyError(
                f"a patch of {one.name} does not apply to {stack.base.name}: git am has stopped"
                f" in {folder}",
                hint=f"mend it there, `git am --continue`, then nsaudit patches edit {stack.name}",
            ) from error
        plan = _settle(stack, folder)
    return folder


def refresh(tree: Tree, stack: Stack) -> Refreshed:
    """Exports the commits of an open stack over its patch files; cover letters stay.

    Raises UsageError and writes nothing when the worktree is not at rest, and SeriesError when
    a commit belongs to no series or a series has none. Hold ``tree-<base>``.
    """
    folder = find_open(tree, stack)
    if folder is None:
        raise UsageError(
            f"{stack.name} is not open anywhere", hint=f"nsaudit patches edit {stack.name}"
        )
    if busy := _find_work(folder):
        raise UsageError(f"{folder} is not at rest: {busy}", hint=f"git -C {folder} status")
    plan = _settle(stack, folder)
    if plan.reached < len(stack.series):
        raise UsageError(
            f"{stack.series[plan.reached].name} is not applied yet in {folder}",
            hint=f"nsaudit patches edit {stack.name}",
        )
    ranges = _attribute(stack, folder, plan.root)
    written: list[str] = []
    removed: list[str] = []
    same: list[str] = []
    for one, (start, end) in zip(stack.series, ranges, strict=True):
        home = one.patches[stack.base.name][0].parent
        with tree.workspace.scratch() as scratch:
            fresh = {path.name: path.read_text() for path in export(folder, start, end, scratch)}
        for path in sorted(home.glob("*.patch")):
            if path.name not in fresh and not path.name.startswith("0000-"):
                path.unlink()
                removed.append(f"{one.name}: {path.name}")
        for name, text in fresh.items():
            path = home / name
            if path.is_file() and path.read_text() == text:
                same.append(f"{one.name}: {name}")
                continue
            write_atomically(path, text)
            written.append(f"{one.name}: {name}")
    return Refreshed(written=written, removed=removed, same=same)


def find_open(tree: Tree, stack: Stack) -> Path | None:
    """The worktree in which a stack is open, if there is one."""
    for path in sorted((tree.folder / ".git" / "worktrees").glob(f"*/{_PLAN}")):
        if json.loads(path.read_text())["stack"] == stack.name:
            return Path((path.parent / "gitdir").read_text().strip()).parent
    return None


def _add(tree: Tree, stack: Stack, folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already", hint="name an empty folder with --into")
    git(tree.folder, "worktree", "add", "--quiet", "--detach", folder, tree.root)
    # New commits are the project's; whoever posts a patch adds a name then.
    for name, value in (
        ("user.name", "nsaudit"),
        ("user.email", "nsaudit@localhost"),
        ("notes.rewriteRef", f"refs/notes/{_NOTES}"),
        ("notes.rewriteMode", "concatenate"),
    ):
        git(tree.folder, "config", name, value)
    _keep(folder, _Plan(stack.name, tree.root, tree.root, 0))


def _git_folder(folder: Path) -> Path:
    return Path(git(folder, "rev-parse", "--absolute-git-dir"))


def _keep(folder: Path, plan: _Plan) -> None:
    write_atomically(_git_folder(folder) / _PLAN, plan.text)


def _settle(stack: Stack, folder: Path) -> _Plan:
    """Takes note of the series whose patches have been applied since the last time."""
    plan = _Plan(**json.loads((_git_folder(folder) / _PLAN).read_text()))
    if busy := _find_work(folder, dirty=False):
        raise UsageError(f"{folder} is not at rest: {busy}", hint=f"git -C {folder} status")
    head = git(folder, "rev-parse", "HEAD")
    if plan.reached == len(stack.series) or head == plan.start:
        return plan
    name = stack.series[plan.reached].name
    for commit in git(folder, "rev-list", f"{plan.start}..{head}").split():
        git(folder, "notes", f"--ref={_NOTES}", "add", "--force", "-m", name, commit)
    plan = dataclasses.replace(plan, start=head, reached=plan.reached + 1)
    _keep(folder, plan)
    return plan


def _find_work(folder: Path, *, dirty: bool = True) -> str:
    """What is unfinished in a worktree, or nothing."""
    place = _git_folder(folder)
    for name in _AT_WORK:
        if (place / name).exists():
            return f"git is in the middle of something ({name})"
    if dirty and (changed := git(folder, "status", "--porcelain")):
        return f"it has changes that are not committed ({changed.splitlines()[0].strip()})"
    return ""


def _attribute(stack: Stack, folder: Path, root: str) -> Sequence[tuple[str, str]]:
    """For each series, the commit below its first one and its last one."""
    if git(folder, "merge-base", root, "HEAD") != root:
        raise SeriesError(f"the commits in {folder} do not start at {stack.base.name}")
    if git(folder, "rev-list", "--merges", f"{root}..HEAD"):
        raise SeriesError(f"there is a merge in {folder}", hint="a series is a line of commits")
    commits = git(folder, "rev-list", "--reverse", f"{root}..HEAD").split()
    names = [one.name for one in stack.series]
    owners = attribute([_noted(folder, commit) for commit in commits], names)
    previous, last, ranges = root, 0, []
    for commit, owner in zip(commits, owners, strict=True):
        if owner is None or names.index(owner) < last:
            subject = git(folder, "log", "-1", "--format=%h (%s)", commit)
            raise SeriesError(
                f"to which series does {subject} belong?",
                hint=f"order them as {', '.join(names)}, and tell: git -C {folder} notes"
                f" --ref={_NOTES} add -f -m SERIES {commit[:12]}",
            )
        last = names.index(owner)
    for name in names:
        own = [one for one, owner in zip(commits, owners, strict=True) if owner == name]
        if not own:
            raise SeriesError(
                f"{name} has no commit left in {folder}",
                hint=f"take it out of stacks.toml, or git -C {folder} reflog",
            )
        ranges.append((previous, own[-1]))
        previous = own[-1]
    return ranges


def attribute(notes: Sequence[str], names: Sequence[str]) -> Sequence[str | None]:
    """The series of each commit, from its note and its place; None where that is open.

    A commit without a note is new: it belongs to the series on both sides of it, where the
    ends count as the first and the last series. A note of two series comes of squashing.
    """
    told = [set(note.split()) for note in notes]
    owners: list[str | None] = []
    for number, own in enumerate(told):
        if own:
            owners.append(next(iter(own)) if len(own) == 1 and own <= set(names) else None)
            continue
        before = next((one for one in reversed(told[:number]) if one), {names[0]})
        after = next((one for one in told[number + 1 :] if one), {names[-1]})
        owners.append(next(iter(before)) if before == after and len(before) == 1 else None)
    return owners


def _noted(folder: Path, commit: str) -> str:
    return git(folder, "log", "-1", f"--notes={_NOTES}", "--format=%N", commit)
