"""The workload of ``nsaudit compare`` on a kernel that has both designs, judged as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.compare import workload
from harness.compare.designs import DESIGNS
from harness.compare.judge import Outcome, judge_log
from harness.jobs import Lab
from harness.tests.test_compare import NOT_RIGHT, NOT_TOGETHER, judge_together
from harness.workspace import Workspace

pytestmark = pytest.mark.machinery


def test_a_fresh_run_is_what_the_unit_tests_judge(tmp_path: Path) -> None:
    lab = Lab(Workspace.default())
    workload.run(lab, lab.kernel("prototype-6.12"), tmp_path, lab.on_step)
    facts, logs = workload.read(tmp_path, list(DESIGNS.values()))
    for name, design in DESIGNS.items():
        judged = judge_log(design, facts, tmp_path / name, logs[name], lab.workspace)
        odd = {one.deed.case: one.outcome for one in judged if one.outcome is not Outcome.RIGHT}
        assert odd == NOT_RIGHT[name]
    judged = judge_together(facts, tmp_path, logs, lab.workspace)
    odd = {one.deed.case: one.outcome for one in judged if one.outcome is not Outcome.RIGHT}
    assert odd == NOT_TOGETHER
    # The case is none unless a number was used again.
    assert "mnt" in facts.reused
