"""Where a scenario turned: ends, skips, both directions, a history, and what is said of it."""

from __future__ import annotations

import argparse
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from harness.cells.bisection import Search
from harness.commands import bisect
from harness.errors import UsageError
from harness.kernel import history
from harness.kernel.history import Answer
from harness.kernel.tree import git
from harness.model import BisectResult, Tried
from harness.report import bisection
from harness.tests.small_kernel import SOURCE, Lab, PaperLab, write_history
from harness.workspace import Workspace

pytestmark = pytest.mark.tools

# A commit for each text, in a repository of its own.
Texts = list[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "history"
    place.mkdir()
    git(place, "init", "--quiet", "--initial-branch=main")
    return place


def commit(folder: Path, text: str) -> str:
    (folder / "a.c").write_text(text)
    git(folder, "add", "a.c")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", f"a: {text.split()[0]}")
    return git(folder, "rev-parse", "HEAD")


class Bench:
    """A search in commits whose texts the paper guests read."""

    def __init__(self, root: Path, folder: Path, texts: Texts) -> None:
        self.lab = PaperLab(root / "state")
        self.folder = folder
        self.commits = write_history(folder, texts)
        self.told: list[Tried] = []
        self.texts = dict(zip(self.commits, texts, strict=True))

    def find(self, good: int, bad: int) -> BisectResult:
        self.lab.write(*(self._change(text) for text in self.texts.values()))
        numbers = {one: number for number, one in enumerate(self.commits, 1)}
        search = Search(
            asker=self.lab.asker,
            scenario="q",
            folder=self.folder,
            where="a history",
            revision_of=lambda one: self.lab.revision(numbers[one]),
            name_of=lambda one: f"c{numbers[one]}",
            on_tried=self.told.append,
        )
        return search.find(self.commits[good - 1], self.commits[bad - 1])

    @staticmethod
    def _change(text: str) -> Callable[[str], str]:
        return lambda _: SOURCE + text


def texts(*lines: str) -> Texts:
    return [f"{number}\n{line}\n" for number, line in enumerate(lines)]


def test_the_first_bad_commit_after_both_ends_are_proved(tmp_path: Path, folder: Path) -> None:
    lines = ["q PASS"] * 5 + ["q SYMPTOM"] * 4
    bench = Bench(tmp_path, folder, texts(*lines))
    result = bench.find(1, 9)
    assert [one.name for one in result.tried][:2] == ["c1", "c9"]
    assert result.first
    assert result.before
    assert (result.turns, result.first.name, result.before.name) == ("bad", "c6", "c5")
    assert (result.first.outcome, result.before.outcome) == ("SYMPTOM", "PASS")
    assert bench.told == list(result.tried)
    assert len(result.tried) < 7
    # Each of them was answered: searched again, nothing is asked.
    asked = list(bench.lab.guests.asked)
    again = bench.find(1, 9)
    assert again.first
    assert again.first.name == "c6"
    assert all(one.known for one in again.tried)
    assert bench.lab.guests.asked == asked


def test_with_the_bad_end_below_the_first_good_one_is_found(tmp_path: Path, folder: Path) -> None:
    # On the way to working a scenario may fail otherwise, too.
    bench = Bench(tmp_path, folder, texts("q SYMPTOM", "q FAIL", "q FAIL", "q PASS", "q PASS"))
    result = bench.find(5, 1)
    assert result.first
    assert result.before
    assert (result.turns, result.first.name, result.before.name) == ("good", "c4", "c3")


def test_what_cannot_be_asked_or_fails_otherwise_is_skipped(tmp_path: Path, folder: Path) -> None:
    odd = ["crash", "#error", "q FAIL", "q ERROR"]
    bench = Bench(tmp_path, folder, texts("q PASS", *odd, "q SYMPTOM", "q SYMPTOM"))
    result = bench.find(1, 7)
    assert result.first is None
    assert sorted(name for name, _ in result.candidates) == ["c2", "c3", "c4", "c5", "c6"]
    skipped = {one.name: one.why for one in result.tried if one.like == "skip"}
    assert sorted(skipped) == ["c2", "c3", "c4", "c5"]
    assert skipped["c2"] == "boots: the kernel crashed: Oops"
    assert "is one of 5" in bisection.summarise(result)
    # That something does not build or boot is known, too; an ERROR is not.
    again = {one.name: one.known for one in bench.find(1, 7).tried}
    assert [name for name, known in again.items() if not known] == ["c5"]


def test_what_is_skipped_elsewhere_hides_nothing(tmp_path: Path, folder: Path) -> None:
    lines = ["q PASS", "crash", "q PASS", "q PASS", "q SYMPTOM", "crash", "q SYMPTOM"]
    found = Bench(tmp_path, folder, texts(*lines)).find(1, 7)
    assert found.first
    assert found.first.name == "c5"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["q SYMPTOM", "q SYMPTOM"], "--good c1 is not good: SYMPTOM, seen"),
        (["q PASS", "q PASS"], "--bad c2 is not bad: PASS, seen"),
        (["q PASS", "q ERROR"], "--bad c2 is not bad: ERROR, seen"),
        (["q PASS", "#error"], "--bad c2 is not bad: -, builds: a.c:42:1: error: no"),
        (["crash", "q SYMPTOM"], "--good c1 is not good: -, boots: the kernel crashed: Oops"),
    ],
)
def test_an_end_that_is_not_what_it_is_said_to_be(
    tmp_path: Path, folder: Path, lines: list[str], said: str
) -> None:
    bench = Bench(tmp_path, folder, texts(*lines))
    with pytest.raises(UsageError) as refused:
        bench.find(1, 2)
    assert refused.value.message == said


def test_ends_without_a_line_between_them_are_refused(tmp_path: Path, folder: Path) -> None:
    commit(folder, "root")
    old = commit(folder, "old")
    git(folder, "checkout", "--quiet", "--detach", "HEAD^")
    new = commit(folder, "new")
    workspace = Workspace(tmp_path / "state")
    with pytest.raises(UsageError, match="merge base"):
        history.bisect(workspace, folder, old, new, lambda _: Answer.NEW)
    with pytest.raises(UsageError, match="'nosuch' is no commit of"):
        history.resolve(folder, "nosuch")
    with pytest.raises(UsageError, match="is no kernel tree: it has no Kconfig"):
        history.require_kernel(folder, old)


def test_a_developers_history_is_built_elsewhere_and_left_alone(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    mine = tmp_path / "mine"
    shutil.copytree(lab.root / "linux", mine)
    git(mine, "init", "--quiet")
    good = commit(mine, SOURCE)
    git(mine, "add", ".")
    git(mine, "commit", "--quiet", "-m", "all of it")
    head = commit(mine, SOURCE + "q PASS\n")
    history.require_kernel(mine, head)
    before = sorted(str(path) for path in mine.rglob("*"))
    own = lab.open()
    with lab.workspace.lock("tree-6.12"):
        tree = history.open_history(lab.workspace, lab.base, mine, own)
    answers = lab.asker.ask(history.revision_of(tree, head), ["q"])
    assert answers.arms["q"].outcome == "PASS"
    assert sorted(str(path) for path in mine.rglob("*")) == before
    assert history.is_ancestor(tree.folder, good, head)
    # What a series made of the same content is the same cell.
    lab.write(lambda old: old + "q PASS\n")
    assert lab.walk("q")[1].known == {"q"}


def test_a_stack_that_is_open_as_commits_is_built_where_its_base_is(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    own = lab.open()
    mine = tmp_path / "mine"
    git(own.folder, "worktree", "add", "--quiet", "--detach", mine, "HEAD")
    head = commit(mine, SOURCE + "q PASS\n")
    assert history.open_history(lab.workspace, lab.base, mine, own) is own
    revision = history.revision_of(own, head)
    assert revision.stack.series == ()
    assert lab.asker.ask(revision, ["q"]).arms["q"].outcome == "PASS"


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bisect.add_words(parser)
    return parser.parse_args(["q", "--series", "s", *words])


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        (["--good", "0"], ("0", "9")),
        (["--bad", "9"], ("0", "9")),
        (["--good", "9"], ("9", "0")),
        (["--bad", "0"], ("9", "0")),
        (["--good", "2", "--bad", "5"], ("2", "5")),
    ],
)
def test_a_series_has_ends_of_its_own(words: list[str], ends: tuple[str, str]) -> None:
    assert bisect._ends(parse(*words), 9) == ends


def test_which_end_is_good_has_to_be_said() -> None:
    with pytest.raises(UsageError) as refused:
        bisect._ends(parse(), 9)
    assert refused.value.hint == "--good 0 --bad 9"


def test_what_is_printed_has_both_sides_and_how_to_repeat_them(
    tmp_path: Path, folder: Path
) -> None:
    bench = Bench(tmp_path, folder, texts("q PASS", "q PASS", "q SYMPTOM"))
    result = bench.find(1, 3)
    console = Console(width=400, file=io.StringIO(), record=True)
    bisection.print_result(result, console)
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert lines[-1].startswith(
        "c3 is the first bad one for q on a history: a: change number 3   (3 a"
    )
    assert bisection.describe_step(bench.told[0]) == "good  PASS     c1  a: change number 1 (seen)"
    assert "PASS at c2 (a: change number 2)" in lines
    scripts = [line.split()[-1] for line in lines if line.startswith("  reproduce: ")]
    assert len(scripts) == 2
    assert all(Path(script).is_file() for script in scripts)
    plain = json.loads(bisection.render_json(result))
    assert plain["first"]["reproduce"] == scripts[1]
    assert plain["before"]["name"] == "c2"
