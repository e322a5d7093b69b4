"""The figure of a developer's loop: from an edit in a tree to the verdicts."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.bench import suites
from harness.bench.figure import Figure, ratio
from harness.bench.guests import ANSWER, time_command
from harness.bench.plan import Plan
from harness.errors import HarnessError
from harness.guest import vng
from harness.kernel.build import lane_lock
from harness.kernel.tree import open_tree
from harness.model import Base
from harness.plugin import session

SCENARIOS = ("netns-unreachable", "pam-econnrefused", "vsftpd-pidns")
FILE = Path("kernel", "audit.c")
_LANE = "bench-edit"
_LIMIT_S = 3600.0


def edit(plan: Plan) -> Iterator[Figure]:
    """``nsaudit run --tree`` after an edit, beside make and a boot by virtme-ng for each arm.

    The edit is a function more in ``kernel/audit.c``, another one each time, in a worktree of
    the base that is kept for this. Both sides build in the same object folder and take turns,
    and everything else was built, and asked, before. virtme-ng's guests answer one command each,
    and nobody asks them anything: that leaves out what the scenarios themselves would take.
    """
    lab = plan.lab
    base = lab.catalogue.require_base(plan.base)
    program = vng.require()
    arms = len(session.collect(SCENARIOS, ["--base", base.name]))
    with _worktree(plan, base) as folder:
        plan.on_step("building the tree, and asking all arms once")
        _change(folder)
        _ask(plan, folder)
        vanilla = lab.kernel(f"vanilla-{base.name}")
        kernel = dataclasses.replace(vanilla, bzimage=lab.builder.remake(folder, base))
        host = lab.host_for(vanilla)
        boot = vng.answer_command(program, kernel, lab.image, host, ANSWER)
        fault = ""
        ours: list[float] = []
        makes: list[float] = []
        boots: list[float] = []
        mute = 0
        times = plan.times or 3
        for number in range(1, times + 1):
            plan.on_step(f"edit {number} of {times}: nsaudit run --tree")
            _change(folder)
            began = time.monotonic()
            fault = fault or _ask(plan, folder)
            ours.append(time.monotonic() - began)
            plan.on_step(f"edit {number} of {times}: make, and {arms} boots by virtme-ng")
            _change(folder)
            began = time.monotonic()
            lab.builder.remake(folder, base)
            makes.append(time.monotonic() - began)
            boots.append(0.0)
            for _ in range(arms):
                try:
                    boots[-1] += time_command(boot, {**vng.environment(program)}).answer
                except HarnessError:
                    # On a busy host what it prints last may not arrive. It is counted, and shown.
                    mute += 1
    mine = Figure(
        name="edit",
        what=f"an edit in {FILE} to the verdicts of {len(SCENARIOS)} regressions (run --tree)",
        samples=tuple(ours),
        unit="s",
        bar=15.0,
        fault=fault,
    )
    answered = f"{arms * times - mute} of {arms * times} answered"
    other = Figure(
        name="edit-plain",
        what=f"an edit in it, make bzImage, and {arms} boots by vng --exec ({answered})",
        samples=tuple(sum(pair) for pair in zip(makes, boots, strict=True)),
        unit="s",
    )
    make = Figure(name="edit-make", what="of it, make", samples=tuple(makes), unit="s")
    yield from (mine, other, make)
    yield ratio("edit-ratio", "edit to edit-plain", mine, other, bar=1 / 3)


@contextlib.contextmanager
def _worktree(plan: Plan, base: Base) -> Iterator[Path]:
    """A worktree of a base, as it is without patches; nobody else uses it meanwhile."""
    with plan.lab.workspace.lock(lane_lock(f"{base.name}-{_LANE}")):
        with plan.lab.workspace.lock(f"tree-{base.name}"):
            tree = open_tree(plan.lab.workspace, base, plan.on_step)
            folder = tree.check_out(tree.root, _LANE)
        yield folder


def _change(folder: Path) -> None:
    """Gives a file another function than the last time, which makes another kernel of it."""
    file = folder / FILE
    file.write_text(add_function(file.read_text(), secrets.token_hex(4)))


def add_function(text: str, word: str) -> str:
    """A source with one function more, in place of the one that was added before."""
    mark = "\n/* nsaudit bench */\n"
    name = f"nsaudit_bench_{word}"
    added = f"int {name}(void);\nint {name}(void)\n{{\n\treturn 0x{word};\n}}\n"
    return text.partition(mark)[0] + mark + added


def _ask(plan: Plan, folder: Path) -> str:
    """Runs the whole command; why its time says nothing, or nothing.

    The kernel that it made is taken out of the cache: nobody asks for it again.
    """
    workspace = plan.lab.workspace
    with workspace.scratch() as scratch:
        report = scratch / "result.json"
        words = ["--tree", str(folder), "--base", plan.base, "--json", str(report)]
        done = suites.call(plan, "run", *SCENARIOS, *words, deadline_s=_LIMIT_S)
        if not report.is_file():
            return suites.find_fault(done) or "it has written no result"
        result = json.loads(report.read_text())
    run = Path(result["scenarios"][0]["arms"][0]["artifacts"]).parent
    for one in json.loads((run / "lab.json").read_text())["kernels"]:
        if one["stack"] == "tree":
            workspace.drop("kernel", Path(one["vmlinux"]).parent.name)
    return find_fault(result, done.status)


def find_fault(result: Mapping[str, Any], status: int) -> str:
    """What a run, as its JSON has it, has against it as a measurement, or nothing.

    All arms of other kernels have to be known, and those of the tree to be asked.
    """
    for one in result["scenarios"]:
        if one["verdict"] != "CONFIRMED":
            return f"{one['name']} is {one['verdict']}"
        for arm in one["arms"]:
            if arm["known"] is (arm["stack"] == "tree"):
                return f"{one['name']} on {arm['stack']} was {'not ' * (not arm['known'])}known"
    return f"status {status}" if status else ""
