"""Breaks guests on purpose and wants the right word for it, on real kernels.

Each folder below ``cases`` is a scenario that cannot be green. They run as any scenario does,
with the fixtures of ``scenarios/``, and their results are read from the run's folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import proc, scenario
from harness.model import Outcome, ScenarioResult, Verdict
from harness.workspace import PROJECT

pytestmark = pytest.mark.machinery
CASES = Path(__file__).parent / "cases"
BROKEN_GUESTS = {
    "no-daemon": Outcome.ERROR,
    "hang": Outcome.TIMEOUT,
    "panic": Outcome.CRASH,
    "oops": Outcome.CRASH,
    "dead-guest": Outcome.ERROR,
    "lost-record": Outcome.FAIL,
    "lost-host": Outcome.ERROR,
}


def ask(name: str, folder: Path, launcher: str = "qemu") -> tuple[ScenarioResult, int]:
    """What one case came to, and the exit status of its pytest."""
    words = ["-q", "-p", "conftest", "-p", "no:cacheprovider", "--run-folder", str(folder)]
    words += ["--launcher", launcher]
    done = proc.run(
        [sys.executable, "-m", "pytest", *words, CASES / name],
        cwd=PROJECT,
        env={"PYTHONPATH": str(PROJECT / "scenarios")},
        check=False,
        deadline_s=1800,
    )
    (result,) = scenario.gather(scenario.load_results(folder))
    return result, done.status


def test_the_good_kernel_in_both_slots_is_vacuous(tmp_path: Path) -> None:
    result, status = ask("vacuous", tmp_path)
    assert [arm.outcome for arm in result.arms] == [Outcome.PASS, Outcome.PASS]
    assert result.verdict is Verdict.VACUOUS
    assert status == 1


@pytest.mark.parametrize("launcher", ["qemu", "vng"])
def test_hosts_can_be_cut_off_and_paused_and_killed(launcher: str, tmp_path: Path) -> None:
    result, _ = ask("hosts", tmp_path, launcher)
    for arm in result.arms:
        assert arm.outcome is Outcome.PASS, arm
        assert arm.boot == "warm" if launcher == "qemu" else arm.boot.endswith("cold")
        for host in ("north", "south", "east"):
            assert "Linux version" in Path(arm.artifacts, host, "console.log").read_text()


@pytest.mark.parametrize("launcher", ["qemu", "vng"])
@pytest.mark.parametrize(("name", "wanted"), BROKEN_GUESTS.items())
def test_a_broken_guest_is_called_by_its_name(
    name: str, wanted: Outcome, launcher: str, tmp_path: Path
) -> None:
    result, status = ask(name, tmp_path, launcher)
    assert [arm.outcome for arm in result.arms] == [wanted, wanted], result
    assert result.verdict is Verdict.BROKEN_TEST
    assert status == 1
