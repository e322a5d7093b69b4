"""A stack as commits, and back: on a small tree of git's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ApplyError, SeriesError, UsageError
from harness.kernel import editing
from harness.kernel.editing import attribute
from harness.kernel.tree import Tree, export, git
from harness.model import Base, DirectorySource, Series, Stack
from harness.workspace import Workspace

pytestmark = pytest.mark.tools

BASE = Base(name="6.12", source=DirectorySource(path=Path("/nowhere")))
TEXT = "".join(f"line {number}\n" for number in range(30))


class Desk:
    """A tree, and a stack of two series: ``one`` with two patches and ``two`` with one."""

    def __init__(self, root: Path) -> None:
        repository = root / "tree"
        repository.mkdir()
        git(repository, "init", "--quiet")
        (repository / "a.c").write_text(TEXT)
        git(repository, "add", ".")
        git(repository, "commit", "--quiet", "-m", "root")
        self.root = git(repository, "rev-parse", "HEAD")
        self.tree = Tree(Workspace(root / "state"), BASE, repository, self.root)
        self.place = root / "open"
        self.homes = [root / "patches" / name / "6.12" for name in ("one", "two")]
        commits = [self.commit(repository, line, line.upper()) for line in ("line 3", "line 15")]
        for home in self.homes:
            home.mkdir(parents=True)
        export(repository, self.root, commits[1], self.homes[0])
        last = self.commit(repository, "line 27", "LINE 27")
        export(repository, commits[1], last, self.homes[1])
        git(repository, "reset", "--quiet", "--hard", self.root)

    @staticmethod
    def commit(folder: Path, old: str, new: str) -> str:
        file = folder / "a.c"
        file.write_text(file.read_text().replace(f"{old}\n", f"{new}\n"))
        git(folder, "commit", "--quiet", "--all", "-m", f"a: make {old} {new}")
        return git(folder, "rev-parse", "HEAD")

    @property
    def stack(self) -> Stack:
        series = tuple(
            Series(
                name=home.parent.name,
                title="T",
                origin="ours",
                needs=(),
                proves=(),
                patches={"6.12": tuple(sorted(home.glob("000[1-9]-*")))},
            )
            for home in self.homes
        )
        return Stack(name="s-6.12", base=BASE, series=series)

    def open(self) -> Path:
        return editing.open_commits(self.tree, self.stack, self.place)

    def rebase(self, *todo: str) -> None:
        """Does what a person does in the editor of ``git rebase -i``."""
        text = "\n".join(todo)
        script = self.place.parent / "editor"
        script.write_text(f"#!/bin/sh\ncat > \"$1\" <<'END'\n{text}\nEND\n")
        script.chmod(0o755)
        words = ("-c", f"sequence.editor={script}", "-c", "core.editor=true", "rebase", "-i")
        git(self.place, *words, "--quiet", self.root)

    @property
    def commits(self) -> list[str]:
        return git(self.place, "rev-list", "--reverse", f"{self.root}..HEAD").split()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_there_and_back_changes_nothing(desk: Desk) -> None:
    before = {path: path.read_bytes() for home in desk.homes for path in home.iterdir()}
    assert desk.open() == desk.place
    assert len(desk.commits) == 3
    done = editing.refresh(desk.tree, desk.stack)
    assert (list(done.written), list(done.removed), len(done.same)) == ([], [], 3)
    assert before == {path: path.read_bytes() for home in desk.homes for path in home.iterdir()}
    # Opened once more it is where it was.
    other = desk.place.with_name("other")
    assert editing.open_commits(desk.tree, desk.stack, other) == desk.place
    assert not other.exists()


def test_series_keep_their_commits_through_a_rebase(desk: Desk) -> None:
    cover = desk.homes[0] / "0000-cover-letter.patch"
    cover.write_text("why\n")
    desk.open()
    first, second, third = desk.commits
    desk.rebase(f"pick {first}", f"fixup {second}", f"pick {third}")
    desk.commit(desk.place, "line 29", "LINE 29")
    done = editing.refresh(desk.tree, desk.stack)
    assert list(done.removed) == ["one: 0002-a-make-line-15-LINE-15.patch"]
    assert list(done.written) == [
        "one: 0001-a-make-line-3-LINE-3.patch",
        "two: 0002-a-make-line-29-LINE-29.patch",
    ]
    assert cover.read_text() == "why\n"
    # What was written is what git am makes of it again.
    head = git(desk.place, "rev-parse", "HEAD^{tree}")
    assert desk.tree.tree_of(desk.tree.commit_of(desk.stack)) == head


def test_a_commit_between_two_series_has_to_be_told(desk: Desk) -> None:
    desk.open()
    first, second, third = desk.commits
    new = desk.commit(desk.place, "line 9", "LINE 9")
    desk.rebase(*(f"pick {one}" for one in (first, second, new, third)))
    # It was the last and is noted by nobody: its place does not say whose it is.
    with pytest.raises(SeriesError, match=r"to which series does .* belong") as caught:
        editing.refresh(desk.tree, desk.stack)
    git(desk.place, "notes", "--ref=nsaudit-series", "add", "-f", "-m", "one", desk.commits[2])
    assert "notes --ref=nsaudit-series add" in caught.value.hint
    done = editing.refresh(desk.tree, desk.stack)
    assert "one: 0003-a-make-line-9-LINE-9.patch" in done.written


def test_series_that_are_mixed_or_gone_are_refused(desk: Desk) -> None:
    desk.open()
    first, second, third = desk.commits
    desk.rebase(*(f"pick {one}" for one in (first, third, second)))
    with pytest.raises(SeriesError, match="to which series"):
        editing.refresh(desk.tree, desk.stack)
    git(desk.place, "reset", "--quiet", "--hard", second)
    with pytest.raises(SeriesError, match="two has no commit left"):
        editing.refresh(desk.tree, desk.stack)


def test_a_worktree_that_is_not_at_rest_is_refused(desk: Desk) -> None:
    with pytest.raises(UsageError, match="not open anywhere"):
        editing.refresh(desk.tree, desk.stack)
    desk.open()
    (desk.place / "a.c").write_text("other\n")
    with pytest.raises(UsageError, match="changes that are not committed"):
        editing.refresh(desk.tree, desk.stack)
    git(desk.place, "checkout", "--quiet", "a.c")
    desk.rebase("break", *(f"pick {one}" for one in desk.commits))
    with pytest.raises(UsageError, match="in the middle of something"):
        editing.refresh(desk.tree, desk.stack)


def test_a_folder_that_is_there_is_not_touched(desk: Desk) -> None:
    desk.place.mkdir()
    (desk.place / "mine").touch()
    with pytest.raises(UsageError, match="is there already"):
        desk.open()


def test_a_conflict_is_left_to_be_mended_and_then_gone_on_from(desk: Desk) -> None:
    broken = desk.homes[0] / "0002-a-make-line-15-LINE-15.patch"
    text = broken.read_text()
    broken.write_text(text.replace("-line 15\n", "-line fifteen\n"))
    with pytest.raises(ApplyError, match="git am has stopped in") as caught:
        desk.open()
    assert "git am --continue" in caught.value.hint
    assert "nsaudit patches edit s-6.12" in caught.value.hint
    with pytest.raises(UsageError, match="in the middle of something"):
        editing.refresh(desk.tree, desk.stack)
    file = desk.place / "a.c"
    file.write_text(TEXT.replace("line 3\n", "LINE 3\n").replace("line 15\n", "LINE 15\n"))
    git(desk.place, "add", "a.c")
    git(desk.place, "am", "--quiet", "--continue")
    with pytest.raises(UsageError, match="two is not applied yet"):
        editing.refresh(desk.tree, desk.stack)
    desk.open()
    assert len(desk.commits) == 3
    done = editing.refresh(desk.tree, desk.stack)
    assert list(done.written) == ["one: 0002-a-make-line-15-LINE-15.patch"]
    assert broken.read_text() == text


@pytest.mark.parametrize(
    ("notes", "owners"),
    [
        (["a", "", "a", "b", ""], ["a", "a", "a", "b", "b"]),
        (["", "a", "b"], ["a", "a", "b"]),
        (["a", "", "b"], ["a", None, "b"]),
        (["a\n\na", "b"], ["a", "b"]),
        (["a\n\nb", "b"], [None, "b"]),
        (["c", "b"], [None, "b"]),
        (["", ""], [None, None]),
    ],
)
def test_a_commit_belongs_by_its_note_or_its_place(notes: list[str], owners: list[str]) -> None:
    assert list(attribute(notes, ["a", "b"])) == owners
