"""Scenarios: what one asks, on which stacks, and what the answers say together. Pure.

A scenario is one question, and its folder below ``scenarios/`` has its name. Each check of
it states what a good kernel shows and what a broken one shows, so that the broken arm is
judged by the symptom it was built for and not by any failure at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import UsageError
from harness.model import Arm, ArmResult, Check, Expect, Outcome, ScenarioResult, Stack, Verdict

# Which outcome counts when an arm had several: a crash outranks everything.
_RANK = (
    Outcome.CRASH,
    Outcome.TIMEOUT,
    Outcome.ERROR,
    Outcome.FAIL,
    Outcome.SYMPTOM,
    Outcome.PASS,
    Outcome.SKIP,
    Outcome.MISS,
)
# A kernel that ends so is to blame for it.
_BAD = (Outcome.CRASH, Outcome.FAIL, Outcome.SYMPTOM)


# How an arm may come by its guest: forked from a saved one where that is possible, or booted.
BOOTS = ("warm", "cold")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A scenario as its marker declares it.

    ``broken`` and ``good`` name stack families (``vanilla``, or a table of stacks.toml), or
    ``feature`` names the series without which it must fail: it is asked then of the unpatched
    kernel and of stacks that have these series. ``config`` kernel options without their
    prefix, and ``layers`` of the image, are what it cannot do without. ``under`` names the
    configurations under which alone it is asked; none for any. ``boot`` is ``cold`` where it
    asks about the boot itself and needs one of its own. ``arguments`` are words of the kernel's
    command line, in place of those that switch audit on; none for these. ``hosts`` are the names
    of several guests on a private network, each with the seconds by which its clock is ahead;
    without them there is one guest.
    """

    name: str
    broken: tuple[str, ...] = ()
    good: tuple[str, ...] = ("vanilla",)
    feature: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    under: tuple[str, ...] = ()
    boot: str = BOOTS[0]
    arguments: tuple[str, ...] = ()
    hosts: Mapping[str, float] = field(default_factory=dict)

    @property
    def guests(self) -> int:
        """How many guests an arm of it takes."""
        return max(1, len(self.hosts))

    def arm(self, stack: str, expect: Expect) -> Arm:
        """The arm that asks it of a stack."""
        return Arm(scenario=self.name, stack=stack, expect=expect, guests=self.guests)


def plan_arms(
    question: Question,
    stacks: Mapping[str, Stack],
    bases: Sequence[str],
    chosen: Sequence[str] = (),
) -> tuple[Arm, ...]:
    """The arms of a scenario: broken ones first, then good ones, for each base.

    ``chosen`` stacks take the place of the scenario's good ones on their base; a chosen stack
    that is one of the scenario's broken ones stays a broken arm. A family that a base is not
    kept for gives no arm there. A feature is asked of the chosen stacks that have it, or of the
    smallest one that does. Raises UsageError for a family that does not exist at all.
    """
    if question.feature:
        return _plan_feature(question, stacks, bases, chosen)
    families = {name.removesuffix(f"-{stack.base.name}") for name, stack in stacks.items()}
    for family in (*question.broken, *question.good):
        if family not in families:
            raise UsageError(
                f"scenario {question.name} names a family {family!r} that is not in stacks.toml",
                hint="nsaudit stacks lists what there is",
            )
    arms: list[Arm] = []
    for base in bases:
        broken = [f"{family}-{base}" for family in question.broken if f"{family}-{base}" in stacks]
        extra = [name for name in chosen if stacks[name].base.name == base and name not in broken]
        good = extra or [f"{one}-{base}" for one in question.good if f"{one}-{base}" in stacks]
        # On a base without its broken arm a scenario could only be vacuous.
        if not broken or not good:
            continue
        for names, expect in ((broken, Expect.SYMPTOM), (good, Expect.PASS)):
            arms += [question.arm(name, expect) for name in names]
    return tuple(arms)


def _plan_feature(
    question: Question,
    stacks: Mapping[str, Stack],
    bases: Sequence[str],
    chosen: Sequence[str],
) -> tuple[Arm, ...]:
    wanted = set(question.feature)
    if missing := wanted - {one.name for stack in stacks.values() for one in stack.series}:
        raise UsageError(
            f"scenario {question.name} needs a series {missing.pop()!r} that no stack has",
            hint="nsaudit stacks lists what there is",
        )
    arms: list[Arm] = []
    for base in bases:
        able = [
            stack
            for stack in sorted(stacks.values(), key=lambda stack: len(stack.series))
            if stack.base.name == base and wanted <= {one.name for one in stack.series}
        ]
        good = [stack.name for stack in able if stack.name in chosen]
        if not chosen:
            good = [stack.name for stack in able[:1]]
        if good:
            arms.append(question.arm(f"vanilla-{base}", Expect.FAIL))
            arms += [question.arm(one, Expect.PASS) for one in good]
    return tuple(arms)


def judge_checks(checks: Sequence[Check]) -> tuple[Outcome, str]:
    """The outcome of an arm whose checks were all made, and one line that says why."""
    if not checks:
        return Outcome.ERROR, "the scenario checked nothing"
    if all(check.good == check.broken for check in checks):
        return Outcome.ERROR, "no check tells a good kernel from a broken one"
    if all(check.observed == check.good for check in checks):
        telling = [check for check in checks if check.good != check.broken]
        return Outcome.PASS, _say(telling)
    if all(check.observed == check.broken for check in checks):
        return Outcome.SYMPTOM, _say([c for c in checks if c.observed != c.good])
    odd = [c for c in checks if c.observed not in (c.good, c.broken)]
    odd = odd or [c for c in checks if c.observed != c.good]
    return Outcome.FAIL, _say(odd)


def _say(checks: Sequence[Check]) -> str:
    return "; ".join(f"{check.name}: {check.observed}" for check in checks)


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome that counts among several of one arm."""
    return min(outcomes, key=_RANK.index, default=Outcome.MISS)


def judge_scenario(arms: Sequence[ArmResult]) -> Verdict:
    """What the arms of one scenario say together.

    Green only for the symptom on every broken arm and a pass on every other, and at least one
    of each: what passes on both proves nothing.
    """
    broken = [arm.outcome for arm in arms if arm.arm.expect is not Expect.PASS]
    good = [arm.outcome for arm in arms if arm.arm.expect is Expect.PASS]
    if not broken or not good:
        return Verdict.BROKEN_TEST
    if any(arm.arm.expect is Expect.FAIL for arm in arms):
        return _judge_feature(set(broken), set(good))
    if set(good) == {Outcome.PASS}:
        if set(broken) == {Outcome.SYMPTOM}:
            return Verdict.CONFIRMED
        if Outcome.PASS in broken:
            return Verdict.VACUOUS
        if Outcome.FAIL in broken and set(broken) <= {Outcome.FAIL, Outcome.SYMPTOM}:
            return Verdict.NOT_REPRODUCED
    elif Outcome.SYMPTOM in good and set(broken) == {Outcome.SYMPTOM}:
        return Verdict.STILL_BROKEN
    return Verdict.BROKEN_TEST


def _judge_feature(broken: set[Outcome], good: set[Outcome]) -> Verdict:
    if good == {Outcome.PASS}:
        if broken == {Outcome.SYMPTOM}:
            return Verdict.WORKS
        return Verdict.VACUOUS if Outcome.PASS in broken else Verdict.BROKEN_TEST
    if broken == {Outcome.SYMPTOM} and good <= {Outcome.PASS, *_BAD}:
        return Verdict.FAILS
    return Verdict.BROKEN_TEST


def gather(results: Sequence[ArmResult]) -> tuple[ScenarioResult, ...]:
    """Arms grouped by scenario, in the order in which they were planned."""
    names = dict.fromkeys(result.arm.scenario for result in results)
    grouped = {name: tuple(r for r in results if r.arm.scenario == name) for name in names}
    return tuple(
        ScenarioResult(name=name, verdict=judge_scenario(arms), arms=arms)
        for name, arms in grouped.items()
    )


# What an arm may note that a verdict does not tell, and how its reason is introduced.
_REMARKS = {"cold": "guests boot cold", "unlooked": "not looked for"}


def find_remarks(results: Sequence[ScenarioResult]) -> list[str]:
    """Why guests that could have been forked were booted, and what nobody looked for, as lines.

    Each reason is there once.
    """
    seen = [
        f"{title}: {arm.evidence[key]}"
        for key, title in _REMARKS.items()
        for one in results
        for arm in one.arms
        if key in arm.evidence
    ]
    return list(dict.fromkeys(seen))


@dataclass(slots=True)
class Judge:
    """Collects what an arm saw, and writes it down beside its other artifacts.

    A scenario calls ``expect`` for each thing it looks at; it does not assert, so that all
    that was seen is reported and not only what came first.
    """

    arm: Arm
    folder: Path
    checks: list[Check] = field(default_factory=list)
    evidence: dict[str, object] = field(default_factory=dict)

    def expect(self, name: str, observed: object, *, good: object, broken: object = None) -> None:
        """One check. Values are compared as text; without ``broken`` both arms show ``good``."""
        self.checks.append(
            Check(
                name=name,
                observed=str(observed),
                good=str(good),
                broken=str(good if broken is None else broken),
            )
        )

    def note(self, **facts: object) -> None:
        """Evidence for the reports: ``errno``, ``records``, ``lost``, or anything in JSON."""
        self.evidence.update(facts)

    def keep(self, name: str, content: str | bytes) -> None:
        """An artifact: ``records*.log``, ``transcript-*.txt`` and the like."""
        raw = content.encode(errors="replace") if isinstance(content, str) else content
        (self.folder / name).write_bytes(raw)

    def conclude(self) -> tuple[Outcome, str]:
        """The outcome of the checks so far. Lost records spoil any of them."""
        if lost := self.evidence.get("lost"):
            return Outcome.FAIL, f"the kernel lost {lost} records: what is absent proves nothing"
        return judge_checks(self.checks)


# -- the store -----------------------------------------------------------------


def plan_run(folder: Path, arms: Sequence[Arm]) -> None:
    """Writes every planned arm as MISS, before anything runs."""
    (folder / "plan.json").write_text(
        json.dumps([[arm.scenario, arm.stack, arm.expect] for arm in arms], indent=1)
    )


def store_result(folder: Path, result: ArmResult) -> None:
    """Writes what an arm came to into its folder below the run's."""
    place = folder / result.arm.folder
    place.mkdir(exist_ok=True)
    aside = place / ".result.json"
    aside.write_text(
        json.dumps(
            {
                "outcome": result.outcome,
                "signature": result.signature,
                "seconds": round(result.seconds, 3),
                "boot": result.boot,
                "known": result.known,
                "checks": [[c.name, c.observed, c.good, c.broken] for c in result.checks],
                "evidence": dict(result.evidence),
            },
            indent=1,
            default=str,
        )
    )
    aside.replace(place / "result.json")


def load_results(folder: Path) -> tuple[ArmResult, ...]:
    """Every planned arm with what it came to; one that left nothing is still a MISS."""
    plan = json.loads((folder / "plan.json").read_text())
    return tuple(
        load_result(folder, Arm(scenario=scenario, stack=stack, expect=Expect(expect)))
        for scenario, stack, expect in plan
    )


def load_result(folder: Path, arm: Arm) -> ArmResult:
    """What one arm of a run came to; if it left nothing, it is a MISS."""
    place = folder / arm.folder
    try:
        said = json.loads((place / "result.json").read_text())
    except (OSError, ValueError):
        return ArmResult(arm=arm, artifacts=str(place))
    return ArmResult(
        arm=arm,
        outcome=Outcome(said["outcome"]),
        signature=said["signature"],
        seconds=said["seconds"],
        boot=said["boot"],
        known=said["known"],
        checks=tuple(Check(name=n, observed=o, good=g, broken=b) for n, o, g, b in said["checks"]),
        evidence=said["evidence"],
        artifacts=str(place),
    )
