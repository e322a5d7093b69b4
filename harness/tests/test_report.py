"""What the reports say of a run that has every outcome in it, and of hostile artifacts."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from rich.console import Console

from harness.model import (
    Arm,
    ArmResult,
    Check,
    Expect,
    Host,
    Kernel,
    Outcome,
    RunResult,
    ScenarioResult,
    Verdict,
)
from harness.plain import clean
from harness.report import as_json, evidence, html, junit, kcidb, ktap, terminal

GOOD, BROKEN, FEATURE = "vanilla-6.12", "unfixed-6.12", "feature-6.12"
HOSTILE = "<script>alert(1)</script>"
ERRNO = Check(name="errno", observed="EPERM", good="ECONNREFUSED", broken="EPERM")
SU = Check(name="su", observed="granted", good="granted", broken="granted")


def kernel(stack: str, *series: str, tree: str = "") -> Kernel:
    return Kernel(
        stack=stack,
        base="6.12",
        release="6.12.117",
        series=series,
        tree=tree or hashlib.sha1(stack.encode()).hexdigest(),
        config=Path("config"),
        config_digest=hashlib.sha256(b"config").hexdigest(),
        vmlinux=Path("vmlinux"),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The run's folder, which the arms share."""
    place = tmp_path / "20260101T000000Z-abc123"
    place.mkdir()
    return place


def make_arm(
    folder: Path,
    scenario: str,
    stack: str,
    expect: Expect,
    outcome: Outcome,
    *checks: Check,
    **files: str,
) -> ArmResult:
    """An arm with artifacts; two underscores in a keyword stand for a dot."""
    arm = Arm(scenario=scenario, stack=stack, expect=expect)
    place = folder / arm.folder
    place.mkdir()
    for name, text in files.items():
        (place / name.replace("__", ".").replace("_", "-")).write_text(text)
    return ArmResult(
        arm=arm,
        outcome=outcome,
        signature=f"why {outcome}",
        seconds=1.25,
        boot="warm",
        checks=checks,
        evidence={"errno": "EPERM", "records": 3, "lost": 0, "boot_s": 0.5},
        artifacts=str(place),
    )


def make_run(folder: Path, *scenarios: ScenarioResult) -> RunResult:
    return RunResult(
        started="2026-01-02T03:04:05Z",
        seconds=48.2,
        host=Host(
            accelerator="tcg",
            why="no /dev/kvm",
            cpu_model="qemu64",
            qemu="7.2",
            cores=2,
            boot_s=1.0,
        ),
        kernels=(kernel(GOOD), kernel(BROKEN, "unfix/errno"), kernel(FEATURE, "feature")),
        scenarios=scenarios,
        folder=str(folder),
    )


@pytest.fixture
def green(folder: Path) -> RunResult:
    """A run in which all is as expected."""
    return make_run(
        folder,
        ScenarioResult(
            name="login",
            verdict=Verdict.CONFIRMED,
            arms=(
                make_arm(
                    folder,
                    "login",
                    BROKEN,
                    Expect.SYMPTOM,
                    Outcome.SYMPTOM,
                    ERRNO,
                    SU,
                    records__log="type=LOGIN pid=7 res=failed\ntype=BOOT pid=8\n",
                    transcript_ftp__txt="530 Login incorrect.\n",
                    console__log="booting\nthe end\n",
                    command__txt="qemu-system-x86_64 -M microvm\n",
                    config__txt="CONFIG_ONE=y\n",
                    reproduce="#!/bin/sh\nexec nsaudit run login\n",
                ),
                make_arm(
                    folder,
                    "login",
                    GOOD,
                    Expect.PASS,
                    Outcome.PASS,
                    SU,
                    records__log=f"type=LOGIN pid=9 res=success {HOSTILE}\ntype=BOOT pid=1\n",
                    config__txt="CONFIG_ONE=y\n",
                ),
            ),
        ),
    )


@pytest.fixture
def mixed(folder: Path) -> RunResult:
    """A run with every outcome in it, as expected and not."""
    odd = [
        make_arm(folder, "odd", f"{outcome.lower()}-6.12", Expect.PASS, outcome)
        for outcome in Outcome
        if outcome is not Outcome.PASS
    ]
    never = ArmResult(arm=Arm(scenario="never", stack=GOOD, expect=Expect.PASS))
    return make_run(
        folder,
        ScenarioResult(name="odd", verdict=Verdict.BROKEN_TEST, arms=tuple(odd)),
        ScenarioResult(
            name="feature",
            verdict=Verdict.WORKS,
            arms=(
                make_arm(folder, "feature", GOOD, Expect.FAIL, Outcome.SYMPTOM),
                make_arm(folder, "feature", FEATURE, Expect.PASS, Outcome.PASS),
            ),
        ),
        ScenarioResult(name="never", verdict=Verdict.BROKEN_TEST, arms=(never,)),
        ScenarioResult(
            name="alone",
            verdict=Verdict.BROKEN_TEST,
            arms=(make_arm(folder, "alone", GOOD, Expect.PASS, Outcome.PASS),),
        ),
    )


# -- hostile text ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07shell", "shell"),
        ("\x1b]0;never ended\nnext", "\nnext"),
        ("one\r\ntwo\r\r\nthree", "one\ntwo\nthree"),
        ("nul\0 bell\a c1\x9b31m del\x7f", "nul bell c131m del"),
        ("a=1\x1db=2", "a=1 b=2"),
        ("\ud800\ufffe", ""),
        ("evil\u202egnp\u2028", "evilgnp"),
        ("\u061c\u200e\u200f\u202a\u202d\u2066\u2069.", "."),
        ("kept: \t ä € 🙂", "kept: \t ä € 🙂"),
    ],
)
def test_what_drives_a_terminal_is_removed(raw: str, safe: str) -> None:
    assert clean(raw) == safe


def test_the_end_of_a_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    path.write_text("0123456789")
    assert evidence.read_end(path, 4) == ("6789", 6)
    assert evidence.read_end(path, 10) == ("0123456789", 0)
    assert evidence.read_end(tmp_path / "none", 4) == ("", 0)


def test_the_artifacts_of_several_hosts_are_all_there(folder: Path) -> None:
    arm = make_arm(folder, "s", GOOD, Expect.PASS, Outcome.CRASH, clocks__txt="0 5\n")
    for host in ("north", "south"):
        place = Path(arm.artifacts, host)
        place.mkdir()
        (place / "console.log").write_text(f"{host} boots\n{host} BUG\n")
        (place / "records.log").write_text(f"type=USER msg=audit(1.000:1): on={host}\n")
        (place / "qemu.sock").write_text("none of the reader's business")
    names = [evidence.name_of(path, arm) for path in evidence.list_files(arm)]
    wanted = [
        f"{host}/{kind}.log" for host in ("north", "south") for kind in ("console", "records")
    ]
    assert names == ["clocks.txt", *wanted]
    assert evidence.read_console(arm, 1).splitlines() == [
        "north:",
        "north BUG",
        "south:",
        "south BUG",
    ]
    run = make_run(folder, ScenarioResult(name="s", verdict=Verdict.BROKEN_TEST, arms=(arm,)))
    text = html.render(run)
    assert "on=north" in text
    assert "on=south" in text
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))


# -- terminal --------------------------------------------------------------------------


def show(result: RunResult, width: int = 80) -> str:
    stream = io.StringIO()
    terminal.print_run(result, Console(file=stream, width=width, force_terminal=False))
    return stream.getvalue()


def test_the_last_line_sums_up(green: RunResult) -> None:
    assert show(green).splitlines()[-1] == "1 scenario: 1 CONFIRMED   (48.2 s, tcg: no /dev/kvm)"


def test_each_arm_has_a_row_and_each_scenario_a_verdict(mixed: RunResult) -> None:
    shown = show(mixed)
    rows = [line.split() for line in shown.partition("odd on")[0].splitlines()]
    for one in mixed.scenarios:
        for arm in one.arms:
            assert any({arm.arm.stack, arm.arm.expect, arm.outcome} <= set(row) for row in rows)
        assert any(row[: len(one.verdict.split())] == one.verdict.split() for row in rows)


def test_the_table_fits_80_columns_and_names_stay_whole(green: RunResult, folder: Path) -> None:
    table = show(green).partition("results:")[0].splitlines()
    assert max(map(len, table)) <= 80
    long = "a-scenario-with-a-name-of-more-than-forty-letters"
    arm = make_arm(folder, long, f"{long}-6.12", Expect.PASS, Outcome.PASS)
    run = make_run(folder, ScenarioResult(name=long, verdict=Verdict.WORKS, arms=(arm,)))
    assert [line for line in show(run).splitlines() if long in line and f"{long}-6.12" in line]


def test_only_odd_arms_are_explained(mixed: RunResult, green: RunResult) -> None:
    shown = show(mixed)
    assert "odd on crash-6.12: CRASH, expected PASS\n  why CRASH\n" in shown
    assert "never on vanilla-6.12: MISS, expected PASS\n  planned, never ran\n" in shown
    assert "feature on" not in shown
    assert "alone: BROKEN TEST, though each arm alone is as expected" in shown
    assert "login on" not in show(green)


def test_an_odd_arm_tells_what_differs_and_how_to_repeat_it(folder: Path) -> None:
    odd = Check(name="errno", observed="0", good="ECONNREFUSED", broken="EPERM")
    arm = make_arm(
        folder, "s", BROKEN, Expect.SYMPTOM, Outcome.FAIL, odd, ERRNO, SU, reproduce="#!/bin/sh\n"
    )
    run = make_run(folder, ScenarioResult(name="s", verdict=Verdict.NOT_REPRODUCED, arms=(arm,)))
    block = show(run).partition(f"s on {BROKEN}")[2].partition("\n\n")[0].splitlines()[1:]
    assert block == [
        "  why FAIL",
        "  errno: observed 0, wanted EPERM",
        f"  artifacts: {arm.artifacts}",
        f"  reproduce: {arm.artifacts}/reproduce",
    ]


def test_colour_only_where_the_terminal_has_it(mixed: RunResult) -> None:
    assert "\x1b[" not in show(mixed)
    stream = io.StringIO()
    colours = Console(file=stream, width=80, force_terminal=True, color_system="standard")
    terminal.print_run(mixed, colours)
    assert "\x1b[1;31m! CRASH" in stream.getvalue()


def test_a_table_folds_on_a_terminal_and_not_in_a_pipe() -> None:
    path = "/a/path/of/many/parts" * 6
    shown = []
    for is_terminal in (True, False):
        stream = io.StringIO()
        console = Console(file=stream, width=60, force_terminal=is_terminal, color_system=None)
        terminal.print_table("kernels", ("stack", "file"), [("vanilla", path)], console)
        shown.append(stream.getvalue())
    assert max(map(len, shown[0].splitlines())) <= 60
    assert path in shown[1]
    assert all("kernels" in text and "[bold]" not in text for text in shown)


def test_a_guest_cannot_drive_the_terminal(folder: Path) -> None:
    arm = ArmResult(
        arm=Arm(scenario="s", stack=GOOD, expect=Expect.PASS),
        outcome=Outcome.FAIL,
        signature="\x1b[2J[red]gone[/red]",
    )
    run = make_run(folder, ScenarioResult(name="s", verdict=Verdict.BROKEN_TEST, arms=(arm,)))
    shown = show(run)
    assert "[red]gone[/red]" in shown
    stream = io.StringIO()
    terminal.print_table("\x1b[2Jt", ("c",), [("\x1b[2J[b]cell",)], Console(file=stream))
    assert "[b]cell" in stream.getvalue()
    assert "\x1b" not in shown + stream.getvalue()


# -- JSON ------------------------------------------------------------------------------


def test_the_json_obeys_its_schema(mixed: RunResult, green: RunResult) -> None:
    validator = jsonschema.Draft202012Validator(as_json.SCHEMA)
    validator.check_schema(as_json.SCHEMA)
    for run in (mixed, green):
        validator.validate(json.loads(json.dumps(as_json.render(run))))


def test_the_schema_knows_a_guest_that_booted_once_more(green: RunResult) -> None:
    said = as_json.render(green)
    said["scenarios"][0]["arms"][0]["boot"] = "second cold"
    jsonschema.validate(said, as_json.SCHEMA)


@pytest.mark.parametrize("key", ["schema", "host", "stacks", "scenarios"])
def test_the_schema_refuses_what_lacks_a_part(green: RunResult, key: str) -> None:
    value = as_json.render(green)
    del value[key]
    with pytest.raises(jsonschema.ValidationError, match=key):
        jsonschema.validate(value, as_json.SCHEMA)


def test_the_json_holds_the_arms(green: RunResult) -> None:
    said = as_json.render(green)
    assert said["stacks"][1]["series"] == ["unfix/errno"]
    broken = said["scenarios"][0]["arms"][0]
    assert broken == {
        "stack": BROKEN,
        "expect": "SYMPTOM",
        "outcome": "SYMPTOM",
        "signature": "why SYMPTOM",
        "seconds": 1.25,
        "boot": "warm",
        "known": False,
        "evidence": {"errno": "EPERM", "records": 3, "lost": 0, "boot_s": 0.5},
        "checks": [
            {"name": "errno", "observed": "EPERM", "good": "ECONNREFUSED", "broken": "EPERM"},
            {"name": "su", "observed": "granted", "good": "granted", "broken": "granted"},
        ],
        "artifacts": green.scenarios[0].arms[0].artifacts,
    }


# -- JUnit -----------------------------------------------------------------------------


def test_each_outcome_has_its_place_in_junit(mixed: RunResult) -> None:
    root = ET.fromstring(junit.render(mixed))
    found = {
        (case.get("classname"), case.get("name")): [one.tag for one in case]
        for case in root.iter("testcase")
    }
    assert found == {
        ("odd", "symptom-6.12"): ["failure"],
        ("odd", "fail-6.12"): ["failure"],
        ("odd", "crash-6.12"): ["error"],
        ("odd", "timeout-6.12"): ["error"],
        ("odd", "error-6.12"): ["error"],
        ("odd", "skip-6.12"): ["skipped"],
        ("odd", "miss-6.12"): ["error"],
        ("feature", GOOD): [],
        ("feature", FEATURE): [],
        ("never", GOOD): ["error"],
        ("alone", GOOD): [],
        ("alone", "verdict"): ["failure"],
    }


def test_junit_counts_what_it_holds(mixed: RunResult) -> None:
    root = ET.fromstring(junit.render(mixed))
    for element in (root, *root):
        counts = Counter(one.tag for case in element.iter("testcase") for one in case)
        assert element.get("tests") == str(len(list(element.iter("testcase"))))
        assert element.get("errors") == str(counts["error"])
        assert element.get("failures") == str(counts["failure"])
        assert element.get("skipped") == str(counts["skipped"])
    skipped = root.find("testsuite/testcase/skipped")
    assert skipped is not None
    assert skipped.get("message") == "why SKIP"


def test_junit_is_green_when_the_run_is(green: RunResult) -> None:
    root = ET.fromstring(junit.render(green))
    assert (root.get("errors"), root.get("failures"), root.get("skipped")) == ("0", "0", "0")
    verdict = root.find("testsuite/properties/property[@name='verdict']")
    assert verdict is not None
    assert verdict.get("value") == "CONFIRMED"


def test_junit_holds_the_end_of_the_console_without_control_characters(folder: Path) -> None:
    console = (
        "".join(f"line {number}\r\n" for number in range(500)) + "\x1b[1mBUG\0: <oops>\x02\n\n"
    )
    arm = make_arm(folder, "s", GOOD, Expect.PASS, Outcome.CRASH, console__log=console)
    run = make_run(folder, ScenarioResult(name="s", verdict=Verdict.BROKEN_TEST, arms=(arm,)))
    text = ET.fromstring(junit.render(run)).findtext("testsuite/testcase/system-out")
    assert text is not None
    lines = text.splitlines()
    assert len(lines) == junit.CONSOLE_LINES
    assert lines[-2:] == ["line 499", "BUG: <oops>"]


# -- KTAP ------------------------------------------------------------------------------


def results(text: str, indent: str) -> list[str]:
    return re.findall(rf"^{indent}((?:not )?ok .*)$", text, re.MULTILINE)


def test_ktap_nests_arms_in_scenarios(mixed: RunResult) -> None:
    text = ktap.render(mixed)
    assert text.startswith("KTAP version 1\n1..4\n  KTAP version 1\n  # Subtest: odd\n  1..7\n")
    assert results(text, "") == [
        "not ok 1 - odd",
        "ok 2 - feature",
        "not ok 3 - never",
        "not ok 4 - alone",
    ]
    assert results(text, "  ") == [
        "not ok 1 - symptom-6.12",
        "not ok 2 - fail-6.12",
        "not ok 3 - crash-6.12",
        "not ok 4 - timeout-6.12 # TIMEOUT why TIMEOUT",
        "not ok 5 - error-6.12 # ERROR why ERROR",
        "ok 6 - skip-6.12 # SKIP why SKIP",
        "not ok 7 - miss-6.12 # ERROR why MISS",
        f"ok 1 - {GOOD}",
        f"ok 2 - {FEATURE}",
        f"not ok 1 - {GOOD} # ERROR planned, never ran",
        f"ok 1 - {GOOD}",
    ]
    assert "  # crash-6.12: CRASH, expected PASS, 1.2 s\n  #   why CRASH\n" in text


def test_no_text_of_a_guest_becomes_a_ktap_line(folder: Path) -> None:
    arm = ArmResult(
        arm=Arm(scenario="s", stack="odd # SKIP", expect=Expect.PASS),
        outcome=Outcome.FAIL,
        signature="first\nok 1 - forged",
    )
    run = make_run(folder, ScenarioResult(name="s", verdict=Verdict.BROKEN_TEST, arms=(arm,)))
    assert results(ktap.render(run), " *") == ["not ok 1 - odd _ SKIP", "not ok 1 - s"]


# -- KCIDB -----------------------------------------------------------------------------

ID = {"type": "string", "pattern": r"^[a-z0-9_]+:[^\0]*$"}
STATUS = {"enum": ["FAIL", "ERROR", "MISS", "PASS", "DONE", "SKIP"]}
# What version 5.3 of the schema demands of the parts that are written here.
KCIDB = {
    "type": "object",
    "additionalProperties": False,
    "required": ["version"],
    "properties": {
        "version": {"const": {"major": 5, "minor": 3}},
        "checkouts": {
            "items": {
                "additionalProperties": False,
                "required": ["id", "origin"],
                "properties": {
                    "id": ID,
                    "origin": {"const": "nsaudit"},
                    "comment": {"type": "string"},
                    "patchset_hash": {"pattern": "^$|^[0-9a-f]{64}$"},
                    "valid": {"type": "boolean"},
                    "misc": {"type": "object"},
                },
            }
        },
        "builds": {
            "items": {
                "additionalProperties": False,
                "required": ["id", "origin", "checkout_id"],
                "properties": {
                    "id": ID,
                    "origin": {"const": "nsaudit"},
                    "checkout_id": ID,
                    "architecture": {"pattern": "^[a-z0-9_]*$"},
                    "status": STATUS,
                    "comment": {"type": "string"},
                    "misc": {"type": "object"},
                },
            }
        },
        "tests": {
            "items": {
                "additionalProperties": False,
                "required": ["id", "origin", "build_id"],
                "properties": {
                    "id": ID,
                    "origin": {"const": "nsaudit"},
                    "build_id": ID,
                    "path": {"pattern": r"^[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*$"},
                    "status": STATUS,
                    "comment": {"type": "string"},
                    "start_time": {"type": "string"},
                    "duration": {"type": "number"},
                    "log_excerpt": {"type": "string", "maxLength": 16384},
                    "environment": {
                        "additionalProperties": False,
                        "properties": {"comment": {"type": "string"}, "misc": {"type": "object"}},
                    },
                    "misc": {"type": "object"},
                },
            }
        },
    },
}


def test_kcidb_obeys_the_schema_and_its_parts_refer_to_each_other(
    mixed: RunResult, green: RunResult
) -> None:
    for run in (mixed, green):
        said = json.loads(json.dumps(kcidb.render(run)))
        jsonschema.validate(said, KCIDB)
        checkouts = [one["id"] for one in said["checkouts"]]
        builds = [one["id"] for one in said["builds"]]
        tests = [one["id"] for one in said["tests"]]
        for ids in (checkouts, builds, tests):
            assert len(ids) == len(set(ids))
        assert {one["checkout_id"] for one in said["builds"]} == set(checkouts)
        assert {one["build_id"] for one in said["tests"]} <= set(builds)


def test_kcidb_statuses(mixed: RunResult) -> None:
    found = {
        (one["misc"]["scenario"], one["misc"]["outcome"]): one["status"]
        for one in kcidb.render(mixed)["tests"]
    }
    assert found == {
        ("odd", "SYMPTOM"): "FAIL",
        ("odd", "FAIL"): "FAIL",
        ("odd", "CRASH"): "FAIL",
        ("odd", "TIMEOUT"): "ERROR",
        ("odd", "ERROR"): "ERROR",
        ("odd", "SKIP"): "SKIP",
        ("odd", "MISS"): "MISS",
        ("feature", "SYMPTOM"): "PASS",
        ("feature", "PASS"): "PASS",
        ("never", "MISS"): "MISS",
        ("alone", "PASS"): "PASS",
    }


def test_kcidb_tells_what_was_expected(green: RunResult, mixed: RunResult) -> None:
    odd = kcidb.render(mixed)["tests"][2]["misc"]
    assert (odd["expect"], odd["outcome"], odd["as_expected"]) == ("PASS", "CRASH", False)
    test = kcidb.render(green)["tests"][0]
    assert test["path"] == "nsaudit.login"
    assert test["log_excerpt"] == "booting\nthe end"
    misc = test["misc"]
    assert (misc["expect"], misc["outcome"], misc["verdict"]) == ("SYMPTOM", "SYMPTOM", "CONFIRMED")
    assert misc["evidence"]["lost"] == 0
    assert test["environment"]["misc"]["accelerator"] == "tcg"


def test_patchset_hashes_follow_the_tree(green: RunResult) -> None:
    first, again = kcidb.render(green)["checkouts"], kcidb.render(green)["checkouts"]
    hashes = [one["patchset_hash"] for one in first]
    assert hashes[0] == ""
    assert len(set(hashes)) == 3
    assert first == again


def test_a_stack_that_was_never_built_is_a_missing_build(mixed: RunResult) -> None:
    said = kcidb.render(mixed)
    statuses = {one["misc"]["stack"]: one["status"] for one in said["builds"]}
    assert statuses["crash-6.12"] == "MISS"
    assert statuses[GOOD] == "PASS"


# -- HTML ------------------------------------------------------------------------------


class Page(HTMLParser):
    """A page as a browser would take it: what opens where, and the text inside."""

    _VOID = frozenset({"meta", "br", "link", "img", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.ids: list[str] = []
        self.text: dict[str, str] = {}
        self._open: list[tuple[str, str]] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {key: value or "" for key, value in attrs}
        self.elements.append((tag, named))
        if "id" in named:
            self.ids.append(named["id"])
        if tag not in self._VOID:
            self._open.append((tag, named.get("id", "")))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        for _, name in self._open:
            if name:
                self.text[name] = self.text.get(name, "") + data
        for tag in {tag for tag, _ in self._open}:
            self.text[f"<{tag}>"] = self.text.get(f"<{tag}>", "") + data

    def find(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        return [
            one for name, one in self.elements if name == tag and attributes.items() <= one.items()
        ]


def cut(text: str, start: str, end: str) -> str:
    assert start in text
    return text.partition(start)[2].partition(end)[0]


def test_what_a_guest_wrote_is_only_text(green: RunResult) -> None:
    text = html.render(green)
    page = Page(text)
    assert HOSTILE not in text
    assert len(page.find("script")) == 1
    assert HOSTILE in page.text[f"arm-login-{GOOD}-records.log"]


def test_a_signature_cannot_break_the_page(folder: Path) -> None:
    arm = ArmResult(
        arm=Arm(scenario="s", stack=GOOD, expect=Expect.PASS),
        outcome=Outcome.FAIL,
        signature='\ud800\x1b[2J\0"><b onclick=x>\u202e',
    )
    run = make_run(folder, ScenarioResult(name="s", verdict=Verdict.BROKEN_TEST, arms=(arm,)))
    text = html.render(run)
    assert text.encode()
    assert not Page(text).find("b", onclick="x")
    assert not re.search("[\0\x1b\u202e]", text)


def test_the_page_loads_nothing_and_runs_only_its_own_script(green: RunResult) -> None:
    page = Page(html.render(green))
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object")
        assert not attributes.keys() & {"src", "onclick", "style"}
        assert attributes.get("href", "#").startswith("#")
    assert "url(" not in page.text["<style>"]
    assert "@import" not in page.text["<style>"]
    digest = hashlib.sha256(page.text["<script>"].encode()).digest()
    (policy,) = page.find("meta", **{"http-equiv": "Content-Security-Policy"})
    assert "default-src 'none'" in policy["content"]
    assert f"'sha256-{base64.b64encode(digest).decode()}'" in policy["content"]


def test_links_lead_somewhere_and_names_are_unique(mixed: RunResult, green: RunResult) -> None:
    for run in (mixed, green):
        page = Page(html.render(run))
        assert len(page.ids) == len(set(page.ids))
        assert {link["href"][1:] for link in page.find("a")} <= set(page.ids)
        assert all("scope" in header for header in page.find("th"))


def test_names_that_look_alike_get_anchors_of_their_own() -> None:
    names = html.Anchors()
    assert [names.make("arm", name) for name in ("a b", "a-b", "a/b")] == [
        "arm-a-b",
        "arm-a-b-2",
        "arm-a-b-3",
    ]


def test_the_matrix_has_a_cell_for_each_arm_and_leads_to_it(mixed: RunResult) -> None:
    page = Page(html.render(mixed))
    cells = [link for link in page.find("a") if "data-stack" in link]
    tones = {link["href"]: link["class"] for link in cells}
    assert len(cells) == sum(len(one.arms) for one in mixed.scenarios)
    assert tones["#arm-feature-feature-6.12"] == "good"
    assert tones["#arm-feature-vanilla-6.12"] == "symptom"
    assert tones["#arm-odd-crash-6.12"] == tones["#arm-odd-symptom-6.12"] == "bad"
    assert tones["#arm-odd-timeout-6.12"] == tones["#arm-odd-miss-6.12"] == "ours"
    assert tones["#arm-odd-skip-6.12"] == "skip"
    # The unbuilt stack of the fixture is asked nothing, and has no column.
    assert not [link for link in cells if link["data-stack"] == BROKEN]


def test_every_outcome_is_a_word_and_not_only_a_colour(mixed: RunResult) -> None:
    table = cut(html.render(mixed), '<table class="matrix"', "</table>")
    for outcome in Outcome:
        assert f"</span> {outcome}</b>" in table
    assert table.count("<small>expected PASS</small>") == 8


def test_odd_arms_are_open_and_listed(mixed: RunResult, green: RunResult) -> None:
    page = Page(html.render(mixed))
    arms = [one for one in page.find("details") if one["class"].startswith("arm ")]
    assert [one["class"] for one in arms if "open" not in one] == [
        "arm symptom",
        "arm good",
        "arm good",
    ]
    assert "Not as expected" in page.text["<h2>"]
    assert "Not as expected" not in Page(html.render(green)).text["<h2>"]


def test_checks_tell_what_they_look_like_and_which_differ(folder: Path) -> None:
    neither = Check(name="errno", observed="0", good="ECONNREFUSED", broken="EPERM")
    as_good = Check(name="ftp", observed="230", good="230", broken="530")
    arm = make_arm(folder, "s", BROKEN, Expect.SYMPTOM, Outcome.FAIL, neither, as_good, ERRNO, SU)
    run = make_run(folder, ScenarioResult(name="s", verdict=Verdict.NOT_REPRODUCED, arms=(arm,)))
    table = cut(html.render(run), '<table class="plain checks">', "</table>")
    rows = table.partition("<tbody>")[2].split("</tr>")[:-1]
    reads = [re.findall(r'class="reads (\w+)"', row) for row in rows]
    assert reads == [["neither"], ["good"], ["broken"], ["either"]]
    assert ["differs" in row for row in rows] == [True, True, False, False]
    assert "wanted EPERM" in rows[0]
    assert "wanted 530" in rows[1]


def test_an_arm_shows_its_evidence(green: RunResult) -> None:
    page = Page(html.render(green))
    text = html.render(green)
    for shown in (
        "<dt>lost</dt><dd>0</dd>",
        "<dt>boot (s)</dt><dd>0.5</dd>",
        "530 Login incorrect.",
        "qemu-system-x86_64 -M microvm",
        "exec nsaudit run login",
        f"{green.scenarios[0].arms[0].artifacts}/reproduce",
    ):
        assert shown in text
    assert page.text[f"arm-login-{BROKEN}-console.log"] == "booting\nthe end"
    assert "There is no console log." in text
    # Both arms have the same configuration: it is there once, and the other refers to it.
    assert text.count("CONFIG_ONE=y") == 1
    assert f'is the same as <a href="#arm-login-{BROKEN}-config.txt">' in text


def test_records_stand_side_by_side_and_differences_are_marked(green: RunResult) -> None:
    text = cut(html.render(green), '<div class="beside"', "</details>")
    stacks = re.findall(r"<h5>(\S+)", text)
    assert stacks == [BROKEN, GOOD]
    marked = re.findall(r'<li class="alone">.*?</span>(.*?)</li>', text)
    assert [line.partition("res=")[2][:7] for line in marked] == ["failed", "success"]
    # Another pid alone is no difference.
    assert len(re.findall(r"<li>type=BOOT", text)) == 2


def test_of_a_long_console_the_end_is_shown_and_the_rest_can_be_opened(folder: Path) -> None:
    lines = [f"[{number:6}] {'x' * 90}" for number in range(3000)]
    console = "\n".join(lines)
    arm = make_arm(folder, "s", GOOD, Expect.PASS, Outcome.PASS, console__log=console)
    run = make_run(folder, ScenarioResult(name="s", verdict=Verdict.WORKS, arms=(arm,)))
    text = html.render(run)
    tail = Page(text).text[f"arm-s-{GOOD}-console.log"].splitlines()
    assert tail == lines[-html.CONSOLE_TAIL :]
    assert lines[-html.CONSOLE_TAIL - 1] in cut(text, 'class="file earlier"', "</details>")
    assert lines[0] not in text
    assert f"The first {len(console) - html.FILE_LIMIT:,} bytes are left off" in text


def test_the_header_tells_of_host_and_kernels(green: RunResult) -> None:
    text = html.render(green)
    header = cut(text, "<header", "</header>")
    for shown in ("2026-01-02 03:04:05 UTC", "1 scenario: 1 CONFIRMED", "no /dev/kvm", "48.2 s"):
        assert shown in header
    kernels = cut(text, '<h2 id="kernels">', "</table>")
    for one in green.kernels:
        assert one.stack in kernels
        assert f">{one.tree[:12]}</code>" in kernels
        assert f">{one.config_digest[:12]}</code>" in kernels
    assert "unfix/errno" in kernels


def test_a_run_in_which_nothing_was_asked_can_be_written(folder: Path) -> None:
    run = make_run(folder)
    assert "Nothing was asked." in html.render(run)
    assert "nothing was asked" in show(run)
    assert ktap.render(run) == "KTAP version 1\n1..0\n"
    assert ET.fromstring(junit.render(run)).get("tests") == "0"
    assert kcidb.render(run)["tests"] == []


def test_what_a_selftest_says_is_read_test_by_test() -> None:
    text = (
        "TAP version 13\n1..6\n# Starting 5 tests\n#            OK  set.one\nok 1 set.one\n"
        "not ok 2 set.two\nok 3 set.three # SKIP needs root\nok 4 - set.four\n"
        "not ok 5 set.five # TIMEOUT 45 seconds\n    ok 1 inner\n# Totals: pass:2\n"
    )
    assert ktap.parse(text) == {
        "set.one": "ok",
        "set.two": "not ok",
        "set.three": "SKIP",
        "set.four": "ok",
        "set.five": "TIMEOUT",
        "test 6": "missing",
    }
    assert ktap.parse("Segmentation fault\n") == {}
