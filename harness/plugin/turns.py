"""In which order arms are asked: what takes long begins first, so that nobody waits for it alone.

How long an arm took is kept in the state folder (``work/turns/CONFIG.json``, seconds by
``SCENARIO@STACK``) and says nothing but what to begin with: a wrong number costs time and no
verdict. The order of one run is written into its folder, because every worker of pytest-xdist
has to collect the arms in the same one.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import scenario
from harness.model import Arm, Outcome
from harness.workspace import Workspace, write_atomically

_FILE = "turns.json"
# A mutant's kernel has a name of its own: the oldest ones are forgotten.
_KEPT = 2000
# What was broken off, or never began, took as long as anything.
_WHOLE = frozenset({Outcome.PASS, Outcome.SYMPTOM, Outcome.FAIL})
# pytest-xdist gives a worker its next arm before the one in hand has ended. With these words it
# gives one at a time, after two to begin with.
DEALING = ("--maxschedchunk", "1")


class Turns:
    """What is known of one configuration's arms."""

    def __init__(self, workspace: Workspace, config: str) -> None:
        self._workspace = workspace
        self._lock = f"turns-{config}"
        self._file = workspace.work("turns") / f"{config}.json"

    def plan(self, run: Path, workers: int) -> None:
        """Writes the order of a run's arms that are still to be asked into its folder."""
        left = [one for one in scenario.load_results(run) if one.outcome is Outcome.MISS]
        arms = [result.arm for result in left]
        order = arrange(arms, self._load(), workers)
        (run / _FILE).write_text(json.dumps([arm.folder for arm in order], indent=1))

    def remember(self, run: Path) -> None:
        """Keeps how long the arms took that this run asked itself."""
        took = {
            _name(result.arm): result.seconds
            for result in scenario.load_results(run)
            if result.outcome in _WHOLE and not result.known
        }
        with self._workspace.lock(self._lock):
            old = {name: value for name, value in self._load().items() if name not in took}
            known = list({**old, **took}.items())[-_KEPT:]
            write_atomically(self._file, json.dumps(dict(known), indent=1))

    def _load(self) -> Mapping[str, float]:
        try:
            return {str(name): float(it) for name, it in json.loads(self._file.read_text()).items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


def load(run: Path | None) -> Mapping[str, int]:
    """The place of each arm's folder in the order of a run; nothing where none was planned."""
    if run is None:
        return {}
    with contextlib.suppress(FileNotFoundError):
        return {name: place for place, name in enumerate(json.loads((run / _FILE).read_text()))}
    return {}


def arrange(arms: Sequence[Arm], seconds: Mapping[str, float], workers: int) -> list[Arm]:
    """The order in which pytest-xdist gives workers the longest arms first.

    An arm that was not asked before is taken to be as long as its scenario's longest one, and a
    new scenario to be longer than any. A worker begins with two arms, of which the second waits
    for the first: beside the longest go the shortest.
    """
    longest: dict[str, float] = {}
    for name, value in seconds.items():
        of = name.partition("@")[0]
        longest[of] = max(value, longest.get(of, 0.0))

    def length(arm: Arm) -> float:
        return seconds.get(_name(arm), longest.get(arm.scenario, float("inf")))

    order = sorted(arms, key=length, reverse=True)
    if workers < 2 or len(order) < 2 * workers:
        return order
    firsts, rest, lasts = order[:workers], order[workers:-workers], order[-workers:]
    pairs = zip(firsts, reversed(lasts), strict=True)
    return [*(arm for pair in pairs for arm in pair), *rest]


def _name(arm: Arm) -> str:
    return f"{arm.scenario}@{arm.stack}"
