"""Builds kernels: a stack and a configuration in, ``vmlinux`` out, cached by content.

The key of a kernel is its tree id, its configuration, the compiler and this recipe. All
stacks of one base, configuration and lane share one object folder and one worktree, always
at the same paths, so that going from one to another compiles what differs and links.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness import proc
from harness.errors import BuildError, CommandFailed, UsageError
from harness.kernel import ccache, coverage, kconfig
from harness.kernel.kconfig import Kconfig
from harness.kernel.tree import Revision, Tree, git, open_tree
from harness.model import Base, Kernel, Stack
from harness.workspace import Workspace, digest, file_digest, write_atomically

log = logging.getLogger(__name__)

_RECIPE = "1"
BUILD_LOG = "nsaudit-build.log"
_DEADLINE_S = 4 * 3600.0
# A kernel must not know when, where and by whom it was built.
_IDENTITY = (
    "KBUILD_BUILD_TIMESTAMP=2000-01-01",
    "KBUILD_BUILD_USER=nsaudit",
    "KBUILD_BUILD_HOST=nsaudit",
    # Nor how often its folder was built in.
    "KBUILD_BUILD_VERSION=1",
    "LOCALVERSION=",
)
_COMPILED = re.compile(r"  (?:CC|AS|HOSTCC) +\S")
_COMPLAINT = re.compile(r"(?:\berror\b|undefined reference|\*\*\*)", re.IGNORECASE)
_SYMBOL = re.compile(r"^(?:menu)?config (\w+)$", re.MULTILINE)
_BZIMAGE = Path("arch/x86/boot/bzImage")
# What a build inside a tree leaves; make refuses to build out of a tree that has any of it
# (rule outputmakefile of the kernel's Makefile).
_IN_PLACE = (".config", "include/config", "arch/x86/include/generated")


class Progress(Protocol):
    """Called as a build goes on: files compiled, about how many there are, seconds."""

    def __call__(self, stack: str, done: int, expected: int, seconds: float, /) -> None: ...


def no_progress(_stack: str, _done: int, _expected: int, _seconds: float, /) -> None:
    """Shows nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """What all builds of one run have in common.

    ``kconfigs`` is the folder of fragments, ``values`` what their templates may name,
    ``config`` the configuration's name.
    """

    workspace: Workspace
    kconfigs: Path
    values: Mapping[str, object]
    config: str = "default"
    progress: Progress = no_progress
    on_step: Callable[[str], None] = log.info

    def build(self, stack: Stack, *, bzimage: bool = False) -> Kernel:
        """The kernel of a stack, from the cache where it is there."""
        # A configuration that does not exist is told before a source is fetched for it.
        self.require_config(self.config)
        return self.build_revision(self.revision_of(stack), bzimage=bzimage)

    def revision_of(self, stack: Stack) -> Revision:
        """The commit of a stack, made where it is new, as its base is fetched.

        Raises ApplyError, and what a fetch raises.
        """
        with self.workspace.lock(f"tree-{stack.base.name}"):
            source = open_tree(self.workspace, stack.base, self.on_step)
            return source.revision(source.commit_of(stack), stack)

    def key_of(self, revision: Revision) -> str:
        """What a revision's kernel is called in the cache: the same content, the same kernel."""
        wanted = self.wanted(revision.stack.base)
        return digest(_RECIPE, revision.content, wanted.digest, compiler())

    def build_revision(self, revision: Revision, *, bzimage: bool = False) -> Kernel:
        """The kernel of a commit, from the cache where it is there."""
        stack = revision.stack
        wanted, key = self.wanted(stack.base), self.key_of(revision)

        def compile_target(target: str, keep: Callable[[Path], object]) -> None:
            with self._checked_out(revision.source, revision.commit, stack) as folder:
                objects = self.objects(_name(stack), wanted)
                self.compile(stack, folder, objects, wanted, target)
                keep(objects)

        def fill(folder: Path) -> None:
            compile_target("vmlinux", lambda objects: _keep(objects, folder))

        def fill_bzimage(folder: Path) -> None:
            compile_target("bzImage", lambda made: shutil.copy(made / _BZIMAGE, folder))

        entry = self.workspace.make("kernel", key, fill)
        image = self.workspace.make("bzimage", key, fill_bzimage) if bzimage else None
        return _describe(stack, entry, image and image / "bzImage", revision.content, wanted)

    def digest_of(self, revision: Revision) -> str:
        """SHA-256 of a revision's ``vmlinux``, compiled in its lane whatever the cache holds.

        Two that are equal are the same kernel, however different their sources look.
        """
        stack = revision.stack
        wanted = self.wanted(stack.base)
        with self._checked_out(revision.source, revision.commit, stack) as folder:
            objects = self.objects(_name(stack), wanted)
            self.compile(stack, folder, objects, wanted, "vmlinux")
            return file_digest(objects / "vmlinux")

    @contextlib.contextmanager
    def made(self, revision: Revision, target: str, source: Path) -> Iterator[Path]:
        """An object that a revision's makefiles make of a C file of ours, while the lane is held.

        ``target`` is its path in the object folder, where the file goes, too, for as long.
        """
        stack = revision.stack
        wanted = self.wanted(stack.base)
        with self._checked_out(revision.source, revision.commit, stack) as folder:
            objects = self.objects(_name(stack), wanted)
            copy = (objects / target).with_suffix(".c")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
            try:
                self.compile(stack, folder, objects, wanted, target)
                yield objects / target
            finally:
                copy.unlink()
                (objects / target).unlink(missing_ok=True)

    def build_directory(self, folder: Path, base: Base, *, bzimage: bool = False) -> Kernel:
        """The kernel of a developer's own tree as it stands, built out of it, incrementally.

        No file of the tree is written; for its id, git adds objects to its repository.
        Raises UsageError when it cannot be built out of tree.
        """
        if not all((folder / name).is_file() for name in ("Kconfig", "Makefile")):
            raise UsageError(
                f"{folder} is no kernel tree", hint="name the folder with Kconfig and Makefile"
            )
        if any((folder / name).exists() for name in _IN_PLACE):
            raise UsageError(
                f"{folder} was built in place, so make will not build it elsewhere",
                hint=f"make -C {folder} mrproper    (it removes your .config: save it)",
            )
        stack = Stack(name="tree", base=base)
        wanted = self.wanted(base)
        name = _tree_name(folder)
        with self.workspace.lock(name):
            objects = self.objects(name, wanted)
            targets = ["vmlinux", *(["bzImage"] if bzimage else [])]
            self.compile(stack, folder, objects, wanted, *targets)
            tree = _tree_id(folder)
            key = digest(_RECIPE, (objects / "vmlinux").read_bytes(), wanted.digest)
            entry = self.workspace.make("kernel", key, lambda made: _keep(objects, made))
            image = None
            if bzimage:

                def fill(made: Path) -> None:
                    shutil.copy(objects / _BZIMAGE, made / "bzImage")

                image = self.workspace.make("bzimage", key, fill)
        return _describe(stack, entry, image and image / "bzImage", tree, wanted)

    def remake(self, folder: Path, base: Base) -> Path:
        """Has make bring the bzImage of a developer's tree up to date, for a measurement.

        Nothing else is done, nothing goes into the cache, and ccache is off. The tree was built
        by ``build_directory`` before. Where the bzImage is.
        """
        name = _tree_name(folder)
        objects = self.objects(name, self.wanted(base))
        with self.workspace.lock(name):
            stack = Stack(name="tree", base=base)
            make = _make_words(folder, objects)
            self._make(stack, make, objects, ["bzImage"], {"CCACHE_DISABLE": "1"})
        return objects / _BZIMAGE

    def compile_anew(
        self,
        stack: Stack,
        *,
        objects: Path | None = None,
        configure: Callable[[Path, Path], None] | None = None,
    ) -> int:
        """Builds ``vmlinux`` whatever the cache holds, for a measurement; files compiled.

        Nothing goes into the cache, and ccache is off. ``objects`` is an
        empty folder; without it, the one that all builds of the stack share is used.
        ``configure`` writes a ``.config`` of its own, given the source and that folder.
        """
        wanted = self.wanted(stack.base)
        revision = self.revision_of(stack)
        with self._checked_out(revision.source, revision.commit, stack) as folder:
            objects = objects or self.objects(_name(stack), wanted)
            make = _make_words(folder, objects)
            if configure:
                configure(folder, objects)
            else:
                _configure(make, folder, objects, wanted)
            return self._make(stack, make, objects, ["vmlinux"], {"CCACHE_DISABLE": "1"})

    @contextlib.contextmanager
    def _checked_out(self, source: Tree, commit: str, stack: Stack) -> Iterator[Path]:
        """The lane's worktree at a commit; its lock is held, so that it stays there.

        The lock of the base's tree is not: meanwhile others find their kernels, or build
        in other lanes.
        """
        with self.workspace.lock(lane_lock(_name(stack))):
            with self.workspace.lock(f"tree-{stack.base.name}"):
                folder = source.check_out(commit, _lane(stack))
            yield folder

    def wanted(self, base: Base) -> Kconfig:
        """What the configuration asks of a kernel of this base."""
        return kconfig.load(self.kconfigs, self.config, base.name, self.values)

    def require_config(self, name: str) -> None:
        """Raises UsageError for a configuration that does not exist."""
        kconfig.require_name(self.kconfigs, name)

    def objects(self, name: str, wanted: Kconfig) -> Path:
        """The object folder of that name, one for each configuration and compiler."""
        return self.workspace.work("objects", f"{name}-{digest(wanted.digest, compiler())[:12]}")

    def compile(
        self,
        stack: Stack,
        source: Path,
        objects: Path,
        wanted: Kconfig,
        *targets: str,
        options: Sequence[str] = (),
    ) -> None:
        """Makes targets of a source in an object folder; what make said is in its log.

        ``options`` are more words for make. Raises BuildError with the first complaint.
        """
        make = [*_make_words(source, objects), *options]
        actual = _configure(make, source, objects, wanted)
        make += coverage.make_words(stack, actual)
        env = ccache.environment(self.workspace.root, actual, compiler())
        self._make(stack, make, objects, targets, env)

    def _make(
        self,
        stack: Stack,
        make: Sequence[str | Path],
        objects: Path,
        targets: Sequence[str],
        env: Mapping[str, str],
    ) -> int:
        """Runs make in a configured folder; how many files it compiled."""
        memory = objects / "nsaudit-compiled"
        expected = int(memory.read_text()) if memory.is_file() else stack.base.objects
        began, done = time.monotonic(), 0

        def on_line(line: str) -> None:
            nonlocal done
            if _COMPILED.match(line):
                done += 1
                self.progress(stack.name, done, expected, time.monotonic() - began)

        build_log = objects / BUILD_LOG
        jobs = f"-j{len(os.sched_getaffinity(0))}"
        try:
            proc.run(
                [*make, jobs, *targets],
                deadline_s=_DEADLINE_S,
                env=env,
                log_to=build_log,
                on_line=on_line,
            )
        except CommandFailed as error:
            lines = error.output.splitlines()
            first = next((line for line in lines if _COMPLAINT.search(line)), error.message)
            raise BuildError(
                f"{stack.name} does not build: {first.strip()}",
                hint=f"the whole story: {build_log}",
                log=build_log,
            ) from error
        if not memory.is_file():
            write_atomically(memory, str(done))
        return done


def _lane(stack: Stack) -> str:
    """What the stack's own worktree is called; nothing for one that shares its base's."""
    return "+".join(one.name for one in stack.series if one.has_lane)


def _name(stack: Stack) -> str:
    return "-".join(filter(None, (stack.base.name, _lane(stack))))


def _tree_name(folder: Path) -> str:
    """What a developer's tree and its object folder are called here."""
    return f"tree-{digest(str(folder.resolve()))[:12]}"


def lane_lock(name: str) -> str:
    """The lock of a worktree and its object folders. The tree's may be taken while it is held."""
    return f"lane-{name}"


def _make_words(source: Path, objects: Path) -> Sequence[str | Path]:
    return ["make", "-C", source, f"O={objects}", *_IDENTITY, *ccache.make_words()]


def compiler() -> str:
    """The compiler's name and version, in one line. Raises HostMissing for any build tool."""
    for tool in ("ld", "make", "flex", "bison", "bc"):
        proc.require_tool(tool)
    gcc = proc.require_tool("gcc")
    return _version(gcc, gcc.stat().st_mtime_ns)


@functools.cache
def _version(program: Path, _changed: int, /) -> str:
    """What a compiler says of itself: asked again only when its file changes."""
    return proc.run([program, "--version"]).stdout.partition("\n")[0]


def _configure(make: Sequence[str | Path], source: Path, objects: Path, wanted: Kconfig) -> Kconfig:
    """Writes ``.config``, and leaves it alone when it would be the same; what is in it."""
    asked, fresh, final = (objects / name for name in ("nsaudit.config", ".config.new", ".config"))
    asked.write_text(wanted.render())
    fresh.unlink(missing_ok=True)
    environment = {"KCONFIG_ALLCONFIG": str(asked), "KCONFIG_CONFIG": str(fresh)}
    try:
        proc.run([*make, "--silent", "allnoconfig"], env=environment)
    except CommandFailed as error:
        said = "\n".join(error.output.strip().splitlines()[-6:])
        raise BuildError(f"make allnoconfig failed in {source}: {said}") from error
    actual = kconfig.parse_kconfig(fresh.read_text(), str(final))
    if broken := wanted.find_broken(actual):
        raise kconfig.explain_broken(wanted, broken, _declared(source, broken))
    if not final.is_file() or final.read_bytes() != fresh.read_bytes():
        fresh.replace(final)
    return actual


def _declared(source: Path, names: Mapping[str, str]) -> frozenset[str]:
    """Which of these options any Kconfig file of the tree declares."""
    known = {
        f"CONFIG_{name}"
        for path in source.rglob("Kconfig*")
        if path.is_file()
        for name in _SYMBOL.findall(path.read_text(errors="replace"))
    }
    return frozenset(known & set(names))


def _keep(objects: Path, folder: Path) -> None:
    shutil.copy(objects / "vmlinux", folder / "vmlinux")
    shutil.copy(objects / "System.map", folder / "System.map")
    shutil.copy(objects / ".config", folder / "config")
    coverage.keep_notes(objects, folder)
    release = (objects / "include" / "config" / "kernel.release").read_text().strip()
    (folder / "kernel.json").write_text(json.dumps({"release": release}))


def _describe(
    stack: Stack, entry: Path, bzimage: Path | None, tree: str, wanted: Kconfig
) -> Kernel:
    return Kernel(
        stack=stack.name,
        base=stack.base.name,
        release=json.loads((entry / "kernel.json").read_text())["release"],
        series=tuple(series.name for series in stack.series),
        tree=tree,
        config=entry / "config",
        config_digest=wanted.digest,
        vmlinux=entry / "vmlinux",
        bzimage=bzimage,
    )


def _tree_id(folder: Path) -> str:
    """The tree id of a git checkout with its changes, or nothing where it is none."""
    try:
        stash = git(folder, "stash", "create")
        return git(folder, "rev-parse", f"{stash or 'HEAD'}^{{tree}}")
    except CommandFailed:
        return ""
