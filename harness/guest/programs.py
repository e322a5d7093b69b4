"""Compiles what runs inside guests and packs it into an initial RAM file system.

Programs are static, so that one file runs in any root; ``NAME.so.c`` makes a shared object to
preload. Each is cached by its source, the headers beside it and the compiler. ``payload/`` holds
the sources that every guest needs.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from harness import proc
from harness.cc import compile_file
from harness.workspace import Workspace, digest

_FOLDER = Path(__file__).with_name("payload")
_STATIC = ("-static",)
_SHARED = ("-shared", "-fPIC")
# Where a guest has its payloads, once the agent has mounted the root.
INSIDE = "/run/nsaudit"
AGENT = _FOLDER / "agent.c"
TSC = _FOLDER.with_name("tsc.c")


def compile_program(
    workspace: Workspace, source: Path, *, include: Sequence[Path] = (), flags: Sequence[str] = ()
) -> Path:
    """The path of the static program, or of the shared object, that one C file makes.

    Headers are looked for beside the file and in ``include``. Raises BuildError.
    """
    kind = _SHARED if source.stem.endswith(".so") else _STATIC
    return compile_file(
        workspace,
        source,
        flags=("-O2", *kind, *flags),
        include=include,
        hint="a static C library is needed: apt-get install libc6-dev",
    )


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
