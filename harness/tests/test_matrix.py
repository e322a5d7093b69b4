"""The matrix of a series: what is asked, what is known, how it goes on, and what it says."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from harness import questions
from harness.cells import judging
from harness.cells.asking import BOOTS, BUILDS
from harness.cells.matrix import order
from harness.cells.store import KIND, Store, arm_of
from harness.errors import BuildError, SeriesError, UsageError
from harness.jobs import PATCHES
from harness.kernel import series
from harness.model import ArmResult, MatrixResult, MatrixRow, Outcome, PatchCheck
from harness.questions import Ends
from harness.report import matrix
from harness.tests.small_kernel import Lab, PaperLab, replace
from harness.workspace import Workspace, content_digest

pytestmark = pytest.mark.tools

P, S, F, C = Outcome.PASS, Outcome.SYMPTOM, Outcome.FAIL, Outcome.CRASH
FIRST = replace("line 5\n", "line five\n")
WORKS = replace("line 20\n", "q PASS\n")
LAST = replace("line 35\n", "line end\n")


@pytest.fixture
def lab(tmp_path: Path) -> PaperLab:
    return PaperLab(tmp_path)


def outcomes(rows: Sequence[MatrixRow], name: str = "q") -> list[Outcome]:
    return [row.arms[name].outcome for row in sorted(rows, key=lambda row: row.number)]


def test_the_ends_come_first_and_a_scenario_works_from_its_patch_on(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.write(FIRST, WORKS, LAST)
    rows = lab.walk("q", "other")
    assert [row.number for row in rows] == [0, 3, 2, 1]
    assert [row.kernel for row in rows][:2] == ["vanilla-6.12", "s-6.12-0003"]
    assert outcomes(rows) == [S, S, P, P]
    assert outcomes(rows, "other") == [S, S, S, S]
    assert [row.check.subject for row in rows][1:] == [
        f"a: change number {number}" for number in (3, 2, 1)
    ]
    rows.sort(key=lambda row: row.number)
    assert judging.tell(rows, "q") == "SYMPTOM up to 0001, works from 0002 on"
    # From a patch that does not apply nothing is reached. The whole series is known first to be
    # hopeless, though its last patch is not to blame.
    second = sorted(lab.home.iterdir())[1]
    second.write_text(second.read_text().replace("\n line 19\n", "\n line nineteen\n"))
    assert len(lab.split(anew=True)) == 4
    rows = lab.walk("q")
    assert rows[1].number == 3
    assert rows[1].check.gates == {}
    rows.sort(key=lambda row: row.number)
    assert [bool(row.arms) for row in rows] == [True, True, False, False]
    assert "does not apply" in rows[2].check.gates["applies"][0]
    (fault,) = judging.find_faults(rows, {"q": Ends(S, P)})
    assert fault.startswith("0002 applies: ")


def test_what_is_known_is_neither_asked_nor_built_again(lab: PaperLab) -> None:
    lab.write(FIRST, WORKS)
    before = lab.walk("q")
    assert not any(row.known for row in before)
    asked, built = list(lab.guests.asked), list(lab.builder.built)
    for entry in (lab.workspace.root / "cache" / "kernel").iterdir():
        lab.workspace.drop("kernel", entry.name)
    rows = lab.walk("q")
    assert all(row.known == {"q"} for row in rows)
    assert outcomes(rows) == outcomes(before)
    assert (lab.guests.asked, lab.builder.built) == (asked, built)
    # One more scenario is asked of the same kernels, which do not boot for their own sake again.
    booted = list(lab.guests.booted)
    assert all(row.known == {"q"} for row in lab.walk("q", "other"))
    assert {name for _, name in lab.guests.asked[len(asked) :]} == {"other"}
    assert lab.guests.booted == booted


def test_after_a_change_that_patch_and_those_above_it_are_asked(lab: PaperLab) -> None:
    lab.write(FIRST, WORKS, LAST)
    lab.walk("q")
    lab.guests.asked.clear()
    lab.builder.built.clear()
    lab.write(FIRST, WORKS, replace("line 35\n", "line finish\n"))
    lab.walk("q")
    assert lab.guests.asked == [("s-6.12-0003", "q")]
    assert lab.builder.built == ["s-6.12-0003"]
    lab.write(FIRST, replace("line 20\n", "q FAIL\n"), LAST)
    assert outcomes(lab.walk("q")) == [S, S, F, F]
    assert {stack for stack, _ in lab.guests.asked} == {"s-6.12-0003", "s-6.12-0002"}
    # Taken back, nothing is left to ask.
    lab.guests.asked.clear()
    lab.write(FIRST, WORKS, LAST)
    assert outcomes(lab.walk("q")) == [S, S, P, P]
    assert lab.guests.asked == []


def test_what_was_interrupted_goes_on_where_it_stopped(lab: PaperLab) -> None:
    lab.write(FIRST, WORKS, LAST)

    def interrupt() -> None:
        if len(lab.guests.asked) == 3:
            raise KeyboardInterrupt

    lab.guests.fail = interrupt
    with pytest.raises(KeyboardInterrupt):
        lab.walk("q", "other")
    lab.guests.fail = lambda: None
    rows = lab.walk("q", "other")
    assert outcomes(rows) == [S, S, P, P]
    assert len(lab.guests.asked) == len(set(lab.guests.asked)) == 8
    assert [len(row.known) for row in rows] == [2, 1, 0, 0]


def test_a_patch_that_does_not_build_is_built_once(lab: PaperLab) -> None:
    lab.write(FIRST, replace("line 20\n", "#error\n"), replace("#error\n", "q PASS\n"))
    for _ in range(2):
        rows = sorted(lab.walk("q"), key=lambda row: row.number)
        assert [bool(row.arms) for row in rows] == [True, True, False, True]
        assert rows[2].check.gates[BUILDS][0] == "a.c:21:1: error: no"
        assert BOOTS not in rows[2].check.gates
    assert lab.builder.built.count("s-6.12-0002") == 1


def test_a_failure_that_names_no_line_is_not_kept(
    lab: PaperLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_revision: object) -> None:
        where = "/home/me/state/work/trees/6.12-abc/a.c ../../trees/6.12-abc/b.c"
        raise BuildError(f"s-6.12-0001 does not build: make: *** {where} Killed", hint="log")

    lab.write(FIRST)
    monkeypatch.setattr(lab.builder, "build_revision", fail)
    answers = lab.asker.ask(lab.revision(1), ["q"])
    assert answers.gates == {BUILDS: ("make: *** a.c b.c Killed", "log")}
    assert not (lab.workspace.root / "cache" / KIND).exists()


def test_a_kernel_that_does_not_boot_is_asked_nothing(lab: PaperLab) -> None:
    lab.write(FIRST, replace("line 20\n", "crash\n"))
    for _ in range(2):
        row = lab.walk("q")[1]
        assert row.check.gates[BOOTS][0] == "the kernel crashed: Oops"
        assert row.arms == {}
        assert Path(row.check.gates[BOOTS][1].partition(": ")[2]).is_file()
    assert lab.guests.booted.count("s-6.12-0002") == 1
    assert "s-6.12-0002" not in [stack for stack, _ in lab.guests.asked]


def test_what_may_be_the_hosts_fault_is_asked_again(lab: PaperLab) -> None:
    lab.write(replace("line 5\n", "hang\n"))
    for _ in range(2):
        assert "no answer" in lab.walk("q")[1].check.gates[BOOTS][0]
    assert lab.guests.booted.count("s-6.12-0001") == 2
    lab.write(replace("line 5\n", "q ERROR\n"), replace("q ERROR\n", "q CRASH\n"))
    for known in (set(), {"q"}):
        rows = sorted(lab.walk("q"), key=lambda row: row.number)
        assert outcomes(rows) == [S, Outcome.ERROR, C]
        assert [set(row.known) for row in rows][1:] == [set(), known]


def test_a_kept_cell_has_its_evidence_and_not_what_is_the_kernels(lab: PaperLab) -> None:
    lab.write(WORKS)
    row = lab.walk("q")[1]
    arm = row.arms["q"]
    place = Path(arm.artifacts)
    assert place.parent.parent == lab.workspace.root / "cache" / KIND
    assert (place / "records.log").read_text() == "s-6.12-0001"
    assert (place / "reproduce").is_file()
    assert not (place / "config.txt").exists()


def test_the_key_of_a_cell_is_all_that_it_depends_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenarios = tmp_path / "scenarios"
    (scenarios / "q" / "__pycache__").mkdir(parents=True)
    (scenarios / "conftest.py").write_text("one")
    (scenarios / "q" / "test_q.py").write_text("one")
    monkeypatch.setattr("harness.cells.store.SCENARIOS", scenarios)
    workspace = Workspace(tmp_path / "state")

    def key(kernel: str = "k", name: str = "q", fact: str = "image") -> str:
        return Store(workspace, [fact]).key_of(kernel, name)

    first = key()
    assert key() == first
    others = [key(kernel="l"), key(name="r"), key(fact="other")]
    for path in ("conftest.py", "q/test_q.py", "q/probe.c"):
        (scenarios / path).write_text("two")
        others.append(key())
    assert len({first, *others}) == 7
    (scenarios / "q" / "__pycache__" / "test_q.pyc").write_text("code")
    assert key() == others[-1]


def test_content_has_names(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.c").write_text("same")
    (tmp_path / "one" / ".hidden").write_text("x")
    one, two = content_digest([tmp_path / "one"]), content_digest([tmp_path / "two"])
    assert one != two
    (tmp_path / "one" / ".hidden").unlink()
    assert content_digest([tmp_path / "one"]) == one


@pytest.mark.parametrize(
    ("count", "numbers"), [(1, [0]), (2, [0, 1]), (3, [0, 2, 1]), (5, [0, 4, 3, 2, 1])]
)
def test_order(count: int, numbers: list[int]) -> None:
    assert order(count) == numbers


# -- what the cells say together -----------------------------------------------------------


def row(number: int, *cells: Outcome | None, **gates: tuple[str, ...]) -> MatrixRow:
    names = [f"q{place}" for place in range(len(cells))]
    arms = {
        name: ArmResult(arm=arm_of(name, f"s-{number}"), outcome=outcome, signature="why")
        for name, outcome in zip(names, cells, strict=True)
        if outcome
    }
    check = PatchCheck(
        series="s",
        patch=f"{number:04}-x.patch" if number else "",
        subject=f"audit: change number {number} <b> of a series with quite long subjects",
        gates=gates or {"applies": (), "builds": (), "boots": ()},
    )
    return MatrixRow(number=number, kernel=f"s-{number}", tree="0" * 40, check=check, arms=arms)


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ([P, P], "works everywhere"),
        ([S, S], "SYMPTOM everywhere"),
        ([S, S, P, P], "SYMPTOM up to 0001, works from 0002 on"),
        ([P, S], "PASS below the series, SYMPTOM from 0001 on"),
        ([S, F, F, P, C, P], "SYMPTOM below the series, FAIL 0001 to 0002, PASS 0003, CRASH 0004,"
         " works from 0005 on"),
        ([S, None, P], "SYMPTOM below the series, works from 0002 on"),
        ([None], "was not asked"),
    ],
)  # fmt: skip
def test_a_column_in_one_line(column: list[Outcome | None], says: str) -> None:
    rows = [row(number, outcome) for number, outcome in enumerate(column)]
    assert judging.tell(rows, "q0") == says


FEATURE, UNFIX, OTHER = Ends(S, P), Ends(P, S), Ends(P, P)


@pytest.mark.parametrize(
    ("ends", "column", "faults"),
    [
        (FEATURE, [S, F, P, P], []),
        (FEATURE, [P, P, P], ["0000 q0: PASS and not SYMPTOM, as below the series: why"]),
        (FEATURE, [S, P, F, P], ["0002 q0: FAIL and not PASS, as before: why"]),
        (FEATURE, [S, P, F, None, F, P], ["0002 q0: FAIL and not PASS, as before: why"]),
        (FEATURE, [S, P, None, F, P], ["0003 q0: FAIL and not PASS, as before: why"]),
        (FEATURE, [S, S], ["0001 q0: SYMPTOM and not PASS, as the whole series is to show: why"]),
        (FEATURE, [S, C, P], ["0001 q0: CRASH, why"]),
        (FEATURE, [S, Outcome.TIMEOUT, P], ["0001 q0: TIMEOUT, why"]),
        (UNFIX, [P, S], []),
        (UNFIX, [P, P, S], []),
        (UNFIX, [P, S, S], []),
        (UNFIX, [P, F], ["0001 q0: FAIL and not SYMPTOM, as the whole series is to show: why"]),
        (OTHER, [P, S, P], ["0001 q0: SYMPTOM and not PASS, as before: why"]),
    ],
)
def test_faults(ends: Ends, column: list[Outcome | None], faults: list[str]) -> None:
    rows = [row(number, outcome) for number, outcome in enumerate(column)]
    assert list(judging.find_faults(rows, {"q0": ends})) == faults


@pytest.mark.parametrize(
    ("name", "scenario", "below", "whole"),
    [
        ("unfix/pid-vnr", "pid-translation", P, S),
        ("unfix/pid-vnr", "netlink-errno", P, P),
        ("unfix/userns-eperm", "netlink-errno", P, S),
        ("nsid", "nsid-events", S, P),
        ("nsid", "contid-events", S, S),
        ("nsid", "pid-translation", P, P),
        ("auditns", "contid-events", P, P),
    ],
)
def test_what_a_scenario_is_to_show_at_both_ends(
    name: str, scenario: str, below: Outcome, whole: Outcome
) -> None:
    catalogue = series.load(PATCHES)
    stack = catalogue.stack_of(name, "6.12")
    assert questions.ends_of(scenario, stack, catalogue) == Ends(below, whole)


def test_a_series_stands_on_what_it_needs() -> None:
    catalogue = series.load(PATCHES)
    stack = catalogue.stack_of("auditns", "6.12")
    assert [one.name for one in stack.series] == ["contid", "nsid", "auditns"]
    assert catalogue.stack_of("unfix/pid-vnr", "7.3").name == "pid-vnr-7.3"
    with pytest.raises(UsageError) as refused:
        catalogue.stack_of("unfix/pid-vrn", "6.12")
    assert "did you mean unfix/pid-vnr" in refused.value.hint
    with pytest.raises(UsageError, match=r"series contid has no patches for base 6\.1"):
        catalogue.stack_of("auditns", "6.1")


def test_series_that_need_each_other(tmp_path: Path) -> None:
    (tmp_path / "bases.toml").write_text('["6.12"]\nkind = "directory"\npath = "/nowhere"\n')
    (tmp_path / "stacks.toml").write_text("")
    for name, needs in (("s", "t"), ("t", "s"), ("u", "gone")):
        (tmp_path / name).mkdir()
        entry = f'title = "T"\norigin = "ours"\nneeds = ["{needs}"]\n'
        (tmp_path / name / "series.toml").write_text(entry)
    catalogue = series.load(tmp_path)
    with pytest.raises(SeriesError, match="series s needs itself"):
        catalogue.stack_of("s", "6.12")
    with pytest.raises(SeriesError, match="series u needs 'gone'"):
        catalogue.stack_of("u", "6.12")


# -- how it looks --------------------------------------------------------------------------


def make_result(rows: Sequence[MatrixRow], *faults: str) -> MatrixResult:
    names = list(dict.fromkeys(name for row in rows for name in row.arms))
    return MatrixResult(
        started="2026-01-01T00:00:00Z",
        seconds=1.0,
        series="s",
        base="6.12",
        config="default",
        rows=tuple(rows),
        stories={name: judging.tell(rows, name) for name in names},
        faults=faults,
    )


def shown(result: MatrixResult) -> list[str]:
    console = Console(width=80, record=True, force_terminal=True, file=io.StringIO())
    matrix.print_matrix(result, console)
    return console.export_text().splitlines()


def table_of(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if re.match(r" (\d{4} |─| +patch)", line)]


@pytest.mark.parametrize("scenarios", [1, 4, 5, 15])
def test_however_many_scenarios_there_are_a_row_fits(scenarios: int) -> None:
    rows = [row(number, *([P, S, F][number % 3],) * scenarios) for number in range(14)]
    lines = shown(make_result(rows, "0001 q: a fault"))
    table = table_of(lines)
    assert len(table) == 16
    assert max(map(len, table)) <= 80
    assert min(len(line.rstrip()) for line in table[2:]) >= 70
    assert all(f"{number:04} audit: cha" in text for number, text in enumerate(table[2:]))
    assert "0001 q: a fault" in lines
    for place in range(scenarios):
        (says,) = [line for line in lines if f" q{place}: " in line]
        letter = says[0]
        assert table[0].split()[-scenarios:][place] == letter
    assert ("   P PASS, S SYMPTOM, F FAIL" in lines) == (scenarios > 5)


def test_what_was_not_reached_is_not_shown_as_anything() -> None:
    rows = [
        row(0, P),
        row(1, None, applies=(), builds=("a.c:1: error: no", "log")),
        row(2, None, applies=(), builds=(), boots=("Oops",)),
        row(3, P, applies=(), builds=(), boots=(), **{"W=1": ("a.c: lonely",)}),
        row(4, None, applies=("does not apply",)),
    ]
    last = MatrixRow(
        number=5,
        kernel="s-5",
        tree="",
        check=PatchCheck(series="s", patch="0005-x.patch", subject="x", gates={}),
    )
    lines = shown(make_result([*rows, last]))
    cells = [line[1:].split()[-3:] for line in table_of(lines)[2:]]
    assert [" ".join(one) for one in cells] == [
        "boots · PASS",
        "build · ·",
        "boot · ·",
        "1 new PASS",
        "refused · ·",
        "· · ·",
    ]


def test_json_and_the_page_have_it_all_and_trust_nothing(tmp_path: Path) -> None:
    result = make_result([row(0, S), row(1, P)], "0001 <script>: a fault")
    plain = json.loads(matrix.render_json(result))
    assert plain["scenarios"] == [
        {"name": "q0", "says": "SYMPTOM below the series, works from 0001 on"}
    ]
    (cell,) = plain["rows"][1]["cells"]
    assert (cell["scenario"], cell["outcome"], cell["known"]) == ("q0", "PASS", False)
    page = matrix.render_html(result)
    assert "<script" not in page
    assert "&lt;script&gt;: a fault" in page
    assert "number 1 &lt;b&gt; of" in page
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert links <= set(re.findall(r'id="([^"]+)"', page))
    assert len([link for link in links if link.startswith("cell-")]) == 2
