"""The selftests that a series brings along, made by the kernel's own makefiles.

A test is named as it is below ``tools/testing/selftests``: ``audit/contid``. It is compiled with
the headers of the commit that it belongs to, statically, so that it runs in any root.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from harness import proc
from harness.errors import BuildError, CommandFailed
from harness.kernel.build import compiler
from harness.kernel.tree import Revision, git
from harness.workspace import Workspace, digest

_RECIPE = "1"
_FOLDER = "tools/testing/selftests"
# What "make headers" and the makefiles of selftests read; a whole tree is 30 times as much.
_NEEDED = (
    *("Kbuild", "Makefile", "arch/x86", "include", "scripts", "usr", "tools/include"),
    *("tools/scripts", f"{_FOLDER}/lib.mk"),
    *(f"{_FOLDER}/{name}" for name in ("kselftest.h", "kselftest_harness.h")),
)


def build(workspace: Workspace, revision: Revision, name: str) -> Path:
    """The program of one test at a revision. Raises BuildError with the first complaint."""
    folder, _, program = name.rpartition("/")

    def fill(made: Path) -> None:
        with workspace.scratch() as scratch:
            archive = scratch / "tree.tar"
            paths = (*_NEEDED, f"{_FOLDER}/{folder}")
            git(
                *(revision.source.folder, "archive", f"--output={archive}", revision.commit),
                *paths,
            )
            tree = scratch / "tree"
            tree.mkdir()
            shutil.unpack_archive(archive, tree, filter="tar")
            headers = f"KHDR_INCLUDES=-isystem {tree / 'usr/include'}"
            test = ("-C", tree / _FOLDER / folder, headers, "LDFLAGS=-static", f"OUTPUT={made}")
            try:
                proc.run(["make", "-C", tree, "--silent", "headers"])
                proc.run(["make", *test, made / program])
            except CommandFailed as error:
                first = next((one for one in error.output.splitlines() if "error" in one), "")
                raise BuildError(
                    f"selftest {name} does not build: {first.strip() or error.message}"
                ) from error

    key = digest(_RECIPE, revision.content, name, compiler())
    return workspace.make("selftest", key, fill) / program
