"""Logs of a collector beside those of the hosts that sent to it: each record counts once."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.tests.test_trail import ALPHA, BETA, ask, birth, call, event, inside, read, told, write
from harness.trail.engine import open_engine
from harness.trail.model import Model
from harness.trail.tail import Tail
from harness.workspace import Workspace

pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("engine")]

# What the collector records itself, between what it gets.
OWN = (event(2, 100, call(900)), event(22, 101, call(900)))


@pytest.fixture(scope="module", autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSAUDIT_STATE", str(tmp_path_factory.mktemp("state")))
        yield


def sent(node: str, *texts: str) -> str:
    """Records as they arrive at a collector."""
    return "".join(f"node={node} {line}\n" for line in "".join(texts).splitlines())


def stays(place: Path | Model) -> list[tuple[Any, ...]]:
    return told(ask("containers", place), "container", "host", "boot", "moved", "events")


# What the logs of the two hosts tell.
ALONE = [
    ("4711", "alpha", 1, "", 1),
    ("4712", "alpha", 1, "", 1),
    ("4711", "beta", 1, "moved from alpha", 1),
]


def both_hosts(folder: Path) -> None:
    write(folder, *ALPHA)
    write(folder, *BETA, host="beta")


def copies(notes: Iterable[str]) -> list[str]:
    return [note for note in notes if "read once" in note]


# -- what a collector has ------------------------------------------------------------

COLLECTED = {
    "named": (sent("alpha", *ALPHA), OWN[0], sent("beta", *BETA), OWN[1]),
    "named otherwise": (sent("a.example", *ALPHA), OWN[0], sent("b.example", *BETA), OWN[1]),
    "without names": (ALPHA[0], OWN[0], *ALPHA[1:], *BETA, OWN[1]),
    "in part": (sent("alpha", *ALPHA[:2], *ALPHA[4:]), OWN[0], sent("beta", BETA[1]), OWN[1]),
    "a record of an event": (sent("alpha", ALPHA[0].splitlines()[0]), *OWN),
    "twice": (sent("alpha", *ALPHA, *ALPHA[:3]), OWN[0], sent("beta", *BETA), OWN[1]),
}


@pytest.mark.parametrize(
    ("case", "first"), [*((case, "zz") for case in COLLECTED), ("named", "aa"), ("in part", "aa")]
)
def test_what_a_collector_has_of_others_is_read_once(tmp_path: Path, case: str, first: str) -> None:
    """Whichever of the logs is read first."""
    both_hosts(tmp_path)
    write(tmp_path, *COLLECTED[case], host=first)
    model = read(tmp_path)
    assert stays(model) == ALONE
    rows = [row for row in ask("events", model) if row["host"] != first]
    assert told(rows, "host", "serial") == [
        *(("alpha", serial) for serial in (1, 2, 3, 4, 5, 6, 7)),
        *(("beta", serial) for serial in (2, 3)),
    ]
    assert [len(row["records"]) for row in rows] == [2, 2, 2, 2, 1, 1, 1, 2, 2]
    own = ask("events", model, host=first)
    assert told(own, "serial", "reason")[-2:] == [(100, "unknown"), (101, "unknown")]
    assert len(own) == 2
    assert f"{first}/audit.log has " in copies(model.index.seen.notes)[0]
    assert not [note for note in model.index.seen.notes if "kept apart" in note]


def test_another_name_is_said(tmp_path: Path) -> None:
    both_hosts(tmp_path)
    write(tmp_path, *COLLECTED["named otherwise"], host="collector")
    first, second = copies(read(tmp_path).index.seen.notes)
    assert "has 11 records of alpha that" in first
    assert "says that they are of a.example" in first
    assert "has 4 records of beta that" in second


def test_a_host_may_name_itself_too(tmp_path: Path) -> None:
    both_hosts(tmp_path)
    write(tmp_path, sent("alpha", *ALPHA))
    write(tmp_path, *COLLECTED["named"], host="collector")
    assert stays(tmp_path) == ALONE


def test_what_a_host_has_no_more_is_the_collectors(tmp_path: Path) -> None:
    both_hosts(tmp_path)
    write(tmp_path, *ALPHA[3:])
    write(tmp_path, *COLLECTED["named"], host="collector")
    assert stays(tmp_path) == ALONE


def test_an_earlier_boot_that_only_the_collector_has_is_of_the_same_host(tmp_path: Path) -> None:
    before = [event(-90 + n, 500 + n, *inside("4700", call(8, rest=" record=1"))) for n in range(3)]
    write(tmp_path, *ALPHA)
    write(tmp_path, sent("alpha", *before, *ALPHA), *OWN, host="collector")
    model = read(tmp_path)
    assert [row[:3] for row in stays(model)] == [
        ("4700", "alpha", 1),
        ("4711", "alpha", 2),
        ("4712", "alpha", 2),
    ]
    assert sorted(told(ask("hosts", model), "host", "boot")) == [
        ("alpha", 1),
        ("alpha", 2),
        ("collector", 1),
    ]
    assert not [note for note in model.index.seen.notes if "kept apart" in note]


def test_two_collectors_have_it_once(tmp_path: Path) -> None:
    both_hosts(tmp_path)
    write(tmp_path, *COLLECTED["in part"], host="collector")
    log = write(tmp_path, *COLLECTED["named"][:1], host="spare")
    (log.parent / "audit.log.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    assert stays(tmp_path) == ALONE


def test_collectors_alone_have_it_once(tmp_path: Path) -> None:
    write(tmp_path, *COLLECTED["named"], host="collector")
    write(tmp_path, *COLLECTED["in part"], host="spare")
    assert stays(tmp_path) == ALONE


@pytest.mark.parametrize("ahead_s", [0, 1000])
def test_guests_with_a_past_in_common_stay_two(tmp_path: Path, ahead_s: int) -> None:
    """They were forked while they ran: what is alike is of both, wherever their clocks are then."""
    for host, contid, ahead in (("one", "21", 0), ("two", "22", ahead_s)):
        later = event(10 + ahead, 8, *inside(contid, call(9, rest=" record=1")))
        more = [event(11 + ahead + n, 9 + n, call(int(contid))) for n in range(9)]
        write(tmp_path, *ALPHA, later, *more, host=host)
    model = read(tmp_path)
    assert told(ask("hosts", model), "host") == [("one",), ("two",)]
    assert copies(model.index.seen.notes) == []
    assert len(ask("events", model, host="two")) == 17


def test_what_is_alike_but_for_the_container_is_two(tmp_path: Path) -> None:
    """System calls at one time with one number, by kernels that put them elsewhere."""
    for host, contid in (("one", "21"), ("two", "22")):
        write(
            tmp_path,
            birth(0, 1, contid, 101),
            *(event(n, n, *inside(contid, call(9, rest=" record=1"))) for n in range(2, 5)),
            host=host,
        )
    model = read(tmp_path)
    assert told(ask("containers", model), "container", "host", "events") == [
        ("21", "one", 3),
        ("22", "two", 3),
    ]
    assert copies(model.index.seen.notes) == []


def test_what_arrives_twice_is_told_once_as_logs_grow(tmp_path: Path) -> None:
    log = write(tmp_path, "")
    other = write(tmp_path, OWN[0], host="collector")
    tail = Tail([str(tmp_path)], Workspace.default(), open_engine())

    def poll() -> list[tuple[Any, ...]]:
        model, whole = tail.poll()
        return told(ask("events", model, among=whole), "host", "serial")

    poll()
    assert poll() == [("collector", 100)]
    with log.open("a") as mine, other.open("a") as theirs:
        for text in ALPHA[:3]:
            mine.write(text)
        mine.flush()
        poll()
        assert poll() == [("alpha", 1), ("alpha", 2), ("alpha", 3)]
        # The collector has them later, and one of them before the host's own log has it.
        theirs.write(sent("alpha", *ALPHA[:4]))
        theirs.flush()
        poll()
        assert poll() == [("alpha", 4)]
        mine.write(ALPHA[3])
        mine.write(ALPHA[4])
        mine.flush()
        poll()
        assert poll() == [("alpha", 5)]
    tail.close()
