"""Calls pytest for the command line: what would be asked, and then the asking.

Both keep what pytest prints out of the terminal: ``collect`` turns it into an error, ``run``
into a file of the run's folder.
"""

from __future__ import annotations

import contextlib
import difflib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import pytest

from harness.errors import UsageError
from harness.jobs import SCENARIOS
from harness.model import Arm, Outcome
from harness.plugin.hooks import arms_key
from harness.plugin.turns import DEALING, Turns

_NO_ARMS: dict[str, Arm] = {}


class _Collector:
    """Keeps what a collection found, for ``collect``."""

    def __init__(self) -> None:
        self.arms: dict[str, Arm] = {}
        self.refused: list[str] = []

    def pytest_exception_interact(self, call: pytest.CallInfo[object]) -> None:
        if call.excinfo is not None:
            self.refused.append(str(call.excinfo.value))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.arms = session.config.stash.get(arms_key, _NO_ARMS)


class _Watcher:
    """Tells the caller of ``run`` each arm's outcome as it is known."""

    def __init__(self, on_outcome: Callable[[str, Outcome], None]) -> None:
        self._on_outcome = on_outcome
        self._last: dict[str, Outcome] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for key, value in report.user_properties:
            if key == "outcome":
                self._last[report.nodeid] = Outcome(str(value))
        if report.when == "teardown" and report.nodeid in self._last:
            self._on_outcome(report.nodeid, self._last[report.nodeid])


def _pytest(names: Sequence[str], words: Sequence[str], plugin: object, log: IO[str]) -> int:
    """Runs pytest in this process, what it prints going to ``log``; returns its status."""
    paths = [str(SCENARIOS / name) for name in names] or [str(SCENARIOS)]
    # The harness is imported, and its asserts need no rewriting: whether that is an error depends
    # on which of the words pytest takes for a place to look for its configuration.
    quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    fixed = ["-p", "no:cacheprovider", *quiet, f"--rootdir={SCENARIOS.parent}", *paths, *words]
    with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        return int(pytest.main(fixed, plugins=[plugin]))


def collect(names: Sequence[str], words: Sequence[str]) -> dict[str, Arm]:
    """The arms of the named scenarios, or of all, by the names that pytest gives them.

    Raises UsageError for unknown scenarios.
    """
    known = sorted(path.parent.name for path in SCENARIOS.glob("*/test_*.py"))
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2)
            meant = f"did you mean {', '.join(near)}?    " if near else ""
            raise UsageError(
                f"there is no scenario {name!r}", hint=f"{meant}nsaudit scenarios lists them"
            )
    collector, log = _Collector(), io.StringIO()
    status = _pytest(names, ["--collect-only", "-q", *words], collector, log)
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        said = list(dict.fromkeys(collector.refused)) or [log.getvalue().strip()]
        raise UsageError("\n".join(said) or "pytest could not collect the scenarios")
    return collector.arms


def run(
    names: Sequence[str],
    words: Sequence[str],
    folder: Path,
    workers: int,
    turns: Turns,
    on_outcome: Callable[[str, Outcome], None],
) -> None:
    """Runs scenarios into a run's folder, which has its plan; pytest's words go to ``pytest.log``.

    ``turns`` says in which order. The results are in the folder, whatever happens: read them with
    ``load_results``.
    """
    parallel = ["-n", str(workers), *DEALING] if workers > 1 else []
    turns.plan(folder, workers)
    with (folder / "pytest.log").open("w") as log:
        words = ["--run-folder", str(folder), *parallel, *words]
        if _pytest(names, words, _Watcher(on_outcome), log) == pytest.ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
    turns.remember(folder)
