"""Hunks that are taken away: which there are, what becomes of the kernel, who misses them."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from harness import cli, questions
from harness.cells import mutation
from harness.cells.mutation import Findings, Mutation
from harness.cells.reach import Reach
from harness.commands import mutate
from harness.errors import SeriesError, UsageError
from harness.jobs import PATCHES
from harness.kernel import hunks
from harness.kernel.build import Builder
from harness.kernel.hunks import Hunk
from harness.kernel.series import load
from harness.kernel.tables import read_toml
from harness.model import Fate, Mutant, MutationResult, Outcome
from harness.questions import Ends
from harness.report import mutation as shown
from harness.tests.small_kernel import SOURCE, Change, Lab

pytestmark = pytest.mark.tools

FEATURE, UNFIX = Ends(Outcome.SYMPTOM, Outcome.PASS), Ends(Outcome.PASS, Outcome.SYMPTOM)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def insert(before: str, text: str) -> Change:
    def change(old: str) -> str:
        assert f"\n{before}\n" in old
        return old.replace(f"\n{before}\n", f"\n{text}{before}\n")

    return change


class Run:
    """A mutation of the lab's series, and what came of it."""

    def __init__(
        self,
        lab: Lab,
        ends: Mapping[str, Ends],
        unmissed: Sequence[Mapping[str, str]] = (),
        reach: Reach | None = None,
        *,
        certain: bool = False,
    ) -> None:
        self.mutation = Mutation(
            asker=lab.asker,
            whole=lab.revision(len(lab.split()) - 1),
            ends=ends,
            at_a_time=2,
            reach=reach or Reach(),
        )
        self.whole = self.mutation.require_whole()
        lab.guests.asked.clear()
        findings = Findings()
        for _ in self.mutation.run(lab.hunks(), findings):
            pass
        self.idle = findings.excuse(unmissed, certain=certain)
        self.mutants = list(findings.mutants.values())
        self.fates = {one.text.splitlines()[-1]: one.fate for one in self.mutants}


# -- which hunks there are -------------------------------------------------------------------

FUNCTION = """\
static int f(int a)
{
	int b = a;

	if (a)
		return 1;

	return b;
}

"""


def test_a_hunk_is_a_change_and_long_additions_go_by_paragraph(lab: Lab) -> None:
    lab.write(
        insert("line 5", FUNCTION),
        lambda old: old.replace("line 20\nline 21\n", "line twenty\n"),
        lambda old: old.replace("line 30\n", ""),
        insert("line 35", "/* prose */\n\n"),
    )
    *found, prose = lab.hunks()
    assert (prose.starts, prose.no_code) == ("/* prose */", "comments and white space")
    assert not any(one.no_code for one in found)
    assert [(one.line, one.starts) for one in found] == [
        (6, "static int f(int a)"),
        (8, "int b = a;"),
        (10, "if (a)"),
        (13, "return b;"),
        (14, "}"),
        (31, "line twenty"),
        (40, "-line 30"),
    ]
    assert [hunks.is_balanced(one) for one in found] == [False, True, True, True, False, True, True]
    whole = lab.revision(4)
    content = hunks.read_file(whole.source, whole.commit, "a.c")
    assert found[2].taken_from(content) == content.replace("\tif (a)\n\t\treturn 1;\n", "\n\n")
    assert "line twenty" not in found[5].taken_from(content)
    assert "\nline 20\nline 21\n#line 32\nline 22\n" in found[5].taken_from(content)
    lengths = [one.taken_from(content).count("\n") - content.count("\n") for one in found[:5]]
    assert lengths == [0] * 5
    assert "\nline 29\nline 30\n#line 40\nline 31\n" in found[6].taken_from(content)
    assert len({one.key for one in found}) == 7
    assert not hunks.is_in(prose, ["b.*"])
    assert hunks.is_in(prose, ["b.*", "a.?"])
    assert [one.line for one in found if hunks.is_in(one, ["a.c:10", "?.c:31"])] == [10, 31]


def test_what_is_no_code_is_in_one_piece(lab: Lab) -> None:
    lab.write(lambda _: "one\n\ntwo {\n\n", file="Kconfig")
    (hunk,) = lab.hunks()
    assert (hunk.starts, len(hunk.added), hunk.no_code) == ("one", 4, "neither C nor assembler")


def test_a_replacement_gives_back_what_it_took_with_its_first_paragraph() -> None:
    diff = "+++ b/a.c\n@@ -3,1 +3,4 @@ f\n-old();\n+one();\n+\n+two();\n+three();\n"
    first, second = hunks.parse_hunks("a.c", diff)
    assert (first.line, first.removed, first.added) == (3, ("old();",), ("one();", ""))
    assert (second.line, second.removed, second.added) == (5, (), ("two();", "three();"))


def test_a_macro_goes_on_where_a_part_of_it_was() -> None:
    lines = ("#define M \\", "\tone(); \\", "\ttwo();", "")
    hunk = Hunk(file="a.h", line=2, added=lines[1:2])
    assert hunk.taken_from("\n".join(lines)) == "#define M \\\n\\\n\ttwo();\n"
    hunk = Hunk(file="a.h", line=3, added=(), removed=lines[1:2])
    assert hunk.taken_from("\n".join(lines)) == "#define M \\\n\tone(); \\\n\tone(); \\\n\ttwo();\n"


def test_brackets_of_a_comment_open_nothing() -> None:
    lines = ("/* one (of", " * many */", "f();", "if (a) { /* } */", "g();")
    diff = "+++ b/a.c\n@@ -0,0 +1,5 @@\n" + "".join(f"+{line}\n" for line in lines)
    first, second = hunks.parse_hunks("a.c", diff)
    assert (first.added, second.added) == (lines[:4], lines[4:])
    assert [hunks.is_balanced(one) for one in (first, second)] == [False, True]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("kernel/audit.c", ""),
        ("include/uapi/linux/audit.h", ""),
        ("arch/x86/entry/entry_64.S", ""),
        ("kernel/audit_ns_test.c", "a KUnit test"),
        ("tools/testing/selftests/ns_audit/ns_audit.c", "a program of user space"),
        ("Documentation/admin-guide/x.c", "documentation"),
        ("init/Kconfig", "neither C nor assembler"),
        ("kernel/Makefile", "neither C nor assembler"),
    ],
)
def test_why_a_file_is_no_code(name: str, why: str) -> None:
    assert hunks.why_no_code(name) == why


def test_comments_and_white_space_are_no_words() -> None:
    text = 'a = "// no /* comment";  // yes\n/* two\nlines */\tb("\\"", \'"\');\n#line 12\n'
    words = ["a", "=", '"// no /* comment"', ";", "b", "(", '"\\""', ",", "'\"'", ")", ";"]
    assert hunks.words_of(text) == words


# -- what becomes of the kernel ----------------------------------------------------------------


def test_each_hunk_has_its_fate(lab: Lab) -> None:
    # Without what the last patch changes the source does not build.
    (lab.root / "linux" / "a.c").write_text(SOURCE.replace("line 30", "#error"))
    lab.write(
        insert("line 5", "q PASS\n"),
        insert("line 10", "p PASS\n"),
        insert("line 15", "nobody\n"),
        insert("line 20", "excused\n"),
        insert("line 25", "open {\n\n"),
        lambda old: old.replace("#error\n", "fine\n"),
    )
    run = Run(lab, {"q": FEATURE, "p": FEATURE}, [entry("excused"), entry("p PASS")])
    assert run.whole == {"q": Outcome.PASS, "p": Outcome.PASS}
    assert run.fates == {
        "+q PASS": Fate.KILLED,
        "+p PASS": Fate.KILLED,
        "+nobody": Fate.SURVIVED,
        "+excused": Fate.LISTED,
        "+open {": Fate.STILLBORN,
        "+": Fate.NO_CODE,
        "+fine": Fate.STILLBORN,
    }
    assert [one.by for one in run.mutants[:2]] == ["q", "p"]
    assert run.mutants[3].why == "a reason"
    # The one that missed the last hunk is asked first.
    assert [name for _, name in lab.guests.asked] == ["q", "q", "p", "p", "q", "p", "q"]
    assert run.idle == ["unmissed.toml: no hunk of a.c survives that starts with 'p PASS'"]


def test_two_hunks_that_start_alike_are_listed_one_by_one(lab: Lab) -> None:
    lab.write(insert("line 5", "q PASS\n"), insert("line 10", "x\n"), insert("line 20", "x\n"))
    once = Run(lab, {"q": FEATURE}, [entry("x")], certain=True)
    assert [one.fate for one in once.mutants] == [Fate.KILLED, Fate.SURVIVED, Fate.SURVIVED]
    once = Run(lab, {"q": FEATURE}, [entry("x")])
    assert [one.fate for one in once.mutants] == [Fate.KILLED, Fate.LISTED, Fate.SURVIVED]
    twice = Run(lab, {"q": FEATURE}, [entry("x"), entry("x")])
    assert [one.fate for one in twice.mutants] == [Fate.KILLED, Fate.LISTED, Fate.LISTED]
    assert twice.idle == []


def test_what_is_no_code_is_not_built(lab: Lab) -> None:
    lab.write(insert("line 5", "q PASS\n"), insert("line 10", "// prose\n"))
    killed, idle = Run(lab, {"q": FEATURE}).mutants
    assert killed.fate is Fate.KILLED
    assert (idle.fate, idle.why) == (Fate.NO_CODE, "comments and white space")
    # The whole series is booted first, and a hunk is asked about at once.
    assert len(lab.guests.booted) == 1
    assert len(lab.guests.asked) == 1


def test_the_likeliest_and_then_the_quickest_are_asked_first(lab: Lab) -> None:
    lab.guests.seconds = {"q": 3.0, "p": 2.0, "r": 1.0}
    lines = ("nobody", "q PASS", "nobody", "p PASS", "nobody", "r PASS")
    lab.write(*(insert(f"line {5 * at}", f"{line}\n") for at, line in enumerate(lines, 1)))
    run = Run(lab, dict.fromkeys(("q", "p", "r"), FEATURE))
    assert [one.by for one in run.mutants] == ["", "q", "", "p", "", "r"]
    asked = "".join(name for _, name in lab.guests.asked)
    assert asked == "rpqrpqqrpqrppqrpqr"


def test_whom_only_this_configuration_lets_ask_is_asked_first(lab: Lab) -> None:
    lab.guests.seconds = {"q": 1.0, "p": 2.0}
    lab.write(insert("line 5", "nobody\n"))
    run = Mutation(
        asker=lab.asker,
        whole=lab.revision(1),
        ends=dict.fromkeys(("q", "p"), Ends(Outcome.SYMPTOM, Outcome.SYMPTOM)),
        new=frozenset({"p"}),
    )
    run.require_whole()
    lab.guests.asked.clear()
    assert [one.fate for one in run.run(lab.hunks(), Findings())] == [Fate.SURVIVED]
    assert [name for _, name in lab.guests.asked] == ["p", "q"]


def entry(starts: str) -> Mapping[str, str]:
    return {"file": "a.c", "starts": starts, "reason": "a reason"}


def test_a_kernel_that_does_not_build_or_boot_without_a_hunk(lab: Lab) -> None:
    lab.write(
        lambda old: (
            old.replace("line 5\n", "#error\n")
            .replace("line 15\n", "crash\n")
            .replace("line 25\n", "hang\n")
        ),
        lambda old: (
            old.replace("#error\n", "builds\n")
            .replace("crash\n", "runs\n")
            .replace("hang\n", "answers\n")
        ),
    )
    tree = lab.open()
    prefixes = lab.split()
    first, whole = prefixes[1].revision, prefixes[2].revision
    assert first
    assert whole
    found = hunks.find_hunks(tree, first.commit, whole.commit)
    run = Mutation(asker=lab.asker, whole=whole, ends={"q": UNFIX})
    run.require_whole()
    stillborn, crashed, hung = run.run(found, Findings())
    assert (stillborn.fate, stillborn.why) == (Fate.STILLBORN, "a.c:6:1: error: no")
    # A crash is an answer; where none came, a boot shows whether that was the scenario's doing.
    assert (crashed.fate, crashed.by, crashed.why) == (Fate.KILLED, "q", "CRASH: seen")
    assert (hung.fate, hung.by) == (Fate.KILLED, "boots")
    assert hung.why == "boots: the guest's boot: no answer"


def test_kernels_without_a_hunk_are_not_kept_and_answers_are(lab: Lab) -> None:
    lab.write(insert("line 5", "q PASS\n"), insert("line 10", "nobody\n"))
    Run(lab, {"q": FEATURE})
    kernels = {path.name for path in (lab.workspace.root / "cache" / "kernel").iterdir()}
    builder = lab.asker.builder
    assert kernels == {builder.key_of(lab.revision(2))}
    builds = lab.builds()
    again = Run(lab, {"q": FEATURE})
    assert [one.fate for one in again.mutants] == [Fate.KILLED, Fate.SURVIVED]
    assert lab.guests.asked == []
    assert lab.builds() == builds


def test_another_configuration_is_asked_what_nobody_missed_under_the_first(lab: Lab) -> None:
    lab.write(
        insert("line 5", "q PASS\n"),
        insert("line 10", "p PASS\n"),
        insert("line 15", "nobody\n"),
        insert("line 20", "excused\n"),
    )
    whole, findings = lab.revision(4), Findings()

    def ask(config: str, name: str) -> list[Fate]:
        builder = Builder(
            workspace=lab.workspace, kconfigs=lab.root / "kconfigs", config=config, values={}
        )
        asker = dataclasses.replace(lab.asker, builder=builder)
        run = Mutation(asker=asker, whole=whole, ends={name: FEATURE})
        findings.whole[config] = run.require_whole()
        return [one.fate for one in run.run(findings.left_of(lab.hunks()), findings)]

    assert ask("default", "q") == [Fate.KILLED, Fate.SURVIVED, Fate.SURVIVED, Fate.SURVIVED]
    # About what need not be missed no other is asked.
    assert findings.excuse([entry("excused")]) == []
    assert ask("other", "p") == [Fate.KILLED, Fate.SURVIVED]
    assert findings.excuse([entry("excused")]) == []
    assert [(one.fate, one.config, one.by) for one in findings.mutants.values()] == [
        (Fate.KILLED, "default", "q"),
        (Fate.KILLED, "other", "p"),
        (Fate.SURVIVED, "other", ""),
        (Fate.LISTED, "default", ""),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nsid", "--config", "default", "--config", "none"), "there is no configuration 'none'"),
        (
            ("nsid", "nsid-fault", "--config", "fault", "--config", "default"),
            "nsid-fault is only asked with --config fault",
        ),
    ],
)
def test_a_later_configuration_is_refused_before_the_first_is_asked(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: Sequence[str],
    message: str,
) -> None:
    def ask(*_: object) -> list[str]:
        raise AssertionError("it was asked")

    monkeypatch.setattr(mutate, "_ask", ask)
    assert cli._main(["mutate", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_kernel_that_was_there_before_stays(lab: Lab) -> None:
    lab.write(insert("line 5", "q PASS\n"))
    lab.walk("q")
    Run(lab, {"q": FEATURE})
    kept = lab.workspace.find("kernel", lab.asker.builder.key_of(lab.revision(0)))
    assert kept is not None


def test_the_same_kernel_without_a_hunk_needs_no_scenario(lab: Lab) -> None:
    # What is in no kernel: make has of lines of this kind only that they are there.
    makefile = lab.root / "linux" / "Makefile"
    makefile.write_text(makefile.read_text().replace("@cat *.c >", "@sed s/off.*// *.c >"))
    lab.write(insert("line 5", "q PASS\n"), insert("line 10", "off = 1;\n"))
    run = Run(lab, {"q": FEATURE})
    assert [one.fate for one in run.mutants] == [Fate.KILLED, Fate.EQUIVALENT]
    assert len(lab.guests.asked) == 1


def test_who_missed_a_hunk_before_is_not_asked_again_and_nobody_else(lab: Lab) -> None:
    lab.write(insert("line 5", "q PASS\n"), insert("line 10", "p PASS\n"))
    Run(lab, {"q": FEATURE, "p": FEATURE})
    builds = lab.builds()
    again = Run(lab, {"r": Ends(Outcome.SYMPTOM, Outcome.SYMPTOM), "p": FEATURE, "q": FEATURE})
    assert [one.by for one in again.mutants] == ["q", "p"]
    assert lab.guests.asked == []
    assert lab.builds() == builds


def test_who_does_not_run_a_hunk_is_not_asked(lab: Lab) -> None:
    lab.write(insert("line 5", "q PASS\n"), insert("line 10", "p PASS\n"))
    first, second = (one.line for one in lab.hunks())
    counts = {name: {"a.c": {first: int(name == "q"), second: 0}} for name in ("q", "p")}
    run = Run(lab, {"p": FEATURE, "q": FEATURE}, reach=Reach(counts=counts))
    assert [(one.fate, one.by) for one in run.mutants] == [(Fate.KILLED, "q"), (Fate.SURVIVED, "")]
    assert run.mutants[1].why == "no scenario runs it"
    assert [name for _, name in lab.guests.asked] == ["q"]


def test_who_is_nearly_alone_in_a_hunk_is_asked_first(lab: Lab) -> None:
    lab.guests.seconds = {"q": 3.0, "p": 2.0, "r": 1.0}
    lab.write(insert("line 5", "nobody\n\tnobody\n"))
    (line,) = (one.line for one in lab.hunks())
    counts = {name: {"a.c": {line: 1, line + 1: int(name == "q")}} for name in ("q", "p", "r")}
    nothing = Ends(Outcome.SYMPTOM, Outcome.SYMPTOM)
    Run(lab, dict.fromkeys(("q", "p", "r"), nothing), reach=Reach(counts=counts))
    assert "".join(name for _, name in lab.guests.asked) == "qrp"


def test_a_lost_guest_kills_only_where_nobody_answers(lab: Lab) -> None:
    def kill() -> tuple[str, str]:
        lab.guests.rule = lambda _, said: said
        whole = lab.revision(len(lab.split()) - 1)
        ends = {"q": FEATURE, "p": FEATURE}
        run = Mutation(asker=lab.asker, whole=whole, ends=ends, at_a_time=2)
        run.require_whole()
        lab.guests.rule = lambda name, said: "ERROR" if (name, said) == ("q", "SYMPTOM") else said
        killed = next(run.run(lab.hunks(), Findings()))
        return killed.by, killed.why

    lab.write(insert("line 5", "q PASS\n"), insert("line 10", "p PASS\n"))
    assert kill() == ("q", "ERROR: seen")
    lab.write(insert("line 5", "q PASS\np PASS\n"))
    assert kill() == ("p", "SYMPTOM: seen")


def test_what_comes_late_is_asked_again(lab: Lab) -> None:
    lab.write(insert("line 5", "q PASS\n"), insert("line 10", "nobody\n"))
    whole = lab.revision(2)

    def ask(late: int) -> list[tuple[Fate, str]]:
        lab.guests.rule = lambda _, said: said
        run = Mutation(asker=lab.asker, whole=whole, ends={"q": FEATURE})
        run.require_whole()
        left = iter(range(late))
        lab.guests.rule = lambda _, said: "TIMEOUT" if next(left, None) is not None else said
        return [(one.fate, one.why) for one in run.run(lab.hunks(), Findings())]

    survived = Fate.SURVIVED, "no scenario shows anything else without it"
    assert ask(2) == [(Fate.KILLED, "TIMEOUT: seen"), survived]
    assert ask(1) == [(Fate.KILLED, "SYMPTOM: seen"), survived]


def test_a_series_that_is_red_already_misses_nothing(lab: Lab) -> None:
    lab.write(insert("line 5", "q FAIL\n"))
    with pytest.raises(UsageError, match="q is FAIL with the whole series and not PASS"):
        Run(lab, {"q": FEATURE})
    lab.write(insert("line 5", "#error\n"))
    with pytest.raises(UsageError, match="the whole series does not run: builds: a.c:6:1"):
        Run(lab, {"q": FEATURE})


def test_an_unfix_turns_its_own_scenarios_red_and_no_other(lab: Lab) -> None:
    (lab.root / "linux" / "b.c").write_text("\nown PASS\nother PASS\n")
    lab.write(insert("own PASS", "was here\n"), file="b.c")
    ends = {"own": UNFIX, "other": Ends(Outcome.PASS, Outcome.PASS)}

    def strays(**excused: str) -> list[str]:
        below, whole = lab.revision(0), lab.revision(1)
        return list(mutation.find_strays(lab.asker, below, whole, ends, excused))

    lab.guests.asked.clear()
    assert strays() == ["own is PASS with the series and not SYMPTOM: seen"]
    lab.write(
        lambda old: old.replace("own PASS", "own SYMPTOM").replace("other PASS", "other FAIL"),
        file="b.c",
    )
    assert strays() == ["other is FAIL with the series and not PASS: seen"]
    assert strays(other="a reason") == []
    assert strays(other="a reason", own="a reason") == [
        "unmissed.toml: own is SYMPTOM with the series, as it should be"
    ]


# -- what is listed, and how it looks ------------------------------------------------------------


def test_what_nobody_need_miss_is_listed_with_a_reason(tmp_path: Path) -> None:
    assert hunks.load_excuses(tmp_path, "6.12") == hunks.Excuses()
    file = tmp_path / hunks.UNMISSED
    hunk = '[[hunk]]\nfile = "a.c"\nstarts = "x"\n'
    file.write_text(hunk + 'reason = "r"\n[[stray]]\nscenario = "s"\nreason = "t"\n')
    excuses = hunks.load_excuses(tmp_path, "6.12")
    assert excuses.hunks == [{"file": "a.c", "starts": "x", "reason": "r"}]
    assert excuses.strays == {"s": "t"}
    file.write_text(hunk + 'reason = "r"\ntimes = 2\n')
    assert hunks.load_excuses(tmp_path, "6.12").hunks == 2 * excuses.hunks
    file.write_text(hunk + 'reason = "r"\nbase = "7.3"\n')
    assert hunks.load_excuses(tmp_path, "6.12").hunks == []
    assert hunks.load_excuses(tmp_path, "7.3").hunks == excuses.hunks
    file.write_text(hunk)
    with pytest.raises(SeriesError, match="'reason' must be a string"):
        hunks.load_excuses(tmp_path, "6.12")
    file.write_text('[[hunks]]\nfile = "a.c"\n')
    with pytest.raises(SeriesError, match="unknown key 'hunks'"):
        hunks.load_excuses(tmp_path, "6.12")


def test_every_excuse_of_the_project_has_a_reason() -> None:
    regressions = set(questions.regressions())
    tables = load(PATCHES)
    for file in PATCHES.rglob(hunks.UNMISSED):
        of_bases = {one["base"] for one in read_toml(file).get("hunk", ()) if "base" in one}
        assert of_bases <= set(tables.bases), file
    for name, base in itertools.product(tables.series, tables.bases):
        excuses = hunks.load_excuses(PATCHES / name, base)
        reasons = [*(one["reason"] for one in excuses.hunks), *excuses.strays.values()]
        assert all(len(reason) > 20 for reason in reasons), name
        assert set(excuses.strays) <= regressions, name


def test_what_is_printed_names_each_survivor_and_its_lines() -> None:
    mutants = (
        Mutant(place="a.c:5", text="+x", fate=Fate.KILLED, by="q", why="SYMPTOM: seen"),
        Mutant(place="a.c:9", text="\n".join(f"+{n}" for n in range(14)), fate=Fate.SURVIVED),
        Mutant(place="Documentation/a.rst:1", text="+a", fate=Fate.NO_CODE, why="documentation"),
    )
    result = MutationResult(
        series="s",
        base="6.12",
        seconds=1.0,
        whole={"default": {"q": Outcome.PASS, "p": Outcome.PASS}},
        mutants=mutants,
        faults=("a fault",),
    )
    console = Console(width=80, record=True, file=io.StringIO())
    shown.print_result(result, console)
    lines = [line.strip() for line in console.export_text().splitlines()]
    assert "a.c:9: nobody misses" in lines
    assert lines[lines.index("+11") + 1] == "and 2 more"
    assert "1 NO CODE: documentation" in lines
    assert lines[-1] == "s on 6.12: 3 hunks: 1 KILLED, 1 NO CODE, 1 SURVIVED; 1 faults   (1.0 s)"
    assert "a fault" in lines
    plain = json.loads(shown.render_json(result))
    assert [one["fate"] for one in plain["hunks"]] == ["KILLED", "SURVIVED", "NO CODE"]
