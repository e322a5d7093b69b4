"""What the script of a trail's page does: run by Node.js, on as much of a DOM as it uses."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import proc
from harness.tests.test_trail import ALPHA, BETA, birth, call, event, inside, read, write
from harness.trail import page
from harness.trail.asked import Asked

pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("engine")]

DRIVE = Path(__file__).with_name("data") / "page/drive.js"
OUTER, INNER = "4711", "4712 in 4711"
EVIL = '"</script><img src=x onerror=alert(1)>"'


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two hosts: 4711 with 4712 in it on alpha, and 4711 on beta, 21 s in all."""
    folder = tmp_path_factory.mktemp("shown")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSAUDIT_STATE", str(tmp_path_factory.mktemp("state")))
        write(folder, *ALPHA)
        write(folder, *BETA, host="beta")
        text = page.render(read(folder), Asked(), [])
    path = folder / "trail.html"
    path.write_text(text)
    return path


def drive(path: Path, *steps: Sequence[object]) -> list[dict[str, Any]]:
    """What is to be seen at first, and after each step; see ``drive.js``."""
    done = proc.run(["node", DRIVE, path], given=json.dumps(steps).encode())
    return [json.loads(line) for line in done.stdout.splitlines()]


def seconds(text: str) -> float:
    """What a time on the axis is, in seconds of its day."""
    hours, minutes, rest = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def span(seen: dict[str, Any]) -> float:
    """How many seconds the axis is long, of which each time on it begins a part."""
    times = seen["times"]
    return (seconds(times[-1]) - seconds(times[0])) * len(times) / (len(times) - 1)


def time_at(seen: dict[str, Any], part: float) -> float:
    """The time at a part of the axis."""
    return seconds(seen["times"][0]) + span(seen) * part


def test_a_lane_has_the_stays_and_events_of_one_container(shown: Path) -> None:
    (seen,) = drive(shown)
    assert seen["hidden"] == ["detail"]
    assert seen["legend"] == ["alpha", "beta"]
    assert list(seen["lanes"]) == [OUTER, INNER]
    outer, inner = seen["lanes"].values()
    # From 0 to 6 s on one host, from 20 to 21 s on the other; from 2 to 5 s in the first of these.
    (here, there) = outer["stays"]
    assert here[1] == pytest.approx(6 * there[1])
    assert there[0] - here[0] == pytest.approx(20 * there[1])
    assert inner["stays"] == [pytest.approx([here[0] + 2 * there[1], 3 * there[1]])]
    assert (len(outer["marks"]), len(inner["marks"])) == (5, 3)
    assert seen["times"][0].startswith("11:06:39.")


def test_the_filter_leaves_what_has_all_words(shown: Path) -> None:
    whole, *found, none, again = drive(
        shown,
        *(["filter", text] for text in ("beta", "4712", "RUNC 4712", "sshd", "")),
    )
    assert [list(one["lanes"]) for one in found] == [[OUTER], [INNER], [INNER]]
    # A word of the container's leaves all of its events, one of an event's that event.
    assert found[1]["lanes"][INNER]["marks"] == whole["lanes"][INNER]["marks"]
    assert (none["lanes"], none["said"]) == ({}, ["nothing fits the filter"])
    assert again == whole
    _, one = drive(shown, ["filter", "subject 4712"])
    assert one["lanes"][INNER]["marks"] == whole["lanes"][INNER]["marks"][1:2]


def test_zoom_and_moves_stay_within_what_there_is(shown: Path) -> None:
    seen = drive(
        shown,
        *(["click", name] for name in ("in", "right", "right", "left", "out", "out", "in", "all")),
        *(["key", name] for name in ("+", "+", "-", "0")),
    )
    whole = seen[0]
    spans = [round(span(whole) / span(one)) for one in seen]
    assert spans == [1, 2, 2, 2, 2, 1, 1, 2, 1, 2, 4, 2, 1]
    starts = [one["times"][0] for one in seen]
    assert starts[1] < starts[2] <= starts[3]
    assert starts[4] < starts[3]
    # At the end of all is no more to move to, and from there out again is where it began.
    assert seen[3]["lanes"][OUTER]["stays"][-1][0] > 700
    assert seen[5] == seen[6] == seen[8] == seen[12] == whole


def test_the_wheel_zooms_where_it_is_and_a_drag_takes_the_time_along(shown: Path) -> None:
    whole, near, nearer, dragged, back = drive(
        shown,
        *(["wheel", OUTER, 600, -1], ["click", "in"]),
        *(["drag", OUTER, 400, 300], ["drag", OUTER, 300, 400]),
    )
    assert span(near) == pytest.approx(span(whole) * 0.8, abs=0.01)
    assert time_at(near, 600 / 800) == pytest.approx(time_at(whole, 600 / 800), abs=0.01)
    assert time_at(nearer, 0.5) == pytest.approx(time_at(near, 0.5), abs=0.01)
    assert time_at(dragged, 300 / 800) == pytest.approx(time_at(nearer, 400 / 800), abs=0.01)
    assert back == nearer


def test_a_click_or_enter_opens_the_events_of_a_mark(shown: Path) -> None:
    _, clicked, entered = drive(shown, ["open", OUTER, 0], ["enter", INNER, 1])
    what, how, records = clicked["detail"]
    assert what == "4711 is set on 101, runc: call 257"
    assert how == ("2026-11-18T11:06:40.000Z on alpha: birth by id, login 1000 in session 3")
    assert [line.split()[0] for line in records.split("\n")] == [
        "type=UNKNOWN[1344]",
        "type=SYSCALL",
    ]
    assert (clicked["hidden"], clicked["lanes"][OUTER]["on"]) == ([], [0])
    assert entered["detail"][0] == "cat: call 257"
    assert (entered["lanes"][OUTER]["on"], entered["lanes"][INNER]["on"]) == ([], [1])


def test_marks_that_are_too_near_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSAUDIT_STATE", str(tmp_path / "state"))
    many = [event(1, 2 + n, *inside("4711", call(101, rest=" record=1"))) for n in range(60)]
    hostile = event(9, 99, *inside("4711", call(101, rest=" record=1").replace('"cat"', EVIL)))
    write(tmp_path, birth(0, 1, "4711", 101), *many, hostile, host="<i>host")
    path = tmp_path / "trail.html"
    path.write_text(page.render(read(tmp_path), Asked(), []))
    _, crowd, last = drive(path, ["open", OUTER, 1], ["open", OUTER, 2])
    assert len(crowd["lanes"][OUTER]["marks"]) == 3
    assert crowd["detail"][0] == "60 events, the first 50 of them"
    assert len(crowd["detail"]) == 1 + 3 * 50
    # As text, wherever it comes from.
    assert last["legend"] == ["<i>host"]
    assert last["detail"][0] == "</script><img src=x onerror=alert(1)>: call 257"


def test_the_script_is_the_one_that_the_page_lets_run(shown: Path) -> None:
    text = shown.read_text()
    _, script = re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'\"" in text
