"""The pure part of the benchmark of series: what guests say, compared. Nothing is counted."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from harness.bench import cost
from harness.bench.cost import KINDS, STATES, TASKS, THINGS, Seen
from harness.bench.figure import Figure
from harness.errors import BuildError, HarnessError
from harness.kernel import tasksize


def said(loop: int = 20_007) -> str:
    return f"empty 7 7 7\nloop {loop} {loop} {loop}\ngetppid 209 209 999\nopen 5659 5659 5007\n"


def test_times_are_medians_without_what_measuring_costs() -> None:
    assert cost.parse_times(said()) == {"getppid": 202, "open": 5652}


@pytest.mark.parametrize("loop", [19_000, 21_007, 13_000])
def test_a_counter_that_counts_something_else_is_an_error(loop: int) -> None:
    with pytest.raises(HarnessError, match="where there are 20000") as raised:
        cost.parse_times(said(loop))
    assert "-icount" in raised.value.hint


def test_records_of_one_type_are_added_up() -> None:
    text = "open 1340 45\nopen 1300 282\nclone 1340 45\nclone 1340 46\n"
    assert cost.parse_records(text) == {
        ("open", 1340): 45,
        ("open", 1300): 282,
        ("clone", 1340): 91,
    }


def seen(
    instructions: float,
    *,
    kind: str = "",
    more: float = 0.0,
    task_bytes: int = 3072,
    series: tuple[str, ...] = (),
) -> Seen:
    keys = itertools.product(TASKS, STATES, THINGS)
    times = dict.fromkeys(keys, instructions)
    records = {}
    if kind:
        times |= {(kind, "rule", thing): instructions + more for thing in THINGS}
        records = {(kind, thing, KINDS[kind].record): 45 for thing in THINGS}
    return Seen(series=series, times=times, records=records, task_bytes=task_bytes)


def compare(theirs: list[Seen], ours: list[Seen]) -> list[Figure]:
    return list(cost.compare("base", {"base": theirs, "mine": ours}))


def test_a_stack_may_cost_one_percent_more_than_its_base() -> None:
    figures = {one.name: one for one in compare([seen(1000.0)] * 2, [seen(1010.0), seen(1008.0)])}
    assert len(figures) == 2 * len(TASKS) * len(THINGS) * len(STATES) + 2
    one = figures["fork-rule mine"]
    assert (one.value, one.bar, one.holds) == (1009.0, 1010.0, True)
    assert one.what.endswith("a rule: +0.90 %")
    assert figures["fork-rule base"].bar is None

    dearer = {one.name: one for one in compare([seen(1e3)], [seen(1011.0)])}
    assert not dearer["open-off mine"].holds
    assert not dearer["open-off-userns mine"].holds


def test_a_user_namespace_may_cost_two_percent_more_to_make() -> None:
    figures = {one.name: one for one in compare([seen(1000.0)], [seen(1020.0)])}
    assert (figures["userns-on mine"].bar, figures["userns-on mine"].holds) == (1020.0, True)
    assert not figures["clone-on mine"].holds


def test_a_task_in_a_user_namespace_is_not_compared_where_more_is_told_of_it() -> None:
    ours = [seen(1170.0, series=("contid", "nsid"))]
    figures = {one.name: one for one in compare([seen(1000.0)], ours)}
    assert "open-rule mine" in figures
    assert "open-rule-userns mine" not in figures
    both = {one.name: one for one in compare([seen(1000.0, series=("nsid",))], ours)}
    assert not both["open-rule-userns mine"].holds


@pytest.mark.parametrize(("both", "ratio", "holds"), [(3100.0, 2.1, True), (3300.0, 2.3, False)])
def test_what_two_daemons_are_told_of_costs_little_more_than_twice(
    both: float, ratio: float, holds: bool
) -> None:
    ours = seen(2000.0, series=("auditns",))
    for thing in THINGS:
        times = {("userns", "on", thing): 1000.0, ("heard", "rule", thing): both}
        ours = dataclasses.replace(ours, times={**ours.times, **times})
    figures = {one.name: one for one in compare([seen(2000.0)], [ours])}
    one = figures["open-heard mine"]
    assert (one.value, one.bar, one.holds) == (ratio, 2.2, holds)


@pytest.mark.parametrize(
    ("series", "grown", "holds"),
    [
        (("contid",), 8, True),
        (("contid",), 9, False),
        (("nsid",), 0, True),
        (("nsid",), 8, False),
        (("contid", "nsid"), 8, True),
        (("contid", "nsid"), 16, False),
    ],
)
def test_a_task_may_grow_by_the_pointer_of_one_series(
    series: tuple[str, ...], grown: int, holds: bool
) -> None:
    ours = [seen(1.0, task_bytes=3000 + grown, series=series)]
    last = compare([seen(1.0, task_bytes=3000)], ours)[-1]
    assert (last.name, last.value, last.holds) == ("task mine", 3000 + grown, holds)
    assert last.what.endswith(f": +{grown}")
    # Nor by it once more, where the base has the series already.
    again = compare([seen(1.0, task_bytes=3000, series=series)], ours)[-1]
    assert (again.bar, again.holds) == (3000, grown == 0)


def test_the_size_of_a_task_is_that_of_a_symbol() -> None:
    text = "0000000000000000 00000000000009c8 B task_members\n"
    assert tasksize.parse_size(text) == 0x9C8
    with pytest.raises(BuildError, match="has no size"):
        tasksize.parse_size(text.replace("members", "size"))


def test_what_a_series_tells_is_shown_for_the_stacks_that_have_it() -> None:
    ours = [seen(1000.0, kind="contained", more=250.0)]
    figures = {one.name: one for one in compare([seen(1000.0)], ours)}
    assert figures["open-contained mine"].value == 1250
    assert figures["open-contained mine"].what.endswith("in a container: +250")
    size = figures["open-contained-bytes mine"]
    assert (size.value, size.unit, size.bar) == (45, "B", None)
    assert not any("foreign" in name for name in figures)


def test_births_and_ends_are_judged_where_they_are_left_out() -> None:
    times = dict.fromkeys(itertools.product(TASKS, STATES, THINGS), 1000.0)
    for state in ("on", "rule"):
        times["plain", state, "clone"] = 1170.0
    records = {("plain", "clone", 1342): 1500, ("plain", "clone", 1343): 400}
    ours = Seen(series=(), times=times, records=records, task_bytes=3072)
    figures = {one.name: one for one in compare([seen(1000.0)], [ours])}
    loud, quiet = figures["clone-on mine"], figures["clone-on-quiet mine"]
    assert (loud.bar, loud.what.partition(": ")[2]) == (
        None,
        "+17.00 %, no bar: 1900 B of records of births and ends, which the base does not tell;"
        " judged without them",
    )
    assert (quiet.bar, quiet.holds) == (1010.0, True)
    times["plain", "on-quiet", "clone"] = 1011.0
    (dearer,) = (one for one in compare([seen(1000.0)], [ours]) if one.name == quiet.name)
    assert not dearer.holds


def test_what_makes_no_record_more_is_judged_in_every_state() -> None:
    figures = {one.name: one for one in compare([seen(1000.0)], [seen(1170.0)])}
    assert not any(figures[f"clone-{state} mine"].holds for state in STATES)
