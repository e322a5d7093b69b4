"""Verdicts, plans and the store of results."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import scenario
from harness.errors import UsageError
from harness.model import (
    Arm,
    ArmResult,
    Base,
    Check,
    DirectorySource,
    Expect,
    Outcome,
    ScenarioResult,
    Series,
    Stack,
    Verdict,
)
from harness.scenario import Judge, Question

BASE = Base(name="6.12", source=DirectorySource(path=Path("/nowhere")))
STACKS = {
    name: Stack(name=name, base=BASE) for name in ("vanilla-6.12", "broken-6.12", "feature-6.12")
}
P, S, F, C = Outcome.PASS, Outcome.SYMPTOM, Outcome.FAIL, Outcome.CRASH


def results(broken: list[Outcome], good: list[Outcome]) -> list[ArmResult]:
    pairs = [(Expect.SYMPTOM, one) for one in broken] + [(Expect.PASS, one) for one in good]
    return [
        ArmResult(arm=Arm(scenario="s", stack=f"k{n}", expect=expect), outcome=outcome)
        for n, (expect, outcome) in enumerate(pairs)
    ]


@pytest.mark.parametrize(
    ("broken", "good", "verdict"),
    [
        ([S], [P], Verdict.CONFIRMED),
        ([S, S], [P, P], Verdict.CONFIRMED),
        ([P], [P], Verdict.VACUOUS),
        ([S, P], [P], Verdict.VACUOUS),
        ([F], [P], Verdict.NOT_REPRODUCED),
        ([S], [S], Verdict.STILL_BROKEN),
        ([S], [F], Verdict.BROKEN_TEST),
        ([C], [P], Verdict.BROKEN_TEST),
        ([S], [C], Verdict.BROKEN_TEST),
        ([Outcome.ERROR], [P], Verdict.BROKEN_TEST),
        ([Outcome.TIMEOUT], [P], Verdict.BROKEN_TEST),
        ([S], [Outcome.MISS], Verdict.BROKEN_TEST),
        ([S], [Outcome.SKIP], Verdict.BROKEN_TEST),
        ([], [P], Verdict.BROKEN_TEST),
        ([S], [], Verdict.BROKEN_TEST),
    ],
)
def test_verdicts(broken: list[Outcome], good: list[Outcome], verdict: Verdict) -> None:
    assert scenario.judge_scenario(results(broken, good)) is verdict


@pytest.mark.parametrize(
    ("without", "with_it", "verdict"),
    [
        (S, P, Verdict.WORKS),
        (P, P, Verdict.VACUOUS),
        (S, F, Verdict.FAILS),
        (S, C, Verdict.FAILS),
        (S, S, Verdict.FAILS),
        # It must fail without the feature in the way it says, and not in any way at all.
        (F, P, Verdict.BROKEN_TEST),
        (C, P, Verdict.BROKEN_TEST),
        (S, Outcome.ERROR, Verdict.BROKEN_TEST),
        (P, F, Verdict.BROKEN_TEST),
    ],
)
def test_verdicts_of_features(without: Outcome, with_it: Outcome, verdict: Verdict) -> None:
    arms = [
        ArmResult(arm=Arm(scenario="s", stack=name, expect=expect), outcome=outcome)
        for name, expect, outcome in (("a", Expect.FAIL, without), ("b", Expect.PASS, with_it))
    ]
    assert scenario.judge_scenario(arms) is verdict


def check(observed: str, good: str = "a", broken: str = "b") -> Check:
    return Check(name="n", observed=observed, good=good, broken=broken)


@pytest.mark.parametrize(
    ("checks", "outcome"),
    [
        ([check("a")], P),
        ([check("b")], S),
        ([check("c")], F),
        # The symptom is all of it, not a part.
        ([check("a"), check("b")], F),
        ([check("b"), check("x", "x", "x")], S),
        ([check("b"), check("y", "x", "x")], F),
        ([], Outcome.ERROR),
        # A check that cannot tell the two apart judges nothing.
        ([check("x", "x", "x")], Outcome.ERROR),
    ],
)
def test_an_arm_is_judged_by_all_that_was_seen(checks: list[Check], outcome: Outcome) -> None:
    assert scenario.judge_checks(checks)[0] is outcome


def test_lost_records_spoil_a_pass(tmp_path: Path) -> None:
    judge = Judge(Arm(scenario="s", stack="k", expect=Expect.PASS), tmp_path)
    judge.expect("errno", "0", good="0", broken="EPERM")
    assert judge.conclude()[0] is P
    judge.note(lost=1)
    assert judge.conclude()[0] is F


def test_a_crash_outranks_everything() -> None:
    assert scenario.worst([P, F, C, Outcome.TIMEOUT]) is C
    assert scenario.worst([]) is Outcome.MISS


def test_the_plan_has_broken_arms_first_and_chosen_ones_as_good() -> None:
    question = Question(name="q", broken=("broken",))
    plain = scenario.plan_arms(question, STACKS, ["6.12"])
    assert [(arm.stack, arm.expect) for arm in plain] == [
        ("broken-6.12", Expect.SYMPTOM),
        ("vanilla-6.12", Expect.PASS),
    ]
    chosen = scenario.plan_arms(question, STACKS, ["6.12"], ["feature-6.12", "broken-6.12"])
    assert [(arm.stack, arm.expect) for arm in chosen] == [
        ("broken-6.12", Expect.SYMPTOM),
        ("feature-6.12", Expect.PASS),
    ]


def with_series(name: str, *names: str) -> Stack:
    series = tuple(
        Series(name=one, title=one, origin="ours", needs=(), proves=(), patches={"6.12": ()})
        for one in names
    )
    return Stack(name=name, base=BASE, series=series)


def test_a_feature_is_asked_of_the_stacks_that_have_it() -> None:
    stacks = {
        **STACKS,
        "both-6.12": with_series("both-6.12", "nsid", "contid"),
        "contid-6.12": with_series("contid-6.12", "contid"),
        "nsid-6.12": with_series("nsid-6.12", "nsid"),
    }

    def plan(*chosen: str) -> list[tuple[str, Expect]]:
        question = Question(name="q", feature=("contid",))
        arms = scenario.plan_arms(question, stacks, ["6.12"], chosen)
        return [(arm.stack, arm.expect) for arm in arms]

    base = ("vanilla-6.12", Expect.FAIL)
    assert plan() == [base, ("contid-6.12", Expect.PASS)]
    assert plan("nsid-6.12") == []
    assert plan("nsid-6.12", "both-6.12") == [base, ("both-6.12", Expect.PASS)]
    with pytest.raises(UsageError, match="misspelt"):
        scenario.plan_arms(Question(name="q", feature=("misspelt",)), stacks, ["6.12"])


def test_a_base_without_the_broken_family_has_no_arms() -> None:
    assert scenario.plan_arms(Question(name="q", broken=()), STACKS, ["6.12"]) == ()


def test_a_family_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(UsageError, match="misspelt"):
        scenario.plan_arms(Question(name="q", broken=("misspelt",)), STACKS, ["6.12"])


def test_what_is_planned_and_never_run_is_a_miss(tmp_path: Path) -> None:
    arms = [Arm(scenario="s", stack=name, expect=Expect.PASS) for name in ("one", "two")]
    scenario.plan_run(tmp_path, arms)
    done = ArmResult(arm=arms[0], outcome=P, checks=(check("a"),), evidence={"lost": 0})
    scenario.store_result(tmp_path, done)
    first, second = scenario.load_results(tmp_path)
    assert (first.outcome, first.checks, first.evidence) == (P, (check("a"),), {"lost": 0})
    assert second.outcome is Outcome.MISS
    # Half a file, as a killed process leaves it, is a miss too.
    (tmp_path / arms[1].folder).mkdir()
    (tmp_path / arms[1].folder / "result.json").write_text('{"outcome": "PA')
    assert scenario.load_results(tmp_path)[1].outcome is Outcome.MISS


def test_why_guests_were_booted_is_said_once() -> None:
    arm = Arm(scenario="s", stack="k", expect=Expect.PASS)
    why = {"cold": "QEMU refuses migrate"}
    forked = {"unlooked": "leaks, for a guest was forked"}
    arms = tuple(ArmResult(arm=arm, evidence=one) for one in (forked, why, {"lost": 0}, why))
    results = [ScenarioResult(name="s", verdict=Verdict.CONFIRMED, arms=arms)]
    assert scenario.find_remarks(results) == [
        "guests boot cold: QEMU refuses migrate",
        "not looked for: leaks, for a guest was forked",
    ]
    assert scenario.find_remarks([]) == []
