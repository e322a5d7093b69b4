"""The gates that each patch of a stack has to pass, one after another, before anybody reads it.

Owns the order of the gates and what each of them runs. A gate compares a patch with the one
before it, so that nobody answers for what was there already. Results are kept by content (tree,
configuration, patch, version of the gates): a patch that changes is looked at again with all
that follow it, and nothing else is. That something failed to build or to boot is never kept.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import proc
from harness.errors import (
    BuildError,
    CommandFailed,
    DeadlineExceeded,
    GuestCrashed,
    GuestLost,
    HarnessError,
    HostMissing,
)
from harness.kernel import complaints, prefixes
from harness.kernel.build import BUILD_LOG, Builder, compiler, lane_lock
from harness.kernel.complaints import Complaint
from harness.kernel.tables import checked, read_toml
from harness.kernel.tree import Revision, Tree, export, git, open_tree
from harness.model import Kernel, PatchCheck, Series, Stack
from harness.workspace import digest, write_atomically

APPLIES = "applies"
EXPORT = "export"
CHECKPATCH = "checkpatch"
DOC = "doc"
BUILDS = "W=1"
BOOTS = "boots"
_VERSION = "1"
# A worktree and object folders of their own: what W=1 compiles is not what others build on.
_LANE = "gates"
# What make is asked for. W=1 also runs kernel-doc on each file that it compiles, of which the
# gate for documentation looks at all that a patch touches, and none else can have changed.
_WARNINGS = ("W=1", "cmd_checkdoc=")
_MEMORY = "nsaudit-warnings.json"
# The host's programs, and the Python that codespell and spdxcheck.py belong to.
_HOST_PATH = "/usr/bin:/bin"

# Where a patch stands: the blobs that it changes, and the lines and the functions of its hunks,
# but not how long these are.
_PLACE = re.compile(r"^(?:index [0-9a-f]+\.\.[0-9a-f]+|@@ -\d+(,\d+)? \+\d+(,\d+)? @@.*)")

Boot = Callable[[Kernel], None]


@dataclass(frozen=True, slots=True)
class _Step:
    """A patch that applies: where it stands in its series, and the commits around it."""

    series: Series
    patch: Path
    number: int
    parent: str
    commit: str


def load_ignored(file: Path) -> Mapping[str, str]:
    """The types of checkpatch that are not acted on, each with its reason."""
    table = read_toml(file).get("ignore", {})
    return checked(table, dict.fromkeys(table, str), f"{file.name}: [ignore]", {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspector:
    """All gates, for the stacks of one run.

    ``ignored`` are checkpatch's types, ``boot`` starts a guest on a kernel, runs one command
    and ends it, and raises what is wrong with that.
    """

    builder: Builder
    ignored: Mapping[str, str]
    boot: Boot

    def check(self, stack: Stack) -> Iterator[PatchCheck]:
        """What the gates say of each patch of a stack, as soon as it is known.

        Raises HostMissing when a gate cannot be run here.
        """
        _require_tools()
        workspace = self.builder.workspace
        with workspace.lock(f"tree-{stack.base.name}"):
            tree = open_tree(workspace, stack.base, self.builder.on_step)
            applied, refused = prefixes.apply(tree, stack)
        steps = list(_steps(tree, stack, applied))
        seen: dict[str, tuple[Complaint, ...]] = {}
        for step in steps:
            self.builder.on_step(f"checking {step.series.name}, patch {step.number}")
            with workspace.lock(lane_lock(_name(stack))):
                gates = dict(self._gates(tree, stack, step, seen))
            yield _row(step.series, step.patch, gates)
        left = [(one, patch) for one in stack.series for patch in one.patches[stack.base.name]]
        for number, (one, patch) in enumerate(left[len(steps) :]):
            yield _row(one, patch, {APPLIES: refused} if number == 0 else {})

    def _gates(
        self,
        tree: Tree,
        stack: Stack,
        step: _Step,
        seen: dict[str, tuple[Complaint, ...]],
    ) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Each gate with what it complains of. ``seen`` holds each build before this patch."""
        yield APPLIES, ()
        yield EXPORT, self._check_export(tree, step)
        yield CHECKPATCH, self._check_style(tree, step)
        yield DOC, self._check_documentation(tree, step)
        config = self.builder.config
        built, said = self._check_build(tree, stack, step, config, seen)
        yield BUILDS, said
        for other in step.series.without:
            yield other, self._check_build(tree, stack, step, other, seen)[1]
        if built:
            yield BOOTS, self._check_boot(tree, stack, step)

    # -- what needs the text only --------------------------------------------------

    def _check_export(self, tree: Tree, step: _Step) -> tuple[str, ...]:
        with self.builder.workspace.scratch() as scratch:
            (made,) = export(tree.folder, step.parent, step.commit, scratch, first=step.number)
            if made.name != step.patch.name:
                return (f"exported again it is called {made.name}",)
            if different := _find_difference(step.patch, made):
                return (f"exported again it differs: {different}",)
        return ()

    def _check_style(self, tree: Tree, step: _Step) -> tuple[str, ...]:
        def run() -> Sequence[Complaint]:
            folder = tree.check_out(step.parent, _LANE)
            options = ("--strict", "--no-signoff", "--max-line-length=80", "--codespell")
            form = ("--show-types", "--terse", "--showfile", "--no-summary", "--color=never")
            ignore = [f"--ignore={','.join(self.ignored)}"] if self.ignored else []
            done = proc.run(
                ["perl", "scripts/checkpatch.pl", *options, *form, *ignore, step.patch],
                cwd=folder,
                env={"PATH": _HOST_PATH},
                check=False,
            )
            # It goes on without a dictionary or a module, and would be silently content.
            if done.stderr.strip():
                raise HostMissing(
                    f"checkpatch.pl cannot do its work: {done.stderr.strip().splitlines()[-1]}",
                    hint="apt-get install codespell python3-git python3-ply"
                    "    (or run ci/quickstart)",
                )
            found = complaints.parse_checkpatch(done.stdout)
            if done.status != 0 and not found:
                raise HarnessError(f"checkpatch.pl says what nobody understands: {done.stdout}")
            return found

        text = json.dumps(sorted(self.ignored))
        parts = (tree.tree_of(step.parent), text.encode(), step.patch.read_bytes())
        return _lines(self._kept(CHECKPATCH, parts, run))

    def _check_documentation(self, tree: Tree, step: _Step) -> tuple[str, ...]:
        def run() -> Sequence[Complaint]:
            before, after = (
                self._document(tree, commit, step) for commit in (step.parent, step.commit)
            )
            return complaints.find_new(before, after)

        parts = (tree.tree_of(step.parent), tree.tree_of(step.commit))
        return _lines(self._kept(DOC, parts, run))

    def _document(self, tree: Tree, commit: str, step: _Step) -> Sequence[Complaint]:
        """What kernel-doc complains of in the files that a patch touches, at a commit."""
        folder = tree.check_out(commit, _LANE)
        words = ("diff", "--name-only", "--no-renames", step.parent, step.commit)
        names = [
            name
            for name in git(folder, *words, "--", "*.c", "*.h").splitlines()
            if (folder / name).is_file()
        ]
        if not names:
            return ()

        def ask(*words: str) -> proc.Completed:
            script = folder / "scripts" / "kernel-doc"
            env = {"PATH": _HOST_PATH}
            return proc.run([script, "-none", *words], cwd=folder, env=env, check=False)

        # Where there is no -Wall yet, as in 6.1, -v tells all that it would.
        every = "-v" if ask("-Wall", os.devnull).status else "-Wall"
        done = ask(every, *names)
        said = complaints.parse_warnings(done.stderr)
        if done.status != 0 and not said:
            raise CommandFailed(f"kernel-doc failed: {done.stderr.strip()[-300:]}")
        return said

    def _kept(
        self, gate: str, parts: Sequence[str | bytes], run: Callable[[], Sequence[Complaint]]
    ) -> tuple[Complaint, ...]:
        def fill(folder: Path) -> None:
            (folder / "complaints.json").write_text(_render(run()))

        key = digest(_VERSION, gate, *parts)
        return _parse(self.builder.workspace.make("gate", key, fill) / "complaints.json")

    # -- what needs a compiler -----------------------------------------------------

    def _check_build(
        self,
        tree: Tree,
        stack: Stack,
        step: _Step,
        config: str,
        seen: dict[str, tuple[Complaint, ...]],
    ) -> tuple[bool, tuple[str, ...]]:
        """Whether it builds, and what is new in what the compiler says of it."""
        if config not in seen:
            seen[config] = self._warnings(tree, stack, step.parent, config)
        try:
            after = self._warnings(tree, stack, step.commit, config)
        except BuildError as error:
            return False, (error.message, error.hint)
        before, seen[config] = seen[config], after
        return True, _lines(complaints.find_new(before, after))

    def _warnings(
        self, tree: Tree, stack: Stack, commit: str, config: str
    ) -> tuple[Complaint, ...]:
        """All warnings of a whole tree. Raises BuildError."""
        builder = dataclasses.replace(self.builder, config=config)
        wanted = builder.wanted(stack.base).digest

        def fill(folder: Path) -> None:
            _, found = self._compile(tree, stack, commit, config)
            (folder / "complaints.json").write_text(_render(found))

        key = _warnings_key(tree.tree_of(commit), wanted)
        return _parse(self.builder.workspace.make("gate", key, fill) / "complaints.json")

    def new_warnings(
        self, before: Revision, after: Revision, *, build: bool = False
    ) -> tuple[str, ...] | None:
        """What the compiler (W=1) complains of that it did not before; None where nobody knows.

        It is known of what went through the gates; only with ``build`` the rest is built.
        """
        if build:
            with self.builder.workspace.lock(lane_lock(_name(after.stack))):
                old, new = (
                    self._warnings(one.source, one.stack, one.commit, self.builder.config)
                    for one in (before, after)
                )
            return _lines(complaints.find_new(old, new))
        wanted = self.builder.wanted(after.stack.base).digest
        kept = [
            self.builder.workspace.find("gate", _warnings_key(one.content, wanted))
            for one in (before, after)
        ]
        found = [_parse(entry / "complaints.json") for entry in kept if entry]
        return _lines(complaints.find_new(*found)) if len(found) == len(kept) else None

    def _compile(
        self, tree: Tree, stack: Stack, commit: str, config: str
    ) -> tuple[Path, Sequence[Complaint]]:
        """The object folder, brought to a commit, and all warnings of what is in it.

        An object folder remembers the warnings of everything in it; one that a killed build
        left without its memory is begun anew.
        """
        builder = dataclasses.replace(self.builder, config=config)
        wanted = builder.wanted(stack.base)
        source = tree.check_out(commit, _LANE)
        objects = builder.objects(_name(stack), wanted)
        memory = objects / _MEMORY
        if memory.is_file():
            known = _parse(memory)
            memory.unlink()
        else:
            known = ()
            proc.run(["find", objects, "-mindepth", "1", "-delete"])
        log = objects / BUILD_LOG
        log.unlink(missing_ok=True)
        failed: BuildError | None = None
        try:
            builder.compile(stack, source, objects, wanted, "vmlinux", options=_WARNINGS)
        except BuildError as error:
            # What it did compile will not be compiled again, so that is remembered too.
            failed = error
        text = log.read_text(errors="replace") if log.is_file() else ""
        said = complaints.parse_warnings(text, source.name)
        known = complaints.merge(known, said, complaints.parse_compiled(text))
        write_atomically(memory, _render(known))
        if failed:
            raise failed
        return objects, known

    def _check_boot(self, tree: Tree, stack: Stack, step: _Step) -> tuple[str, ...]:
        config = self.builder.config
        wanted = self.builder.wanted(stack.base)
        source = tree.tree_of(step.commit)

        def fill(folder: Path) -> None:
            objects, _ = self._compile(tree, stack, step.commit, config)
            kernel = Kernel(
                stack=stack.name,
                base=stack.base.name,
                release="",
                series=(),
                tree=source,
                config=objects / ".config",
                config_digest=wanted.digest,
                vmlinux=objects / "vmlinux",
            )
            self.boot(kernel)
            (folder / "complaints.json").write_text(_render(()))

        key = digest(_VERSION, BOOTS, source, wanted.digest, compiler())
        try:
            self.builder.workspace.make("gate", key, fill)
        except (GuestCrashed, GuestLost, DeadlineExceeded) as error:
            return (error.message, f"its console: {error.log}" if error.log else error.hint)
        return ()


def _name(stack: Stack) -> str:
    return f"{stack.base.name}-{_LANE}"


def _warnings_key(content: str, wanted: str) -> str:
    return digest(_VERSION, *_WARNINGS, content, wanted, compiler())


def _require_tools() -> None:
    """Raises HostMissing for the first program that a gate needs and this host lacks."""
    for tool in ("git", "perl", "python3", "codespell"):
        proc.require_tool(tool)
    compiler()


def _steps(tree: Tree, stack: Stack, commits: Sequence[str]) -> Iterator[_Step]:
    parent, left = tree.root, iter(commits)
    for one in stack.series:
        for number, patch in enumerate(one.patches[stack.base.name], 1):
            commit = next(left, None)
            if commit is None:
                return
            yield _Step(one, patch, number, parent, commit)
            parent = commit


def _row(one: Series, patch: Path, gates: Mapping[str, tuple[str, ...]]) -> PatchCheck:
    subject = prefixes.read_subject(patch)
    return PatchCheck(series=one.name, patch=patch.name, subject=subject, gates=gates)


def _find_difference(ours: Path, made: Path) -> str:
    """The first line that an export has otherwise, or nothing.

    Where a patch stands does not count: a series that several stacks have stands on other
    blobs, and at other lines, in each of them, and is kept as one of them exports it.
    """
    old, new = (path.read_text(errors="replace").splitlines() for path in (ours, made))
    for number, (one, other) in enumerate(zip(old, new, strict=False), 1):
        if one != other and _unplaced(one) != _unplaced(other):
            return f"line {number} is {one!r} and becomes {other!r}"
    return f"{len(old)} lines become {len(new)}" if len(old) != len(new) else ""


def _unplaced(line: str) -> str:
    return _PLACE.sub(lambda found: f"{found[1]} {found[2]}", line)


def _lines(found: Sequence[Complaint]) -> tuple[str, ...]:
    return tuple(str(one) for one in found)


def _render(found: Sequence[Complaint]) -> str:
    return json.dumps([dataclasses.astuple(one) for one in found], indent=0)


def _parse(file: Path) -> tuple[Complaint, ...]:
    return tuple(Complaint(*one) for one in json.loads(file.read_text()))
