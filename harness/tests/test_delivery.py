"""The pure part of the figure of delivery times: what a guest says, compared. Nothing is timed."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bench import delivery
from harness.bench.delivery import BUSY, FLOODED, QUIET, Round, Seen
from harness.bench.plan import Plan
from harness.errors import HarnessError, UsageError
from harness.jobs import Lab
from harness.workspace import Workspace


@pytest.mark.parametrize(
    ("samples", "percent", "value"),
    [
        (range(1, 101), 99, 99),
        (range(1, 101), 50, 50),
        (range(1, 201), 99, 198),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([3.0, 1.0, 2.0], 99, 3.0),
        ([7.0], 50, 7.0),
    ],
)
def test_so_many_percent_are_not_above_a_percentile(
    samples: list[float], percent: int, value: float
) -> None:
    assert delivery.percentile(samples, percent) == value


def test_each_message_was_delivered() -> None:
    assert delivery.parse("12\n7\n30\n", 3) == [12, 7, 30]
    with pytest.raises(HarnessError, match="2 of 3 messages"):
        delivery.parse("12\n7\n", 3)


def seen(quiet: float, busy: float, flooded: float, waited: float = 0.0) -> Round:
    """A round in which one message in fifty takes so long, and the others 1 us."""
    slow = {QUIET: quiet, BUSY: busy, FLOODED: flooded}
    return {
        state: Seen(took=[1.0] * 98 + [value] * 2, waited=waited if state == BUSY else 0.0)
        for state, value in slow.items()
    }


@pytest.mark.parametrize(("flooded", "ratio", "holds"), [(40.0, 2.0, True), (42.0, 2.1, False)])
def test_a_flood_may_double_what_few_messages_take(
    flooded: float, ratio: float, holds: bool
) -> None:
    # A round that a busy host made slow changes all of it, and counts once.
    rounds = [seen(20.0, 30.0, flooded), seen(800.0, 40.0, 40.0), seen(20.0, 10.0, 9000.0)]
    figures = {one.name: one for one in delivery.compare("mine", rounds)}
    one = figures["delivery mine"]
    assert (one.value, one.bar, one.holds) == (ratio, 2.0, holds)
    other = figures["delivery-busy mine"]
    assert (other.samples, other.bar) == ((flooded / 30, 1.0, 900.0), None)
    last, middle = figures["delivery-flooded-p99 mine"], figures["delivery-flooded-p50 mine"]
    assert (last.value, last.unit, middle.value) == (flooded, "us", 1.0)


def test_what_a_busy_host_shows_is_no_figure() -> None:
    idle, busy = seen(20.0, 20.0, 20.0, 0.05), seen(20.0, 20.0, 20.0, 0.5)
    for rounds, fault in (([idle, busy, idle], ""), ([idle, busy, busy], "the host is too busy")):
        one, other, *_, waited = delivery.compare("mine", rounds)
        assert (one.holds, one.fault[:20]) == (not fault, fault)
        assert other.holds is one.holds
    assert (waited.name, waited.value, waited.unit) == ("delivery-waited mine", 0.5, "s")


def test_a_stack_without_such_daemons_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(Workspace(tmp_path))
    monkeypatch.setattr(lab, "kernel", lambda name: pytest.fail(f"{name} is built"))
    plan = Plan(lab=lab, base="6.12", times=0, on_step=lambda _: None, stacks=("ids-6.12",))
    with pytest.raises(UsageError, match=r"no container on ids-6\.12 has a daemon"):
        list(delivery.delivery(plan))
    with pytest.raises(UsageError, match=r"no stack 'prototype-6\.1'"):
        list(delivery.delivery(Plan(lab=lab, base="6.1", times=0, on_step=lambda _: None)))
