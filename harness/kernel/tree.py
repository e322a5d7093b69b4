"""The source of a stack as git knows it: the pristine base as a root commit, patches on top.

Each base has one repository. Its unpatched stack and the unfixes share one worktree: going
from one to another touches only the files in which they differ, so that ``make`` compiles
only those. A series that is more than a small difference has a worktree of its own, its
lane, or each change of stack would compile everything. Patches are applied elsewhere, in a
sparse worktree that holds just the files that they name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import proc
from harness.errors import ApplyError, CommandFailed
from harness.kernel import macros, sources
from harness.model import Base, Stack
from harness.workspace import Workspace, digest

log = logging.getLogger(__name__)

# Commits must come out the same whoever makes them, and whatever git is told elsewhere.
ENVIRONMENT: Mapping[str, str] = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "nsaudit",
    "GIT_AUTHOR_EMAIL": "nsaudit@localhost",
    "GIT_AUTHOR_DATE": "2000-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "nsaudit",
    "GIT_COMMITTER_EMAIL": "nsaudit@localhost",
    "GIT_COMMITTER_DATE": "2000-01-01T00:00:00Z",
}
_NAMED = re.compile(r"^(?:diff --git a/(\S+) b/(\S+)|rename (?:from|to) (\S+))$", re.MULTILINE)
_REFUSED = re.compile(r"error: (?:patch failed: )?(\S+?)(?::\d+)?(?:: |$)", re.MULTILINE)
# What can name a macro of a header.
_SOURCES = ("*.c", "*.h", "*.S", "*.lds*", "*.dts*")
_NUMBER = re.compile(r"^Patch failed at (\d+)", re.MULTILINE)


def git(folder: Path, *words: str | Path, **options: object) -> str:
    """Runs git in a folder and returns its output, stripped of the last newline."""
    done = proc.run(["git", "-C", folder, *words], env=ENVIRONMENT, **options)  # type: ignore[arg-type]
    return done.stdout.rstrip("\n")


def export(folder: Path, start: str, end: str, into: Path, *, first: int = 1) -> Sequence[Path]:
    """Writes the commits after ``start`` up to ``end`` as patches, always in the same form.

    The files come out in their order, numbered from ``first``.
    """
    form = ("--zero-commit", "--no-signature", "--full-index", "-N")
    words = (f"--start-number={first}", "--output-directory", into, f"{start}..{end}")
    return [Path(line) for line in git(folder, "format-patch", *form, *words).splitlines()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A commit that can be built: where it is, its tree id, and the stack in whose lane it is.

    What is built of it goes by the name of the stack, whose patches need not be its content.
    """

    source: Tree
    commit: str
    content: str
    stack: Stack


class Tree:
    """The repository of one base.

    What makes commits expects the lock ``tree-<base>`` to be held; ``check_out`` that of the
    lane, and of the base's own worktree both.
    """

    def __init__(self, workspace: Workspace, base: Base, folder: Path, root: str) -> None:
        self.workspace = workspace
        self.base = base
        self.folder = folder
        self.root = root
        self._trees: dict[str, str] = {}

    def commit_of(self, stack: Stack) -> str:
        """The commit of a stack: its patches, exactly, on the root commit.

        Raises ApplyError that names the patch, the file and the next command.
        """
        if not stack.patches:
            return self.root
        contents = [path.read_bytes() for path in stack.patches]
        ref = f"refs/nsaudit/{digest(self.root, *contents)}"
        known = proc.run(
            ["git", "-C", self.folder, "rev-parse", "--verify", "-q", ref],
            env=ENVIRONMENT,
            check=False,
        )
        if known.status == 0:
            return known.stdout.strip()
        commit = self._apply(stack, [raw.decode(errors="replace") for raw in contents])
        git(self.folder, "update-ref", ref, commit)
        return commit

    def commits_of(self, stack: Stack) -> Sequence[str]:
        """The commits of a stack's patches, in their order. Raises as ``commit_of`` does."""
        words = ("rev-list", "--reverse", f"{self.root}..{self.commit_of(stack)}")
        return git(self.folder, *words).split()

    def tree_of(self, commit: str) -> str:
        """The tree id of a commit: the same content has the same id, everywhere."""
        if commit not in self._trees:
            self._trees[commit] = git(self.folder, "rev-parse", f"{commit}^{{tree}}")
        return self._trees[commit]

    def revision(self, commit: str, stack: Stack) -> Revision:
        """A commit, to be built in the lane of a stack and under its name."""
        return Revision(source=self, commit=commit, content=self.tree_of(commit), stack=stack)

    def commit_with(self, commit: str, file: str, text: str) -> str:
        """A commit on top of another in which one file has this content."""
        with self.workspace.scratch() as scratch:
            env = {**ENVIRONMENT, "GIT_INDEX_FILE": str(scratch / "index")}

            def ask(*words: str) -> str:
                done = proc.run(["git", "-C", self.folder, *words], env=env)
                return done.stdout.strip()

            (scratch / "text").write_text(text)
            blob = ask("hash-object", "-w", str(scratch / "text"))
            mode = ask("ls-tree", commit, file).partition(" ")[0]
            ask("read-tree", commit)
            ask("update-index", "--cacheinfo", f"{mode},{blob},{file}")
            return ask(
                "commit-tree", "-p", commit, "-m", f"without a part of {file}", ask("write-tree")
            )

    def check_out(self, commit: str, lane: str = "") -> Path:
        """Makes a lane's worktree hold a commit, touching only the files that differ."""
        folder = self.folder
        if lane:
            folder = self.workspace.work("trees", f"{self.folder.name}-{lane}")
            if not (folder / ".git").exists():
                git(self.folder, "worktree", "add", "--quiet", "--detach", folder, commit)
            (self.folder / ".git" / "worktrees" / folder.name / "index.lock").unlink(
                missing_ok=True
            )
        uapi = git(folder, "diff", "--name-only", "HEAD", commit, "--", macros.HEADERS)
        headers = list(macros.note(folder / name for name in uapi.splitlines()))
        git(folder, "checkout", "--quiet", "--force", "--detach", commit)
        renewed = list(macros.keep_times(headers, lambda names: _find_users(folder, names)))
        if renewed:
            # What has not the time that git knows, git writes again the next time.
            git(folder, "update-index", "--", *renewed)
        return folder

    def _apply(self, stack: Stack, texts: Sequence[str]) -> str:
        named = {name for text in texts for found in _NAMED.findall(text) for name in found if name}
        with self.workspace.scratch() as scratch:
            folder = scratch / "sparse"
            git(self.folder, "worktree", "add", "--no-checkout", "--detach", folder, self.root)
            try:
                patterns = "\n".join(f"/{name}" for name in sorted(named))
                sparse = ("sparse-checkout", "set", "--no-cone", "--stdin")
                git(folder, *sparse, given=patterns.encode())
                git(folder, "checkout", "--quiet", "--detach", self.root)
                try:
                    git(folder, "am", "--no-3way", "--quiet", *stack.patches)
                except CommandFailed as error:
                    raise self._explain(stack, folder, error) from error
                return git(folder, "rev-parse", "HEAD")
            finally:
                git(self.folder, "worktree", "remove", "--force", folder)

    def _explain(self, stack: Stack, folder: Path, error: CommandFailed) -> ApplyError:
        number = _NUMBER.search(error.output)
        # git am stops at the first that fails and numbers from 1.
        patch = stack.patches[int(number[1]) - 1 if number else 0]
        refused = _REFUSED.search(error.output)
        file = refused[1] if refused else "?"
        reverse = proc.run(
            ["git", "-C", folder, "apply", "--check", "--reverse", patch],
            env=ENVIRONMENT,
            check=False,
        )
        if reverse.status == 0:
            return ApplyError(
                f"{patch.name} is in {stack.base.name} already (stack {stack.name})",
                hint=f"take it out of {patch.parent}",
            )
        return ApplyError(
            f"{patch.name} does not apply to {stack.base.name}\n"
            f"  stack: {stack.name}      file: {file}",
            hint=f"nsaudit patches edit {stack.name}    (it stops at the conflict)",
        )


def _find_users(folder: Path, names: Collection[str]) -> Sequence[Path]:
    """The sources that name one of these macros."""
    patterns = [word for name in sorted(names) for word in ("-e", name)]
    words = ("grep", "--files-with-matches", "--word-regexp", "--fixed-strings", *patterns)
    done = proc.run(["git", "-C", folder, *words, "--", *_SOURCES], env=ENVIRONMENT, check=False)
    if done.status > 1:
        raise CommandFailed(f"git grep failed in {folder}: {done.stderr.strip()}")
    return [folder / name for name in done.stdout.splitlines()]


def open_tree(workspace: Workspace, base: Base, on_step: Callable[[str], None] = log.info) -> Tree:
    """The tree of a base; fetched and imported where it is new. Hold ``tree-<base>``."""
    fetched = sources.fetch(base, workspace)
    if fetched.note:
        log.warning("%s", fetched.note)
    folder = workspace.work("trees", f"{base.name}-{fetched.key[:12]}")
    mark = folder / ".git" / "nsaudit-root"
    if not mark.is_file():
        on_step(f"unpacking {base.name} ({fetched.version})")
        _import(fetched, folder)
        mark.write_text(git(folder, "rev-parse", "HEAD"))
    # A killed run may have left a lock of git's; ours says that nobody is at work here.
    (folder / ".git" / "index.lock").unlink(missing_ok=True)
    git(folder, "worktree", "prune")
    return Tree(workspace, base, folder, mark.read_text())


def _import(fetched: sources.Fetched, folder: Path) -> None:
    """Unpacks the pristine source and makes it the root commit."""
    proc.run(["find", folder, "-mindepth", "1", "-delete"])
    sources.unpack(fetched, folder)
    git(folder, "init", "--quiet")
    # Speed: 90,000 files that are thrown away with the folder need neither fsync nor deltas.
    for name, value in (
        ("core.fsync", "none"),
        ("core.looseCompression", "0"),
        ("gc.auto", "0"),
        ("maintenance.auto", "false"),
        ("core.untrackedCache", "false"),
        ("advice.detachedHead", "false"),
    ):
        git(folder, "config", name, value)
    git(folder, "add", "--all", "--force", deadline_s=1800)
    git(folder, "commit", "--quiet", "-m", f"{fetched.base} {fetched.version}")
