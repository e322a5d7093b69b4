"""What a change of macros in a header has compiled again, and what not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import proc
from harness.kernel import macros
from harness.kernel.tree import Tree, git
from harness.model import Base, DirectorySource
from harness.workspace import Workspace

HEADER = """\
/* the numbers
 * of things */
#ifndef _UAPI_THINGS_H
#define _UAPI_THINGS_H
#define THING_LAST THING_ONE	/* so far */
#define THING_ONE 1
#define thing_valid(x) ((x) <= THING_LAST)
struct thing {
	int fields[4];
};
#endif
"""


def edit(old: str, new: str) -> str:
    assert old in HEADER
    return HEADER.replace(old, new)


@pytest.mark.parametrize(
    ("after", "names"),
    [
        (edit("so far", "for now"), set()),
        (edit("struct", "\n\nstruct"), set()),
        (edit("#define THING_ONE 1\n", "#define THING_ONE \\\n\t1\n"), set()),
        (
            edit("#define THING_ONE 1\n", "#define THING_ONE 1\n#define THING_TWO 2\n"),
            {"THING_TWO"},
        ),
        (edit("THING_ONE 1", "THING_ONE 7"), {"THING_ONE", "THING_LAST", "thing_valid"}),
        (edit("#define thing_valid(x)", "#define thing_valid(x, y)"), {"thing_valid"}),
        (
            edit(
                "#define THING_ONE 1",
                "#ifdef SOME\n#define THING_TWO 2\n#endif\n#define THING_ONE 1",
            ),
            None,
        ),
        (edit("fields[4]", "fields[5]"), None),
        (edit("#endif", "#undef THING_ONE\n#endif"), None),
        (edit("#endif", "#include <other.h>\n#endif"), None),
        (HEADER + "#define THING_TWO 2\n", {"THING_TWO"}),
    ],
)
def test_only_macros_may_differ(after: str, names: set[str] | None) -> None:
    assert macros.find_changed(HEADER, after) == names
    assert macros.find_changed(after, HEADER) == names


def test_a_macro_that_the_header_itself_needs_is_another_header() -> None:
    before = edit("fields[4]", "fields[THING_LAST]")
    assert macros.find_changed(before, before.replace("THING_ONE 1", "THING_ONE 2")) is None


def test_a_macro_under_another_condition_is_another_macro() -> None:
    both = edit("#define THING_ONE 1", "#ifdef A\n#define THING_ONE 1\n#else\n#endif")
    moved = edit("#define THING_ONE 1", "#ifdef A\n#else\n#define THING_ONE 1\n#endif")
    assert macros.find_changed(both, moved) == frozenset({"THING_ONE", "THING_LAST", "thing_valid"})


class Bench:
    """A tree with a header and three files, and make, which says what it compiles."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tree"
        self.header = self.folder / macros.HEADERS / "things.h"
        self.header.parent.mkdir(parents=True)
        self.header.write_text(HEADER)
        for name, text in (("user", "thing_valid(1)"), ("other", "4"), ("third", "THING_TWO_")):
            (self.folder / f"{name}.c").write_text(f'#include "things.h"\nint {text};\n')
        (self.folder / "Makefile").write_text(
            "all: user.o other.o third.o\n"
            f"%.o: %.c {macros.HEADERS}/things.h\n\t@cp $< $@; echo $*\n"
        )
        git(self.folder, "init", "--quiet")
        self.first = self.commit()
        base = Base(name="6.12", source=DirectorySource(path=self.folder))
        self.tree = Tree(Workspace(folder / "state"), base, self.folder, self.first)

    def _age(self) -> None:
        """Has been there for a while. Git looks at the seconds of times only."""
        for path in self.folder.rglob("*.[ch]"):
            os.utime(path, (1e9, 1e9))
        git(self.folder, "update-index", "--refresh")

    def commit(self, text: str = HEADER) -> str:
        """A commit with this header; the worktree is left as it was."""
        self.header.write_text(text)
        git(self.folder, "add", "*.c", "Makefile", "include")
        git(self.folder, "commit", "--quiet", "--allow-empty", "-m", "change")
        made = git(self.folder, "rev-parse", "HEAD")
        git(self.folder, "checkout", "--quiet", "--force", "--detach", getattr(self, "first", made))
        self._age()
        return made

    def make(self, commit: str) -> set[str]:
        """What make compiles at a commit."""
        for _ in range(2):
            # Git writes a file anew when its time is not the one that git knows.
            self.tree.check_out(commit)
        said = proc.run(["make", "--no-print-directory", "all"], cwd=self.folder).stdout
        return set() if "Nothing to be done" in said else set(said.split())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.tools
@pytest.mark.parametrize(
    ("old", "new", "compiled"),
    [
        ("THING_ONE 1", "THING_ONE 1\n#define THING_TWO 2", set()),
        ("THING_ONE 1", "THING_ONE 2", {"user"}),
        ("fields[4]", "fields[5]", {"user", "other", "third"}),
    ],
)
def test_what_names_a_changed_macro_is_compiled_again(
    bench: Bench, old: str, new: str, compiled: set[str]
) -> None:
    second = bench.commit(edit(old, new))
    assert bench.make(bench.first) == {"user", "other", "third"}
    assert bench.make(second) == compiled
    assert bench.make(second) == set()
    assert bench.make(bench.first) == compiled


@pytest.mark.tools
def test_what_was_not_compiled_yet_still_is(bench: Bench) -> None:
    second = bench.commit(edit("fields[4]", "fields[5]"))
    third = bench.commit(edit("fields[4];", "fields[5];").replace("_ONE 1", "_ONE 2"))
    bench.make(bench.first)
    bench.tree.check_out(second)
    assert bench.make(third) == {"user", "other", "third"}
