"""The door for pytest: scenarios are its tests, one for each arm.

A test that carries the marker ``scenario`` is asked once for every stack of its plan. Its
outcome is judged from what it saw, not from whether it raised, and is written into the run's
folder; for pytest it passes when the outcome is the one that the arm expects. Nothing here
runs for tests without the marker.
"""

from __future__ import annotations

import dataclasses
import re
import signal
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from types import FrameType

import pytest

from harness import scenario, slots
from harness.errors import DeadlineExceeded, GuestCrashed, HarnessError, explain
from harness.image.layer import LAYERS
from harness.jobs import Lab
from harness.model import Arm, ArmResult, Expect, Outcome
from harness.plugin import turns
from harness.plugin.fixtures import ARM_LIMIT_S
from harness.plugin.state import (
    began_key,
    boot_key,
    judge_key,
    lab_of,
    run_folder,
    run_key,
)
from harness.scenario import Question

pytest_plugins = ["harness.plugin.fixtures"]
_MARKER_KEYS = frozenset(
    {"broken", "good", "feature", "config", "layers", "under", "boot", "arguments", "hosts"}
)
_HOST_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
# A private network is for a few: each host is a guest with its own memory.
_HOSTS_MOST = 8

_phases_key = pytest.StashKey[list[tuple[Outcome, str]]]()
arms_key = pytest.StashKey[dict[str, Arm]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of ``nsaudit run``, for those who call pytest themselves."""
    group = parser.getgroup("nsaudit", "kernels and guests")
    group.addoption("--base", action="append", default=[], help="base to ask on (6.12)")
    group.addoption("--stack", action="append", default=[], help="stack to ask as a good one")
    group.addoption(
        "--exactly",
        action="append",
        default=[],
        metavar="STACK",
        help="ask of this stack and no other, as of a good one",
    )
    group.addoption(
        "--claimed",
        action="store_true",
        help="take it that a kernel of no stack has the features that are asked for",
    )
    group.addoption("--run-folder", type=Path, help="where the run's results go")
    group.addoption("--lab", type=Path, help="take the kernels of that run")
    group.addoption("--launcher", help="what starts guests: qemu, vng or 'vng OPTION…' (qemu)")
    group.addoption("--cold", action="store_true", help="boot every guest, fork none")
    group.addoption("--kernel-config", default="default", help="configuration of the kernels")


def pytest_configure(config: pytest.Config) -> None:
    """Registers the markers, and the folder that all processes of a run share."""
    config.addinivalue_line(
        "markers",
        "scenario(broken, good, feature, config, layers, under, boot, arguments, hosts): one"
        " question, asked of the stacks of these families; broken ones, or those without the"
        " feature, must show the symptom",
    )
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        config.stash[run_key] = Path(worker["run_folder"])
    elif folder := config.getoption("--run-folder", None):
        config.stash[run_key] = folder


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Tells a worker of pytest-xdist which run it belongs to."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    node.workerinput["run_folder"] = str(run_folder(config))  # type: ignore[attr-defined]


# -- collection ------------------------------------------------------------------


def _question(metafunc: pytest.Metafunc, marker: pytest.Mark) -> Question:
    name = metafunc.definition.path.parent.name
    if marker.args or not marker.kwargs.keys() <= _MARKER_KEYS:
        odd = sorted(marker.kwargs.keys() - _MARKER_KEYS) or list(marker.args)
        raise pytest.UsageError(
            f"scenario {name}: the marker does not know {odd[0]!r};"
            f" it takes {', '.join(sorted(_MARKER_KEYS))}"
        )
    said = dict(marker.kwargs)
    boot = said.pop("boot", scenario.BOOTS[0])
    if boot not in scenario.BOOTS:
        raise pytest.UsageError(
            f"scenario {name}: no guest is {boot!r}; boot is {' or '.join(scenario.BOOTS)}"
        )
    hosts = _hosts(name, said.pop("hosts", {}))
    lists = {key: tuple(value) for key, value in said.items()}
    question = Question(name=name, boot=boot, hosts=hosts, **lists)
    known = [layer.name for layer in LAYERS]
    if odd := [layer for layer in question.layers if layer not in known]:
        raise pytest.UsageError(
            f"scenario {name}: the image has no layer {odd[0]!r}; it has {', '.join(known)}"
        )
    return question


def _hosts(scenario: str, said: object) -> Mapping[str, float]:
    """The names of hosts, and by how many seconds each one's clock is ahead."""
    if isinstance(said, dict) and len(said) <= _HOSTS_MOST:
        named = all(isinstance(name, str) and _HOST_NAME.fullmatch(name) for name in said)
        if named and all(isinstance(ahead, int | float) for ahead in said.values()):
            return {str(name): float(ahead) for name, ahead in said.items()}
    raise pytest.UsageError(
        f"scenario {scenario}: hosts are up to {_HOSTS_MOST} names, each with the seconds by"
        " which its clock is ahead: hosts={'north': 0, 'south': 2.5}"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Asks a scenario once for every arm of its plan."""
    marker = metafunc.definition.get_closest_marker("scenario")
    if marker is None:
        return
    question = _question(metafunc, marker)
    try:
        arms = find_arms(question, lab_of(metafunc.config), metafunc.config)
    except HarnessError as error:
        raise pytest.UsageError(explain(error)) from error
    metafunc.parametrize(
        "arm",
        [pytest.param(arm, id=f"{arm.stack}-{arm.expect.lower()}") for arm in arms],
        indirect=True,
    )


def find_arms(question: Question, lab: Lab, config: pytest.Config) -> tuple[Arm, ...]:
    """The arms that the command line asks for. Raises UsageError for unknown names.

    There are none under a configuration that is not one of the question's.
    """
    for name in question.under:
        lab.builder.require_config(name)
    if question.under and config.getoption("--kernel-config") not in question.under:
        return ()
    if exactly := config.getoption("--exactly"):
        known = {*lab.catalogue.stacks, *(kernel.stack for kernel in lab.kernels)}
        for name in exactly:
            if name not in known:
                lab.catalogue.require_stack(name)
        return tuple(question.arm(name, Expect.PASS) for name in exactly)
    stacks = dict(lab.catalogue.stacks)
    # A developer's tree or a ready kernel: nobody knows what it has, but who asks may say so.
    ours = lab.catalogue.series
    claims = question.feature if config.getoption("--claimed") else ()
    claimed = tuple(ours[name] for name in claims if name in ours)
    for kernel in lab.kernels:
        if kernel.stack not in stacks:
            stacks[kernel.stack] = dataclasses.replace(
                stacks[f"vanilla-{kernel.base}"], name=kernel.stack, series=claimed
            )
    chosen: list[str] = config.getoption("--stack")
    for name in chosen:
        if name not in stacks:
            lab.catalogue.require_stack(name)
    bases = list(dict.fromkeys(stacks[name].base.name for name in chosen))
    bases = config.getoption("--base") or bases or [next(iter(lab.catalogue.bases))]
    for name in bases:
        lab.catalogue.require_base(name)
    return scenario.plan_arms(question, stacks, bases, chosen)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts arms in the order that their run has planned.

    Without one, arms of one kernel come together, which is kindest to the build's object folder.
    """
    places = turns.load(config.stash.get(run_key, None))

    def place_of(item: pytest.Item) -> tuple[int, str]:
        arm = _arm_of(item)
        return (places.get(arm.folder, len(places)), arm.stack) if arm else (0, "")

    items.sort(key=place_of)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Writes the plan, so that what never runs is seen to be missing."""
    arms = {item.nodeid: arm for item in session.items if (arm := _arm_of(item))}
    session.config.stash[arms_key] = arms
    worker = hasattr(session.config, "workerinput")
    if arms and not worker and not session.config.getoption("collectonly"):
        folder = run_folder(session.config)
        if not (folder / "plan.json").exists():
            scenario.plan_run(folder, list(arms.values()))


def _arm_of(item: pytest.Item) -> Arm | None:
    callspec = getattr(item, "callspec", None)
    arm = callspec.params.get("arm") if callspec else None
    return arm if isinstance(arm, Arm) else None


# -- its outcome -----------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Limits an arm as a whole: whatever waits without a deadline of its own ends here.

    The time that it waits for its turn does not count.
    """
    arm = _arm_of(item)
    if arm is None:
        return (yield)
    # How many guests may run at a time is what --jobs says, and that many workers there are.
    number = getattr(item.config, "workerinput", {}).get("workercount", 1)
    with slots.take(run_folder(item.config) / ".guests", number, arm.guests):
        return (yield from _limited(item))


def _limited(item: pytest.Item) -> Generator[None, object, object]:
    item.stash[_phases_key] = []
    item.stash[began_key] = time.monotonic()

    def on_alarm(_number: int, _frame: FrameType | None) -> None:
        past = time.monotonic() - item.stash[began_key]
        raise DeadlineExceeded(f"the arm did not end within {past:.0f} s")

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, ARM_LIMIT_S)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _classify(error: BaseException) -> tuple[Outcome, str]:
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    match error:
        case pytest.skip.Exception():
            return Outcome.SKIP, line
        case GuestCrashed():
            return Outcome.CRASH, line
        case DeadlineExceeded():
            return Outcome.TIMEOUT, line
        case AssertionError():
            return Outcome.FAIL, line
        case _:
            return Outcome.ERROR, line


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judges the phase, writes the result down, and tells pytest whether it was expected."""
    report = yield
    arm = _arm_of(item)
    if arm is None:
        return report
    phases = item.stash[_phases_key]
    if call.excinfo is not None:
        phases.append(_classify(call.excinfo.value))
    elif call.when == "call":
        phases.append(item.stash[judge_key].conclude())
    result = _result(item, arm, phases)
    scenario.store_result(run_folder(item.config), result)
    report.user_properties.append(("outcome", str(result.outcome)))
    if call.when == "call" or (call.when == "teardown" and call.excinfo is not None):
        expected = result.as_expected
        report.outcome = "passed" if expected else "failed"
        report.longrepr = None if expected else _tell(result)
    elif call.excinfo is not None:
        report.outcome, report.longrepr = "failed", _tell(result)
    return report


def _result(item: pytest.Item, arm: Arm, phases: Sequence[tuple[Outcome, str]]) -> ArmResult:
    outcome = scenario.worst([one for one, _ in phases])
    judge = item.stash.get(judge_key, None)
    return ArmResult(
        arm=arm,
        outcome=outcome,
        signature=next((why for one, why in phases if one is outcome), "it has not ended"),
        seconds=time.monotonic() - item.stash[began_key],
        boot=item.stash.get(boot_key, "cold"),
        checks=tuple(judge.checks) if judge else (),
        evidence=dict(judge.evidence) if judge else {},
        artifacts=str(judge.folder) if judge else "",
    )


def _tell(result: ArmResult) -> str:
    wanted = "good" if result.arm.expect is Expect.PASS else "broken"
    lines = [f"{result.outcome} instead of {result.arm.expect}: {result.signature}"]
    for check in result.checks:
        should = getattr(check, wanted)
        if check.observed != should:
            lines.append(f"  {check.name}: {check.observed}, should be {should}")
    return "\n".join([*lines, f"  {result.artifacts}"])
