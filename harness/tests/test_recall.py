"""What a run takes over from earlier ones, and what it leaves to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from harness import scenario
from harness.cells.recall import Recall
from harness.cells.store import Store
from harness.model import Arm, ArmResult, Expect, Outcome
from harness.workspace import Workspace

ARMS = {
    "q[broken]": Arm(scenario="q", stack="unfix-6.12", expect=Expect.SYMPTOM),
    "q[tree]": Arm(scenario="q", stack="tree", expect=Expect.PASS),
}
KEYS = {"unfix-6.12": "key of the kernel"}


class Desk:
    """A state folder with runs in it."""

    def __init__(self, root: Path) -> None:
        self.store = Store(Workspace(root), ["image", "host"])

    def run(self, keys: Mapping[str, str] = KEYS) -> tuple[Recall, Path]:
        """A new run, with nothing but its plan."""
        folder = self.store.workspace.new_run()
        scenario.plan_run(folder, list(ARMS.values()))
        return Recall(self.store, keys, folder), folder

    def ask(self, recall: Recall, folder: Path, outcome: Outcome = Outcome.SYMPTOM) -> None:
        """Has all arms say something, and keeps it."""
        for arm in ARMS.values():
            place = folder / arm.folder
            place.mkdir()
            (place / "records.log").write_text(f"of {arm.stack}")
            scenario.store_result(folder, ArmResult(arm=arm, outcome=outcome, seconds=9.0))
        recall.keep()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_an_unchanged_kernel_is_asked_once_and_one_s_own_each_time(desk: Desk) -> None:
    recall, folder = desk.run()
    assert recall.take(ARMS) == frozenset()
    desk.ask(recall, folder)

    recall, folder = desk.run()
    assert recall.take(ARMS) == {"q[broken]"}
    broken, own = scenario.load_results(folder)
    assert (broken.outcome, broken.known, broken.arm) == (Outcome.SYMPTOM, True, ARMS["q[broken]"])
    assert Path(broken.artifacts) == folder / broken.arm.folder
    assert Path(broken.artifacts, "records.log").read_text() == "of unfix-6.12"
    assert (own.outcome, own.known) == (Outcome.MISS, False)


def test_another_kernel_of_the_same_name_is_asked(desk: Desk) -> None:
    recall, folder = desk.run()
    desk.ask(recall, folder)
    recall, _ = desk.run({"unfix-6.12": "key of another kernel"})
    assert recall.take(ARMS) == frozenset()


def test_what_may_be_the_host_s_fault_is_asked_again(desk: Desk) -> None:
    recall, folder = desk.run()
    desk.ask(recall, folder, Outcome.TIMEOUT)
    recall, _ = desk.run()
    assert recall.take(ARMS) == frozenset()


def test_what_was_taken_over_is_not_kept_as_if_it_were_new(desk: Desk) -> None:
    recall, folder = desk.run()
    desk.ask(recall, folder)
    recall, folder = desk.run()
    recall.take(ARMS)
    recall.keep()
    recall, folder = desk.run()
    recall.take(ARMS)
    (broken, _) = scenario.load_results(folder)
    assert broken.seconds == 9.0
