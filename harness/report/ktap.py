"""KTAP version 1, the format of the kernel's own tests: scenarios, and their arms as subtests.

Owns the translation, in both directions, and nothing else. ``ok`` means as expected: a symptom
on a stack that was broken on purpose is ``ok``, and a scenario is ``ok`` when its verdict is
green.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from harness.model import ArmResult, Outcome, RunResult, ScenarioResult
from harness.plain import one_line
from harness.report import evidence

_DIRECTIVES = {
    Outcome.SKIP: "SKIP",
    Outcome.TIMEOUT: "TIMEOUT",
    Outcome.ERROR: "ERROR",
    Outcome.MISS: "ERROR",
}


_LINE = re.compile(r"(?P<not>not )?ok \d+(?: -)? (?P<name>.*?)(?: # (?P<directive>\w+).*)?")


def parse(text: str) -> Mapping[str, str]:
    """The tests at the top of a KTAP or TAP text with ``ok``, ``not ok`` or a directive's name.

    A plan that promises more tests than there are has each of those as ``missing``
    (Documentation/dev-tools/ktap.rst of the kernel).
    """
    results: dict[str, str] = {}
    planned = 0
    for line in text.splitlines():
        if found := _LINE.fullmatch(line):
            passed = "not ok" if found["not"] else "ok"
            results[found["name"]] = found["directive"] or passed
        elif line.startswith("1.."):
            planned = int(line.removeprefix("1..").split()[0])
    return results | {f"test {n}": "missing" for n in range(len(results) + 1, planned + 1)}


def render(result: RunResult) -> str:
    """The run as KTAP."""
    lines = ["KTAP version 1", f"1..{len(result.scenarios)}"]
    for number, one in enumerate(result.scenarios, 1):
        lines += [f"  {line}" for line in _scenario(one)]
        lines.append(f"# {_name(one.name)}: {one.verdict}")
        lines.append(_result(one.verdict.as_expected, number, one.name))
    return "\n".join(lines) + "\n"


def _scenario(one: ScenarioResult) -> Iterator[str]:
    yield "KTAP version 1"
    yield f"# Subtest: {_name(one.name)}"
    yield f"1..{len(one.arms)}"
    for number, arm in enumerate(one.arms, 1):
        yield from _arm(arm, number)


def _arm(arm: ArmResult, number: int) -> Iterator[str]:
    yield f"# {_name(arm.arm.stack)}: {arm.outcome}, expected {arm.arm.expect}, {arm.seconds:.1f} s"
    lines = evidence.describe(arm)
    for line in lines[:1] if arm.as_expected else lines:
        yield f"#   {line}"
    directive = "" if arm.as_expected else _DIRECTIVES.get(arm.outcome, "")
    if directive:
        directive = f" # {directive} {one_line(arm.signature)}"
    # A skipped test is ok to every parser; the verdict of its scenario is not.
    ok = arm.as_expected or arm.outcome is Outcome.SKIP
    yield _result(ok, number, arm.arm.stack) + directive


def _result(ok: bool, number: int, name: str) -> str:
    return f"{'ok' if ok else 'not ok'} {number} - {_name(name)}"


def _name(text: str) -> str:
    # A number sign would begin a directive.
    return one_line(text).replace("#", "_")
