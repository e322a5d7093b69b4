"""Compiles what runs inside guests and packs it into an initial RAM file system.

Programs are static, so that one file runs in any root; ``NAME.so.c`` makes a shared object to
preload. Each is cached by its source, the headers beside it and the compiler. ``payload/`` holds
the sources that every guest needs.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness import proc
from harness.errors import BuildError, CommandFailed
from harness.workspace import Workspace, digest

_FOLDER = Path(__file__).with_name("payload")
_FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu11")
_STATIC = ("-static",)
_SHARED = ("-shared", "-fPIC")
# Where a guest has its payloads, once the agent has mounted the root.
INSIDE = "/run/nsaudit"
AGENT = _FOLDER / "agent.c"
TSC = _FOLDER.with_name("tsc.c")


@functools.cache
def _compiler() -> str:
    return proc.run(["cc", "--version"]).stdout.partition("\n")[0]


def compile_program(
    workspace: Workspace, source: Path, *, include: Sequence[Path] = (), flags: Sequence[str] = ()
) -> Path:
    """The path of the static program, or of the shared object, that one C file makes.

    Headers are looked for beside the file and in ``include``; all of them count for the
    cache. Raises BuildError with the compiler's first complaint.
    """
    flags = (*_FLAGS, *(_SHARED if source.stem.endswith(".so") else _STATIC), *flags)
    folders = (source.parent, *include)
    headers = sorted(path for folder in folders for path in folder.glob("*.h"))
    key = digest(
        _compiler(),
        *flags,
        source.read_bytes(),
        *(part for path in headers for part in (path.name, path.read_bytes())),
    )

    def fill(folder: Path) -> None:
        options = [f"-I{one}" for one in include]
        try:
            proc.run(["cc", *flags, *options, "-o", folder / source.stem, source])
        except CommandFailed as error:
            first = next((one for one in error.output.splitlines() if "error:" in one), "")
            raise BuildError(
                f"{source.name} does not compile: {first or error.message}",
                hint="a static C library is needed: apt-get install libc6-dev",
            ) from error

    return workspace.make("program", key, fill) / source.stem


def make_initrd(workspace: Workspace, programs: Sequence[Path] = ()) -> Path:
    """An uncompressed newc archive with the agent as ``/init`` and programs in ``/nsaudit/``.

    The kernel unpacks it before its first process starts (Documentation/driver-api/
    early-userspace/buffer-format.rst); the agent shows ``/nsaudit`` in the guest's root as
    ``/run/nsaudit``.
    """
    agent = compile_program(workspace, AGENT)
    chosen = sorted(programs, key=lambda path: path.name)
    key = digest(agent.read_bytes(), *(x for p in chosen for x in (p.name, p.read_bytes())))

    def fill(folder: Path) -> None:
        tree = folder / "tree"
        for name in ("dev", "proc", "sys", "root", "nsaudit"):
            (tree / name).mkdir(parents=True)
        shutil.copy(agent, tree / "init")
        for program in chosen:
            shutil.copy(program, tree / "nsaudit" / program.name)
        names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
        for path in (*tree.rglob("*"), tree):
            path.chmod(0o755)
        cpio = ["cpio", "-o", "-H", "newc", "-R", "0:0", "--reproducible", "--quiet"]
        archive = folder / "initrd.cpio"
        proc.run([*cpio, "-F", archive], cwd=tree, given="\n".join(names).encode())
        shutil.rmtree(tree)

    return workspace.make("initrd", key, fill) / "initrd.cpio"
