"""Answers that are kept: what a scenario said of a kernel, by all that it depends on.

An entry of the cache (kind ``cell``) is a run of a single arm: ``plan.json``, ``lab.json`` and
the arm's folder with its evidence and its script ``reproduce``. Only what would come out the same
again is kept: a guest that was lost or did not answer in time may be the host's fault.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness import scenario
from harness.jobs import SCENARIOS
from harness.model import Arm, ArmResult, Expect, Outcome
from harness.workspace import PROJECT, Workspace, content_digest, digest

KIND = "cell"
_RECIPE = "1"
# Each holds some 50 KiB on the disk.
_KEPT = 4000
_CONCLUSIVE = frozenset({Outcome.PASS, Outcome.SYMPTOM, Outcome.FAIL, Outcome.CRASH})
# What of the harness has a hand in an answer: all that is there while a guest runs, and what
# judges it. Kernel and image come in by what they are, not by what made them.
_MATTERS = ("audit", "guest", "plugin", "jobs.py", "proc.py", "scenario.py")
# It is the kernel's, and by far the largest.
_LEFT_OUT = "config.txt"


class Store:
    """The answers of one state folder; ``facts`` are what all of one run depend on."""

    def __init__(self, workspace: Workspace, facts: Sequence[str]) -> None:
        self.workspace = workspace
        harness = content_digest(PROJECT / "harness" / name for name in _MATTERS)
        self._facts = (_RECIPE, harness, *facts)
        self._questions: dict[str, str] = {}

    def key_of(self, kernel: str, name: str) -> str:
        """The key of a cell: ``kernel`` is a kernel's own key, ``name`` a scenario's.

        What is asked and is no scenario has no files of its own.
        """
        if name not in self._questions:
            shared = [path for path in SCENARIOS.iterdir() if path.is_file()]
            own = SCENARIOS / name
            self._questions[name] = content_digest([own, *shared]) if own.is_dir() else ""
        return digest(*self._facts, kernel, name, self._questions[name])

    def find(self, kernel: str, arm: Arm) -> ArmResult | None:
        """What was answered before, under whatever name that kernel went then."""
        entry = self.workspace.find(KIND, self.key_of(kernel, arm.scenario))
        if entry is None:
            return None
        (result,) = scenario.load_results(entry)
        return dataclasses.replace(result, arm=arm)

    def keep(self, kernel: str, run: Path, result: ArmResult) -> ArmResult:
        """Keeps an answer with its evidence, where it is one; itself, from where it is then."""
        arm = result.arm
        if result.outcome not in _CONCLUSIVE:
            return result

        def fill(folder: Path) -> None:
            scenario.plan_run(folder, [arm])
            if (run / "lab.json").is_file():
                shutil.copy(run / "lab.json", folder)
            shutil.copytree(run / arm.folder, folder / arm.folder, ignore=lambda *_: [_LEFT_OUT])

        entry = self.workspace.make(KIND, self.key_of(kernel, arm.scenario), fill)
        (kept,) = scenario.load_results(entry)
        return dataclasses.replace(kept, arm=arm)

    def prune(self) -> None:
        """Removes the oldest answers where there are very many."""
        self.workspace.prune(KIND, _KEPT)


def arm_of(name: str, stack: str) -> Arm:
    """A cell's arm. What is expected of it is not known when it is asked."""
    return Arm(scenario=name, stack=stack, expect=Expect.PASS)
