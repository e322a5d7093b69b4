"""Moves between hosts whose clocks differ: told by records, or said to be told by clocks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.tests.test_trail import ask, birth, call, end, event, inside, read, write

pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("engine")]

# By how many seconds the clock of the second host is ahead.
SKEWS = (0.0, 2.5, -2.5, 3600.0, -3600.0)


def work(second: int, serial: int, contid: str) -> str:
    return event(second, serial, *inside(contid, call(101, rest=" record=1")))


def once(second: int, contid: str, *, begun: bool = True, ended: bool = True) -> tuple[str, ...]:
    """A stay of six seconds."""
    serial = 100 + 3 * second
    return (
        *([birth(second, serial, contid, 101)] if begun else []),
        work(second + 1, serial + 1, contid),
        *(
            [end(second + 6, serial + 2, contid, 101)]
            if ended
            else [work(second + 6, serial + 2, contid)]
        ),
    )


# What happens on the first host and on the second, by the true time.
STORIES: dict[str, Callable[[str], tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "sent": lambda c: (once(0, c), once(7, c, ended=False)),
    "there and back": lambda c: ((*once(0, c), *once(14, c, ended=False)), once(7, c)),
    "ended": lambda c: (once(0, c), once(7, c)),
    "begun before": lambda c: (once(0, c, begun=False), once(7, c)),
    "both": lambda c: (once(0, c, ended=False), once(1, c, ended=False)),
    # The first host is switched off, and comes up without it.
    "cut": lambda c: (
        (*once(0, c, ended=False), *(event(30 + n, n + 1, call(int(c))) for n in range(4))),
        once(7, c, ended=False),
    ),
}
TOLD = {
    "sent": {
        0.0: ["b moved from a"],
        2.5: ["b moved from a"],
        -2.5: ["b moved from a, or there, too: the clocks overlap by 1.5 s"],
        3600.0: ["b moved from a"],
        -3600.0: ["b moved from a, the clocks are at least 3599.0 s apart"],
    },
    "there and back": {
        0.0: ["b moved from a, order by clock", "a moved from b"],
        2.5: [
            "b moved from a, order by clock",
            "a moved from b, or there, too: the clocks overlap by 1.5 s",
        ],
        -2.5: ["b also on a, by clock", "a moved from b"],
        3600.0: [
            "b moved from a, order by clock",
            "a moved from b, the clocks are at least 3599.0 s apart",
        ],
        -3600.0: ["a moved from b, order by clock", "a set again"],
    },
    "ended": {
        0.0: ["b moved from a, order by clock"],
        2.5: ["b moved from a, order by clock"],
        -2.5: ["b also on a, by clock"],
        3600.0: ["b moved from a, order by clock"],
        -3600.0: ["a moved from b, order by clock"],
    },
    "begun before": {
        0.0: ["b moved from a"],
        2.5: ["b moved from a"],
        -2.5: ["b moved from a, or there, too: the clocks overlap by 1.5 s"],
        3600.0: ["b moved from a"],
        -3600.0: ["b moved from a, the clocks are at least 3599.0 s apart"],
    },
    "both": {
        0.0: ["b also on a"],
        2.5: ["b also on a"],
        -2.5: ["a also on b"],
        3600.0: ["b moved from a, order by clock"],
        -3600.0: ["a moved from b, order by clock"],
    },
    "cut": {
        0.0: ["b moved from a"],
        2.5: ["b moved from a"],
        -2.5: ["b moved from a, or there, too: the clocks overlap by 1.5 s"],
        3600.0: ["b moved from a"],
        -3600.0: ["b moved from a, the clocks are at least 3599.0 s apart"],
    },
}


def ahead(text: str, seconds: float) -> str:
    """The records of a host whose clock is ahead."""

    def shift(found: re.Match[str]) -> str:
        ms = int(found[1]) * 1000 + int(found[2]) + round(seconds * 1000)
        return f"audit({ms // 1000}.{ms % 1000:03}:"

    return re.sub(r"audit\((\d+)\.(\d{3}):", shift, text)


@pytest.fixture(scope="module")
def moves(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, float], list[str]]:
    """How the container of each story came from host to host, in that order."""
    folder = tmp_path_factory.mktemp("moves")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSAUDIT_STATE", str(tmp_path_factory.mktemp("state")))
        ids: dict[str, tuple[str, float]] = {}
        for name, tell in STORIES.items():
            for skew in SKEWS:
                number = str(4000 + len(ids))
                ids[number] = name, skew
                for host, texts in zip("ab", tell(number), strict=True):
                    shifted = [ahead(text, skew * (host == "b")) for text in texts]
                    write(folder, *shifted, host=f"{host}-{number}")
        rows = ask("containers", read(folder))
    found: dict[tuple[str, float], list[str]] = {key: [] for key in ids.values()}
    for row in rows:
        if row["moved"]:
            host = row["host"].partition("-")[0]
            moved = re.sub(rf"-{row['container']}\b", "", row["moved"])
            found[ids[row["container"]]].append(f"{host} {moved}")
    return found


@pytest.mark.parametrize("skew", SKEWS)
@pytest.mark.parametrize("story", STORIES)
def test_a_move_is_told_by_records_or_said_to_be_told_by_clocks(
    moves: dict[tuple[str, float], list[str]], story: str, skew: float
) -> None:
    assert sorted(moves[story, skew]) == sorted(TOLD[story][skew])


def test_whoever_is_sure_is_right(moves: dict[tuple[str, float], list[str]]) -> None:
    """In all of these stories but one it went from a to b, if it moved at all."""
    one_way = [one for (story, _), told in moves.items() for one in told if "back" not in story]
    sure = [one for one in one_way if "moved" in one and "order by clock" not in one]
    assert len(sure) > len(SKEWS)
    assert all(one.startswith("b moved from a") for one in sure)


def test_two_hosts_of_one_name_are_two_places(tmp_path: Path) -> None:
    write(tmp_path, *once(0, "7"), host="x")
    write(tmp_path, *once(7, "7", ended=False), host="y")
    rows = ask("containers", read(f"web={tmp_path / 'x'}", f"web={tmp_path / 'y'}"))
    assert [row["moved"] for row in rows] == ["", "moved from web"]
