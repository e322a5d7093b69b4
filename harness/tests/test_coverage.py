"""What a kernel counts: which files, and what is read of it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from harness import proc
from harness.cells.reach import Reach
from harness.kernel import coverage
from harness.kernel.hunks import Hunk
from harness.kernel.kconfig import Kconfig
from harness.model import Base, DirectorySource, Series, Stack
from harness.workspace import Workspace

_SOURCE = """\
static volatile int named, unnamed;

int main(int argc, char **argv)
{
	while (argc--)
		if (argv[argc][0] == '?')
			named++;
		else
			unnamed++;
	return named;
}
"""


def test_the_c_files_that_a_stack_changes_are_counted(tmp_path: Path) -> None:
    patch = tmp_path / "0001.patch"
    patch.write_text("+++ b/kernel/b.c\n+++ b/kernel/a.c\n+++ b/kernel/a.h\n+++ b/fs/b.c\n")
    base = Base(name="6.12", source=DirectorySource(path=tmp_path))
    series = Series(
        name="s", title="t", origin="ours", needs=(), proves=(), patches={"6.12": (patch,)}
    )
    stack = Stack(name="s-6.12", base=base, series=(series,))
    counts = Kconfig({coverage.OPTION: "y"}, {})
    assert coverage.make_words(stack, counts) == ["GCOV_PROFILE_a.o=y", "GCOV_PROFILE_b.o=y"]
    assert coverage.make_words(stack, Kconfig({}, {})) == ()


@pytest.mark.tools
def test_how_often_each_line_ran(tmp_path: Path) -> None:
    objects, kernel = tmp_path / "objects", tmp_path / "kept"
    (objects / "lib").mkdir(parents=True)
    kernel.mkdir()
    (objects / "lib/a.c").write_text(_SOURCE)
    proc.run(["gcc", "-O2", "--coverage", "-c", objects / "lib/a.c", "-o", objects / "lib/a.o"])
    proc.run(["gcc", "--coverage", objects / "lib/a.o", "-o", tmp_path / "a"])
    proc.run([tmp_path / "a"])
    coverage.keep_notes(objects, kernel)
    assert list(kernel.iterdir()) == []
    (objects / ".config").write_text(f"{coverage.OPTION}=y\n")
    coverage.keep_notes(objects, kernel)
    counts = tmp_path / coverage.COUNTS
    with tarfile.open(counts, "w") as archive:
        data = (objects / "lib/a.gcda").read_bytes()
        member = tarfile.TarInfo(f".{objects}/lib/a.gcda")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    read = coverage.read_counts(Workspace(tmp_path / "state"), kernel, counts)
    assert list(read) == ["lib/a.c"]
    counted = {line: read["lib/a.c"][line] for line in (6, 7, 9, 10)}
    assert counted == {6: 1, 7: 0, 9: 1, 10: 1}
    assert 2 not in read["lib/a.c"]


def test_who_runs_a_hunk() -> None:
    reach = Reach(counts={"q": {"a.c": {3: 1, 4: 0}}, "p": {"a.c": {3: 0, 4: 0}}})

    def among(file: str, line: int, *added: str) -> dict[str, int]:
        return dict(reach.among(["p", "q", "r"], Hunk(file=file, line=line, added=added)))

    # Of r nothing is known, and nothing of lines without code.
    everybody = {"p": 3, "q": 3, "r": 3}
    assert among("a.c", 3, "x") == {"q": 1, "r": 3}
    assert among("a.c", 4, "x") == {"r": 3}
    assert among("a.c", 2, "x", "y") == {"q": 1, "r": 3}
    assert among("a.c", 5, "x") == everybody
    assert among("b.c", 3, "x") == everybody
