"""The pure part of the benchmark: values, bars, the table and the JSON. Nothing is timed."""

from __future__ import annotations

import json
from dataclasses import replace as change
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness import bench, cli, proc
from harness.audit.records import Trail
from harness.bench import edits, figure, logs, matrices, plot, suites
from harness.bench.figure import Figure, Machine
from harness.bench.plan import Plan
from harness.commands import bench as command
from harness.errors import UsageError
from harness.jobs import Lab
from harness.kernel import prefixes
from harness.tests.small_kernel import Lab as SmallLab
from harness.tests.small_kernel import PaperLab, replace
from harness.workspace import Workspace

MACHINE = Machine(
    cores=2, processor="A CPU", load=0.25, accelerator="tcg", guest_cpu="qemu64", qemu="7.2"
)


def made(*samples: float, bar: float | None = None, unit: str = "s", fault: str = "") -> Figure:
    return Figure(name="f", what="what", samples=samples, unit=unit, bar=bar, fault=fault)


@pytest.mark.parametrize(
    ("samples", "value"), [((3.0,), 3.0), ((9.0, 1.0, 2.0), 2.0), ((4.0, 1.0), 2.5)]
)
def test_the_value_is_the_median(samples: tuple[float, ...], value: float) -> None:
    assert made(*samples).value == value


@pytest.mark.parametrize(
    ("one", "holds"),
    [
        (made(2.0, bar=2.0), True),
        (made(2.01, bar=2.0), False),
        (made(0.0, bar=0, unit=""), True),
        (made(1.0, bar=0, unit=""), False),
        (made(99.0), True),
        (made(1.0, bar=2.0, fault="status 1"), False),
    ],
)
def test_a_bar_is_the_most_that_may_be(one: Figure, holds: bool) -> None:
    assert one.holds is holds


def test_a_ratio_compares_medians() -> None:
    one = figure.ratio("r", "ours to theirs", made(1.0, 2.0, 9.0), made(8.0), bar=0.5)
    assert (one.value, one.holds) == (0.25, True)


def test_rows_show_value_spread_bar_and_whether_it_holds() -> None:
    figures = [
        made(1.0, 2.0, 4.5, bar=2.0),
        made(3.25, bar=2.0),
        made(512.0, unit="MiB"),
        made(1.0, bar=90.0, fault="status 1: red"),
    ]
    assert figure.rows(figures) == [
        ("f", "2.00 s", "1.00 .. 4.50 s", "2.00 s", "yes", "what"),
        ("f", "3.25 s", "", "2.00 s", "no", "what"),
        ("f", "512 MiB", "", "", "", "what"),
        ("f", "1.00 s", "", "90.00 s", "no", "what: status 1: red"),
    ]


def test_the_json_holds_all_that_was_measured() -> None:
    value = figure.as_json("2026-01-01T00:00:00Z", MACHINE, [made(1.0, 3.0, bar=2.0)])
    assert json.loads(json.dumps(value)) == {
        "schema": 1,
        "started": "2026-01-01T00:00:00Z",
        "machine": {
            "cores": 2,
            "processor": "A CPU",
            "load": 0.25,
            "accelerator": "tcg",
            "guest_cpu": "qemu64",
            "qemu": "7.2",
        },
        "figures": [
            {
                "name": "f",
                "what": "what",
                "value": 2.0,
                "unit": "s",
                "samples": [1.0, 3.0],
                "bar": 2.0,
                "holds": True,
                "fault": "",
                "at": None,
            }
        ],
    }


def test_the_processor_is_named() -> None:
    assert (
        figure.find_processor("processor\t: 0\nmodel name\t: Some CPU @ 2: x\n")
        == "Some CPU @ 2: x"
    )
    assert figure.find_processor("processor\t: 0\n") == "unknown"


def test_some_figures_must_be_asked_for() -> None:
    assert not {"build", "cost", "migration", "trail"} & set(bench.require_names([]))
    assert bench.require_names(["build", "boot"]) == ("build", "boot")
    with pytest.raises(UsageError, match="no figure 'boat'") as raised:
        bench.require_names(["boat"])
    assert "boot, scenarios" in raised.value.hint


class Nsaudit:
    """Takes the place of the command: the first call takes longer, the last says how it ended."""

    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, plan: Plan, *words: str, deadline_s: float) -> proc.Completed:
        self.calls.append(words)
        return proc.Completed(
            argv=words,
            status=self.status,
            stdout="",
            stderr="migration FAILS\n",
            seconds=90.0 / len(self.calls),
        )


@pytest.mark.parametrize(("status", "fault"), [(0, ""), (1, "status 1: migration FAILS")])
def test_the_whole_migration_is_timed_once_all_is_cached(
    status: int, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = Nsaudit(status)
    monkeypatch.setattr(suites, "call", command)
    plan = Plan(lab=Lab(Workspace(tmp_path)), base="6.12", times=0, on_step=lambda _: None)
    (one,) = bench.FIGURES["migration"](plan)
    asked = ("run", "migration", "--config", "checkpoint", "--stack", "ids-6.12")
    assert command.calls == [asked, asked]
    assert (one.samples, one.unit, one.bar, one.fault) == ((45.0,), "s", 60.0, fault)
    assert one.holds is (status == 0)
    with pytest.raises(UsageError, match=r"no stack 'ids-6\.1'"):
        list(bench.FIGURES["migration"](change(plan, base="6.1")))


def test_a_log_to_read_is_always_the_same_and_whole(tmp_path: Path) -> None:
    first, second = tmp_path / "a.log", tmp_path / "b.log"
    logs.write_log(first, 300_000)
    logs.write_log(second, 300_000)
    assert first.read_bytes() == second.read_bytes()
    trail = Trail.parse(first.read_bytes())
    assert not trail.unparsed
    kinds = {record.type for record in trail.records}
    assert {"CONTAINER_OP", "CONTAINER_ID", "SYSCALL", "USER_LOGIN"} <= kinds
    assert trail.matching(type="CONTAINER_OP", op="set", contid=logs.ASKED)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bench", "boat"], "no figure 'boat'"),
        (["bench", "--base", "9.9"], "no base '9.9'"),
        (["bench", "-n", "-1"], "nothing can be measured -1 times"),
        (["bench", "cost", "--stack", "idz"], "no stack 'idz'"),
        (["bench", "cost", "--stack", "contid-7.3"], "contid-7.3 is not on base 6.12"),
    ],
)
def test_bad_words_are_refused_before_anything_is_measured(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NSAUDIT_STATE", str(tmp_path / "state"))
    assert cli._main(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("value", "status"), [(1.0, 0), (3.0, 1)])
def test_the_status_says_whether_every_bar_was_reached(
    value: float,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NSAUDIT_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(command, "measure", lambda *_: (MACHINE, [made(value, bar=2.0)]))
    assert cli._main(["bench", "units", "--json", "-"]) == status
    said = capsys.readouterr()
    assert json.loads(said.out)["figures"][0]["holds"] is (status == 0)
    assert MACHINE.describe() in " ".join(said.err.split())


def test_the_last_patch_of_a_matrix_is_changed_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    lab = SmallLab(tmp_path / "lab")
    lab.write(*(replace(f"line {n}\n", f"int line_{n};\n") for n in (5, 20, 35)))
    found = lab.split()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    changed = [
        matrices._change(lab.workspace, lab.stack, found, tmp_path / name) for name in ("a", "b")
    ]
    trees = [
        [one.revision.content for one in prefixes.split(lab.open(), stack) if one.revision]
        for stack in (lab.stack, *changed)
    ]
    assert [len(one) for one in trees] == [4, 4, 4]
    assert len({tuple(one[:3]) for one in trees}) == 1
    assert len({one[3] for one in trees}) == 3


def test_a_matrix_that_asks_too_much_or_nothing_has_no_figure(tmp_path: Path) -> None:
    lab = PaperLab(tmp_path)
    lab.write(replace("line 5\n", "q PASS\n"), replace("line 20\n", "crash\n"))
    assert matrices._find_fault(lab.walk("q"), 0).startswith("patch 2 does not run: ")
    lab.write(replace("line 5\n", "q PASS\n"), replace("line 20\n", "line end\n"))
    assert matrices._find_fault(lab.walk("q"), 0) == ""
    lab.write(replace("line 5\n", "q FAIL\n"), replace("line 20\n", "line end\n"))
    assert matrices._find_fault(lab.walk("q"), 2) == "1 rows were known instead of 2"


def test_an_edit_takes_the_place_of_the_last_one() -> None:
    source = "int before;\n"
    first = edits.add_function(source, "1a")
    assert first.startswith(source)
    assert "int nsaudit_bench_1a(void)\n{\n\treturn 0x1a;\n}\n" in first
    assert edits.add_function(first, "2b") == edits.add_function(source, "2b")


def test_make_goes_on_where_the_tree_was_built(tmp_path: Path) -> None:
    lab = SmallLab(tmp_path)
    source = tmp_path / "linux"
    lab.builder.build_directory(source, lab.base)
    built = list((lab.workspace.root / "work" / "objects").iterdir())
    file = source / "a.c"
    file.write_text(edits.add_function(file.read_text(), "1a"))
    bzimage = lab.builder.remake(source, lab.base)
    assert "nsaudit_bench_1a" in bzimage.read_text()
    assert list((lab.workspace.root / "work" / "objects").iterdir()) == built
    assert lab.builds() == 2
    assert len(list((lab.workspace.root / "cache" / "kernel").iterdir())) == 1


def arm(stack: str, *, known: bool) -> dict[str, object]:
    return {"stack": stack, "known": known}


@pytest.mark.parametrize(
    ("verdict", "arms", "status", "fault"),
    [
        ("CONFIRMED", [arm("tree", known=False), arm("u-6.12", known=True)], 0, ""),
        ("CONFIRMED", [arm("tree", known=False), arm("u-6.12", known=True)], 1, "status 1"),
        ("STILL BROKEN", [arm("tree", known=False)], 1, "q is STILL BROKEN"),
        # A kernel that is not another one makes nothing to measure, nor do other kernels' arms.
        ("CONFIRMED", [arm("tree", known=True)], 0, "q on tree was known"),
        ("CONFIRMED", [arm("u-6.12", known=False)], 0, "q on u-6.12 was not known"),
    ],
)
def test_an_edit_s_run_that_measures_something_else_is_told(
    verdict: str, arms: list[dict[str, object]], status: int, fault: str
) -> None:
    result = {"scenarios": [{"name": "q", "verdict": verdict, "arms": arms}]}
    assert edits.find_fault(result, status) == fault


def test_growth_is_plotted_with_the_line_that_it_must_not_leave() -> None:
    points = [
        change(made(1.0, 2.0, 3.0), at=0.1),
        change(made(4.0), at=0.3),
        change(made(10.0), at=1.0),
    ]
    root = ElementTree.fromstring(plot.draw(points))
    space = "{http://www.w3.org/2000/svg}"
    circles = root.findall(f"{space}circle")
    xs, ys = ([float(one.attrib[name]) for one in circles] for name in ("cx", "cy"))
    assert xs == sorted(xs)
    assert ys == sorted(ys, reverse=True)
    (seen,) = (one for one in root.findall(f"{space}path") if one.get("class") == "seen")
    (linear,) = (one for one in root.findall(f"{space}path") if one.get("class") == "linear")
    last = [float(one.attrib["d"].split("L")[-1].split()[1]) for one in (seen, linear)]
    # 20 s would be as the log grows; less is further down.
    assert last[0] > last[1]
    assert circles[0].find(f"{space}title").text == "0.10 GB: 2.00 s (1.00 to 3.00)"  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="nothing to plot"):
        plot.draw(points[:1])
