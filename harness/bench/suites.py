"""Figures of whole commands: all scenarios, one of two hosts, and the unit tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from harness import proc
from harness.bench.figure import Figure
from harness.bench.plan import Plan
from harness.workspace import PROJECT

_LIMIT_S = 1800.0
# As ci/test runs them. What drives git, make or the trail's engine comes after them there.
_AS_CI = (
    *("-p", "no:cacheprovider", "-p", "no:nsaudit", "-n", "auto", "--dist", "loadgroup"),
    *("-m", "not machinery and not tools"),
)


def scenarios(plan: Plan) -> Iterator[Figure]:
    """``nsaudit run`` on one base, when nothing has to be made for it."""
    words = ("--base", plan.base)
    yield _time_warm(plan, "scenarios", f"the regressions on {plan.base}", words, bar=30.0)


def migration(plan: Plan) -> Iterator[Figure]:
    """``nsaudit run`` of the scenario that moves containers between two hosts, all arms of it."""
    stack = plan.lab.catalogue.require_stack(f"ids-{plan.base}").name
    words = ("migration", "--config", "checkpoint", "--stack", stack)
    yield _time_warm(plan, "migration", f"migration on {stack}", words, bar=60.0)


def _time_warm(plan: Plan, name: str, whom: str, words: Sequence[str], *, bar: float) -> Figure:
    """``nsaudit run`` for the second time, when nothing has to be made for it."""
    for what in ("what is missing is built first", "all is cached"):
        plan.on_step(f"asking {whom}: {what}")
        done = call(plan, "run", *words, deadline_s=_LIMIT_S)
    return Figure(
        name=name,
        what=f"nsaudit run {' '.join(words)}, kernels, image and saved guests cached",
        samples=(done.seconds,),
        unit="s",
        bar=bar,
        fault=find_fault(done),
    )


def call(plan: Plan, *words: str, deadline_s: float) -> proc.Completed:
    """``nsaudit`` as a process of its own, on the state folder of the measurement."""
    return proc.run(
        [sys.executable, "-m", "harness", *words],
        cwd=PROJECT,
        env={"NSAUDIT_STATE": str(plan.lab.workspace.root)},
        check=False,
        deadline_s=deadline_s,
    )


def units(plan: Plan) -> Iterator[Figure]:
    """The unit tests, as a developer runs them."""
    plan.on_step("running the unit tests")
    done = proc.run(
        [sys.executable, "-m", "pytest", "-q", *_AS_CI, "harness/tests"],
        cwd=PROJECT,
        check=False,
        deadline_s=_LIMIT_S,
    )
    yield Figure(
        name="units",
        what="the unit tests",
        samples=(done.seconds,),
        unit="s",
        bar=15.0,
        fault=find_fault(done),
    )


def find_fault(done: proc.Completed) -> str:
    """Why the time of a command says nothing, or nothing."""
    if done.status == 0:
        return ""
    said = (done.stderr or done.stdout).strip().splitlines()
    return f"status {done.status}: {said[-1] if said else 'not a word'}"
