"""The test command: in which order it asks, and which reports it has written. All else is fake."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from harness import proc
from harness.workspace import PROJECT

FAKES = (
    *("ci/quickstart", ".venv/bin/ruff", ".venv/bin/mypy", ".venv/bin/pytest"),
    *("bin/git", "bin/shellcheck"),
)


def calls_of(top: Path, *words: str, reports: str) -> list[list[str]]:
    """What ci/test calls nsaudit with, in a folder where nothing else does anything."""
    said = top / "calls"
    scripts = dict.fromkeys(FAKES, "") | {".venv/bin/nsaudit": f'echo "$*" >>{said}\n'}
    for name, text in scripts.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}")
        path.chmod(0o755)
    shutil.copy(PROJECT / "ci/test", top / "ci/test")
    series = top / "kernel-patches/unfix/one"
    series.mkdir(parents=True)
    (series / "series.toml").write_text('proves = ["q"]\n')
    tools = f"{top / 'bin'}:{os.environ['PATH']}"
    env = {"PATH": tools, "NSAUDIT_REPORTS": reports}
    proc.run([top / "ci/test", *words], env=env, deadline_s=20.0)
    return [line.split() for line in said.read_text().splitlines()]


def test_all_runs_that_have_both_designs_come_after_their_comparison(tmp_path: Path) -> None:
    """A report links the newest comparison that there is when it is written."""
    calls = calls_of(tmp_path, "--full", reports="reports")
    (number,) = [at for at, one in enumerate(calls) if one[0] == "compare"]
    compared = calls[number]
    for form, name in (("--html", "compare.html"), ("--markdown", "compare.md")):
        assert compared[compared.index(form) + 1] == f"reports/{name}"
    both = [at for at, one in enumerate(calls) if one[0] == "run" and "prototype-6.12" in one]
    assert len(both) > 1
    assert all("--html" in calls[at] for at in both)
    assert min(both) > number


@pytest.mark.parametrize("reports", ["", "reports"])
def test_without_more_nothing_is_compared(tmp_path: Path, reports: str) -> None:
    calls = calls_of(tmp_path, reports=reports)
    assert [one[:4] for one in calls] == [
        ["run", "--base", "6.12", *(["--html"] if reports else [])],
        ["run", "--stack", "prototype-6.12", "--proves"],
    ]
    assert [one for one in calls if ("--junit" in one) != bool(reports)] == []
