"""What is written down of hunks: who missed them, who is asked first, and who is not asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.cells.asking import BOOTS, BUILDS
from harness.cells.mutation import Findings, Mutation
from harness.cells.record import MISSED, Record
from harness.cells.store import Store
from harness.errors import SeriesError
from harness.guest.polling import poll
from harness.jobs import PATCHES
from harness.model import Fate, Outcome
from harness.questions import Ends
from harness.tests.small_kernel import SOURCE, Lab
from harness.workspace import PROJECT

pytestmark = pytest.mark.tools

FEATURE = Ends(Outcome.SYMPTOM, Outcome.PASS)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def mutation_of(lab: Lab, record: Record, host: str = "host") -> Mutation:
    """It asks on a host, whose answers no other knows."""
    whole = lab.revision(len(lab.split()) - 1)
    asker = replace(lab.asker, store=Store(lab.workspace, ["image", host]))
    run = Mutation(asker=asker, whole=whole, ends={"q": FEATURE, "p": FEATURE}, record=record)
    run.require_whole()
    lab.guests.asked.clear()
    return run


def write(lab: Lab, *lines: str) -> None:
    """A series that takes every fifth line of the source, and gives these for them."""

    def change(old: str) -> str:
        rows = old.split("\n")
        rows[4 : 5 * len(lines) : 5] = lines
        return "\n".join(rows)

    lab.write(change)


def test_who_missed_what_is_noted_and_asked_first_the_next_time(lab: Lab) -> None:
    source = SOURCE.replace("line 14\n", "#error\n").replace("line 19\n", "hang\n")
    (lab.root / "linux" / "a.c").write_text(source)
    write(lab, "q PASS", "p PASS", "builds", "boots", "nobody")
    found, record = lab.hunks(), Record()
    list(mutation_of(lab, record).run(found, Findings()))
    assert [record.who(one, "default") for one in found] == ["q", "p", BUILDS, BOOTS, ""]
    assert record.who(found[0], "other") == ""
    # The whole series was booted, and the one that hangs, after it was asked one scenario.
    assert [name for _, name in lab.guests.asked] == ["q", "q", "p", "p", "p", "q"]
    assert len(lab.guests.booted) == 2

    record.save(lab.home, found)
    again = Record.load(lab.home)
    assert again == record
    list(mutation_of(lab, again, "another").run(found, Findings()))
    assert [name for _, name in lab.guests.asked] == ["q", "p", "p", "q"]


def test_what_is_recorded_is_not_asked_again(lab: Lab) -> None:
    write(lab, "q PASS", "p PASS", "nobody")
    found, findings = lab.hunks(), Findings()
    record = Record()
    record.note(found[0], "fault", "q")
    record.note(found[1], "default", BUILDS)
    findings.take(record, found)
    assert findings.left_of(found) == [found[2]]
    first, second = findings.mutants.values()
    assert (first.fate, first.by, first.config) == (Fate.RECORDED, "q", "fault")
    assert (second.fate, second.by, second.why) == (
        Fate.RECORDED,
        "",
        "missed.toml has it, under default",
    )


def test_a_hunk_that_moves_is_the_same_and_its_like_is_another(lab: Lab) -> None:
    write(lab, "twice", "twice", "once")
    first, second, third = lab.hunks()
    # Each takes another line of the source, but the lines that are added alone are alike.
    assert len({one.key for one in (first, second, third)}) == 3
    lab.write(lambda old: old.replace("line 9\n", "new\nline 9\n").replace("line 14\n", "once\n"))
    _, moved = lab.hunks()
    assert (moved.line, moved.key) == (third.line + 1, third.key)
    lab.write(lambda old: old.replace("line 9\n", "x\nline 9\n").replace("line 2\n", "x\nline 2\n"))
    one, other = lab.hunks()
    assert (one.added, one.removed) == (other.added, other.removed)
    assert one.key != other.key


def test_the_file_has_a_table_for_each_configuration_and_no_hunk_that_is_gone(lab: Lab) -> None:
    write(lab, "one", "two", "three")
    one, two, three = lab.hunks()
    record = Record()
    record.note(three, "default", "p")
    record.note(two, "fault", "q")
    record.note(one, "default", "q")
    record.save(lab.home, [one, two])
    text = (lab.home / MISSED).read_text()
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        "",
        "[default]",
        f'{one.key} = "q"  # a.c: one',
        "",
        "[fault]",
        f'{two.key} = "q"  # a.c: two',
    ]


def test_who_missed_a_hunk_on_another_base_is_asked_first(lab: Lab) -> None:
    write(lab, "p PASS\nq PASS")
    (hunk,) = lab.hunks()
    for name in ("p", "q"):
        record = Record()
        record.note(hunk, "default", name)
        other = lab.home.parent / "other"
        other.mkdir(exist_ok=True)
        record.save(other, [hunk])
        record = Record.load(lab.home)
        assert record.recall(hunk) is None
        assert record.who(hunk, "fault") == ""
        (killed,) = mutation_of(lab, record, host=name).run([hunk], Findings())
        assert killed.by == name
        assert Record.load(lab.home).seen == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a = "q"', r"s/6.12/missed.toml: \[a\] is not a table"),
        ("[default]\nabc = 1", r"s/6.12/missed.toml: \[default\]: 'abc' must be a string"),
        ("[default", "missed.toml is not TOML"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str, message: str) -> None:
    folder = tmp_path / "s" / "6.12"
    folder.mkdir(parents=True)
    assert Record.load(folder) == Record()
    (folder / MISSED).write_text(text)
    with pytest.raises(SeriesError, match=message):
        Record.load(folder)


def test_a_guest_that_was_lost_is_not_written_down(lab: Lab) -> None:
    write(lab, "q PASS\np PASS")
    found, record = lab.hunks(), Record()
    run = mutation_of(lab, record)
    lab.guests.rule = lambda _, said: "ERROR" if said == "SYMPTOM" else said
    (killed,) = run.run(found, Findings())
    assert killed.fate is Fate.KILLED
    assert record.seen == {}


def test_the_next_kernel_is_built_while_guests_are_asked_of_one(lab: Lab) -> None:
    write(lab, "q PASS", "p PASS")
    found = lab.hunks()
    run = mutation_of(lab, Record())
    before = lab.builds()

    def wait() -> None:
        # Without the first hunk, the whole series to compare it with, and without the second.
        poll(lab.builds, lambda seen: seen >= before + 3, limit_s=10, what="another build")

    lab.guests.fail = wait
    assert next(run.run(found, Findings())).by == "q"


def test_the_project_records_hunks_by_scenarios_that_there_are() -> None:
    names = {path.name for path in (PROJECT / "scenarios").iterdir()} | {BUILDS, BOOTS}
    for file in PATCHES.rglob(MISSED):
        record = Record.load(file.parent)
        assert record.seen
        assert {name for _, name in record.seen.values()} <= names, file
