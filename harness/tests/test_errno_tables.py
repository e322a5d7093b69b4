"""The tables of ``scenarios/netlink-errno`` against what ``kernel/audit.c`` says.

``probe.c`` beside them tells what the columns mean. Each table was measured on the kernel that
it is named for, on every base; here it is derived once more, from the code.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

TABLES = Path(__file__).parents[2] / "scenarios" / "netlink-errno" / "tables"


class Cell(NamedTuple):
    """The mix that was probed: all columns but the answer's."""

    kind: str
    user: str
    pid: str
    net: str
    cap: str


class Answer(NamedTuple):
    errno: str
    how: str


PLACES = ("initial", "other")
CELLS = tuple(
    itertools.starmap(
        Cell,
        itertools.product(
            ("user", "control", "multicast", "unknown"),
            *(PLACES, PLACES, PLACES),
            ("none", "write", "control", "read"),
        ),
    )
)


def read_table(name: str) -> dict[Cell, Answer]:
    """A table as a mapping; the order and the number of its lines are tested apart."""
    rows = (line.split("\t") for line in (TABLES / f"{name}.tsv").read_text().splitlines())
    return {Cell(*row[:5]): Answer(*row[5:]) for row in rows}


def vanilla(cell: Cell) -> Answer:
    """``audit_netlink_ok()`` and ``audit_multicast_bind()``, the same in 6.1, 6.12 and 7.3."""
    if cell.kind == "multicast":  # capable(): the initial user namespace's capability
        allowed = cell.user == "initial" and cell.cap == "read"
        return Answer("0" if allowed else "EPERM", "bind")
    if cell.user == "other":
        return Answer("ECONNREFUSED", "ack")
    if cell.kind == "unknown":
        return Answer("EINVAL", "ack")
    if cell.kind == "control":
        allowed = cell.pid == "initial" and cell.cap == "control"
    else:
        allowed = cell.cap == "write"
    return Answer("0" if allowed else "EPERM", "ack")


def outside_user_ns(cell: Cell) -> bool:
    """Every message from another user namespace; bind() does not come this way."""
    return cell.kind != "multicast" and cell.user == "other"


def logged_outside_pid_ns(cell: Cell) -> bool:
    """The user messages that only their PID namespace speaks against."""
    return (cell.kind, cell.user, cell.pid, cell.cap) == ("user", "initial", "other", "write")


def sent_outside_net_ns(cell: Cell) -> bool:
    """Every message from another network namespace.

    bind() is unchanged there: the protocol and its bind() callback are registered once for
    all namespaces (``nl_table`` in net/netlink/af_netlink.c).
    """
    return cell.kind != "multicast" and cell.net == "other"


def logged_outside_any_ns(cell: Cell) -> bool:
    """The user messages that only the nsproxy of their sender speaks against.

    A new PID namespace changes the nsproxy; a new user namespace alone does not.
    """
    unshared = "other" in (cell.pid, cell.net)
    return (cell.kind, cell.user, cell.cap) == ("user", "initial", "write") and unshared


BROKEN = {
    "userns-eperm": (outside_user_ns, Answer("EPERM", "ack"), 48),
    "pidns-user": (logged_outside_pid_ns, Answer("EPERM", "ack"), 2),
    "netns-socket": (sent_outside_net_ns, Answer("ECONNREFUSED", "sendto"), 48),
    "nsproxy-eperm": (logged_outside_any_ns, Answer("EPERM", "ack"), 3),
}


def test_there_is_no_other_table() -> None:
    assert {path.stem for path in TABLES.iterdir()} == {"vanilla", *BROKEN}


@pytest.mark.parametrize("name", ["vanilla", *BROKEN])
def test_a_table_has_every_cell_once_in_the_fixed_order(name: str) -> None:
    lines = (TABLES / f"{name}.tsv").read_text().split("\n")
    assert lines.pop() == ""
    assert [tuple(line.split("\t")[:5]) for line in lines] == list(CELLS)
    assert all(len(line.split("\t")) == 7 for line in lines)


def test_vanilla_answers_as_its_code_says() -> None:
    assert read_table("vanilla") == {cell: vanilla(cell) for cell in CELLS}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_kernel_differs_in_the_named_cells_only(name: str) -> None:
    table, good = read_table(name), read_table("vanilla")
    named: Callable[[Cell], bool]
    named, answer, count = BROKEN[name]
    different = {cell for cell in CELLS if table[cell] != good[cell]}
    assert different == {cell for cell in CELLS if named(cell)}
    assert {table[cell] for cell in different} == {answer}
    assert len(different) == count
