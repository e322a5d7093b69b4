"""Compiles one C file into a program or a shared object, kept by its content."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from harness import proc
from harness.errors import BuildError, CommandFailed
from harness.workspace import Workspace, digest

_FLAGS = ("-Wall", "-Wextra", "-Werror", "-std=gnu11")


@functools.cache
def _compiler() -> str:
    return proc.run(["cc", "--version"]).stdout.partition("\n")[0]


def compile_file(
    workspace: Workspace,
    source: Path,
    *,
    flags: Sequence[str],
    include: Sequence[Path] = (),
    hint: str = "",
) -> Path:
    """What a C file makes, called as it is without ``.c``.

    Headers are looked for beside the file and in ``include``; all of them count for the
    cache. Raises BuildError with the compiler's first complaint, and ``hint``.
    """
    flags = (*_FLAGS, *flags)
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
                f"{source.name} does not compile: {first or error.message}", hint=hint
            ) from error

    return workspace.make("program", key, fill) / source.stem
