"""In which order arms are asked, and how many guests there are at a time."""

from __future__ import annotations

import heapq
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScheduling

from harness import scenario
from harness.guest import capacity, qemu
from harness.model import Arm, ArmResult, Expect, Outcome
from harness.plugin import session, turns
from harness.plugin.turns import Turns
from harness.workspace import Workspace


def lengths_with(shorts: int) -> dict[str, float]:
    """The seconds of two arms that take long, and of many that take one or two."""
    rest = {f"short-{n:03}": 1.0 + n / shorts for n in range(shorts)}
    return {"long": 15.0, "half": 8.0, **rest}


LENGTHS = lengths_with(20)


def arm(name: str, stack: str = "vanilla-6.12") -> Arm:
    return Arm(scenario=name, stack=stack, expect=Expect.PASS)


def seconds(lengths: Mapping[str, float], stack: str = "vanilla-6.12") -> dict[str, float]:
    return {f"{name}@{stack}": value for name, value in lengths.items()}


class Worker:
    """One of pytest-xdist's workers as its scheduler knows it."""

    def __init__(self, name: str) -> None:
        self.gateway = types.SimpleNamespace(id=name)
        self.queue: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, items: Sequence[int]) -> None:
        self.queue += items

    def shutdown(self) -> None:
        self.shutting_down = True


class Options:
    """What the scheduler asks pytest."""

    def __init__(self, workers: int, words: Sequence[str]) -> None:
        self._said = {"tx": ["popen"] * workers, "maxschedchunk": None}
        if words:
            assert words[0] == "--maxschedchunk"
            self._said["maxschedchunk"] = int(words[1])  # type: ignore[assignment]

    def getoption(self, name: str) -> Any:
        return self._said[name]

    getvalue = getoption


def deal(
    order: Sequence[str],
    lengths: Mapping[str, float],
    workers: int,
    words: Sequence[str] = turns.DEALING,
) -> float:
    """When the last arm ends, as pytest-xdist's own scheduler gives them out."""
    scheduler = LoadScheduling(Options(workers, words))
    pool = [Worker(f"gw{number}") for number in range(workers)]
    for worker in pool:
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, order)
    scheduler.schedule()
    now, ran = 0.0, 0
    busy: list[tuple[float, int, int]] = []
    idle = set(range(workers))
    while True:
        for number in sorted(idle):
            worker = pool[number]
            # A worker begins with an arm when it knows the next one, or that there is none.
            if worker.queue and (len(worker.queue) > 1 or worker.shutting_down):
                item = worker.queue.pop(0)
                heapq.heappush(busy, (now + lengths[order[item]], number, item))
                idle.remove(number)
        if not busy:
            assert ran == len(order)
            return now
        now, number, item = heapq.heappop(busy)
        ran += 1
        idle.add(number)
        scheduler.mark_test_complete(pool[number], item)


@pytest.mark.parametrize(("shorts", "workers"), [(20, 2), (20, 3), (20, 4), (100, 2), (100, 8)])
def test_what_takes_long_begins_first_and_nothing_waits_behind_it(
    shorts: int, workers: int
) -> None:
    lengths = lengths_with(shorts)
    arms = [arm(name) for name in reversed(lengths)]
    order = [one.scenario for one in turns.arrange(arms, seconds(lengths), workers)]
    assert sorted(order) == sorted(lengths)
    best = max(sum(lengths.values()) / workers, lengths["long"])
    assert deal(order, lengths, workers) <= best + 1.5
    # As they came, the longest one runs on alone.
    assert deal([one.scenario for one in arms], lengths, workers) > best + 3.0


def test_by_length_alone_one_worker_has_the_two_longest() -> None:
    arms = sorted(LENGTHS, key=lambda name: -LENGTHS[name])
    order = [one.scenario for one in turns.arrange([*map(arm, arms)], seconds(LENGTHS), 3)]
    assert deal(order, LENGTHS, 3) < 18.0
    assert deal(arms, LENGTHS, 3) == 23.0


def test_no_worker_has_a_share_of_all_to_begin_with() -> None:
    many = lengths_with(100)
    order = [one.scenario for one in turns.arrange([*map(arm, many)], seconds(many), 8)]
    assert deal(order, many, 8) + 2.0 < deal(order, many, 8, words=())


def test_one_worker_begins_with_the_longest_too() -> None:
    order = turns.arrange([arm("short-001"), arm("long"), arm("half")], seconds(LENGTHS), 1)
    assert [one.scenario for one in order] == ["long", "half", "short-001"]


def test_what_was_never_asked_is_taken_for_long() -> None:
    known = {**seconds(LENGTHS), **seconds({"half": 3.0}, "ids-6.12")}
    arms = [arm("half"), arm("half", "ids-6.12"), arm("half", "tree"), arm("long"), arm("new")]
    order = turns.arrange(arms, known, 1)
    assert [(one.scenario, one.stack) for one in order] == [
        ("new", "vanilla-6.12"),
        ("long", "vanilla-6.12"),
        ("half", "vanilla-6.12"),
        ("half", "tree"),
        ("half", "ids-6.12"),
    ]


class Desk:
    """A state folder, and runs in it."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root)

    def turns(self, config: str = "default") -> Turns:
        return Turns(self.workspace, config)

    def run(self, *results: ArmResult) -> Path:
        """A run that planned these arms, and in which those ended that are no MISS."""
        folder = self.workspace.new_run()
        scenario.plan_run(folder, [one.arm for one in results])
        for one in results:
            if one.outcome is not Outcome.MISS:
                scenario.store_result(folder, one)
        return folder

    def order(self, *names: str, config: str = "default") -> list[str]:
        """In which order a run with these arms asks them."""
        run = self.run(*(ArmResult(arm=arm(name)) for name in names))
        self.turns(config).plan(run, 1)
        places = turns.load(run)
        return [name.partition("@")[0] for name in sorted(places, key=lambda one: places[one])]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def took(name: str, time_s: float, outcome: Outcome = Outcome.PASS, **more: Any) -> ArmResult:
    return ArmResult(arm=arm(name), outcome=outcome, seconds=time_s, **more)


def test_the_next_run_begins_with_what_took_long_in_the_last_one(desk: Desk) -> None:
    assert desk.order("a", "b", "c") == ["a", "b", "c"]
    desk.turns().remember(desk.run(took("a", 1.0), took("b", 3.0), took("c", 2.0)))
    assert desk.order("a", "b", "c") == ["b", "c", "a"]
    desk.turns().remember(desk.run(took("a", 9.0, Outcome.SYMPTOM)))
    assert desk.order("a", "b", "c") == ["a", "b", "c"]
    # Other configurations make other kernels.
    assert desk.order("c", "b", config="debug") == ["c", "b"]


def test_what_was_broken_off_or_taken_over_says_nothing(desk: Desk) -> None:
    desk.turns().remember(desk.run(took("a", 1.0), took("b", 3.0)))
    desk.turns().remember(desk.run(took("a", 99.0, Outcome.TIMEOUT), took("b", 0.1, known=True)))
    assert desk.order("a", "b") == ["b", "a"]


def test_what_is_answered_already_takes_no_turn(desk: Desk) -> None:
    run = desk.run(took("a", 1.0, known=True), ArmResult(arm=arm("b")))
    desk.turns().plan(run, 2)
    assert list(turns.load(run)) == [arm("b").folder]


@pytest.mark.parametrize("text", ["", "[1]", '{"a@vanilla-6.12": "soon"}', '{"a": null}'])
def test_a_file_that_cannot_be_read_costs_the_order_only(desk: Desk, text: str) -> None:
    desk.turns()
    (desk.workspace.work("turns") / "default.json").write_text(text)
    assert desk.order("a", "b") == ["a", "b"]


def test_kernels_that_came_and_went_are_forgotten(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_KEPT", 2)
    desk.turns().remember(desk.run(took("a", 1.0), took("b", 3.0)))
    desk.turns().remember(desk.run(took("a", 1.0), took("c", 2.0)))
    # b is new again.
    assert desk.order("a", "c", "b") == ["b", "c", "a"]


SCENARIO = """
import pytest

@pytest.mark.scenario(broken=["userns-eperm"], good=["vanilla", "pid-vnr"])
def test_it(arm): ...
"""


def test_pytest_collects_in_the_order_of_the_run(
    monkeypatch: pytest.MonkeyPatch, desk: Desk, tmp_path: Path
) -> None:
    place = tmp_path / "scenarios" / "turned"
    place.mkdir(parents=True)
    (place / "test_turned.py").write_text(SCENARIO)
    monkeypatch.setattr(session, "SCENARIOS", place.parent)
    arms = list(session.collect(["turned"], []).values())
    by_stack = [one.stack for one in arms]
    assert by_stack == sorted(by_stack)
    run = desk.run(*(ArmResult(arm=one) for one in arms))
    wanted = ["vanilla-6.12", "pid-vnr-6.12", "userns-eperm-6.12"]
    for time_s, stack in enumerate(reversed(wanted), 1):
        (one,) = (one for one in arms if one.stack == stack)
        outcome = Outcome.PASS if one.expect is Expect.PASS else Outcome.SYMPTOM
        desk.turns().remember(desk.run(ArmResult(arm=one, outcome=outcome, seconds=time_s)))
    desk.turns().plan(run, 1)
    again = session.collect(["turned"], ["--run-folder", str(run)]).values()
    assert [one.stack for one in again] == wanted


def test_there_are_more_guests_than_cores_as_far_as_memory_goes() -> None:
    plenty = 1 << 20
    for cores, most in ((1, 2), (2, 3), (3, 5), (8, 12)):
        assert capacity.count_guests(cores, 99, available_mib=plenty) == most
    assert capacity.count_guests(8, 3, available_mib=plenty) == 3
    assert capacity.count_guests(2, 0, available_mib=plenty) == 1
    # Each may fill the whole of its memory, and QEMU has its own.
    need = qemu.MEMORY_MIB + 256
    assert capacity.count_guests(8, 99, available_mib=4 * need) == 4
    assert capacity.count_guests(8, 99, available_mib=4 * need - 1) == 3
    assert capacity.count_guests(8, 99, available_mib=10) == 1


def test_what_memory_is_left_is_read_from_the_kernel() -> None:
    said = "MemTotal:       24683784 kB\nMemFree:         100 kB\nMemAvailable:    2097152 kB\n"
    assert capacity.read_available_mib(said) == 2048
    assert capacity.count_guests(1, 99) >= 1
    with pytest.raises(ValueError, match="MemAvailable"):
        capacity.read_available_mib("MemFree: 100 kB\n")
