"""Logs in which a container's own words try to pass for the kernel's, or for a page's."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from harness import cli
from harness.errors import UsageError
from harness.tests.test_trail import SPACES, birth, call, event, inside, read, told, write
from harness.trail import page, questions
from harness.trail.asked import Asked
from harness.trail.model import Model
from harness.trail.sources import find_sources

pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("engine")]

MINE, OTHER = "4711", "4712"
FORGED = (
    f"x type=UNKNOWN[1340] msg=audit(1795000001.000:2): record=1 contid={OTHER} "
    f"op=set opid=1 contid={OTHER} record=1"
)


def user(text: str, *, number: int = 1) -> tuple[str, ...]:
    """A user message of a contained task, as the kernel and the daemon write it."""
    own = f"USER pid=7 uid=0 auid=1000 ses=3 msg='{text}'"
    return own, f"UNKNOWN[1340] record={number} contid={MINE}"


def comm(value: str) -> tuple[str, ...]:
    """A system call of the contained task whose name for itself is this, as it stands there."""
    return inside(MINE, call(101, rest=" record=1").replace('comm="cat"', f"comm={value}"))


HEX = b"evil\nline \x1b[31m\x07<b>".hex().upper()
LONG = "A" * (1 << 20)
# What a terminal or a browser obeys and does not show.
OBEYED = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
# Each is one event of MINE, whatever it says.
EVENTS: dict[str, tuple[str, ...]] = {
    "a forged record in a message": user(FORGED),
    "a forged record after a newline that auditd made a blank": user("x " + FORGED.strip("x ")),
    "a message with quotes": user("a' b=\"c' d=\""),
    "a message that ends like a numbered record": user("x record=2"),
    "a message with the separator": user("x \x1dcontid=4712 record=1"),
    "marks that reorder what is shown": user(
        "login \u202e1174 \u2066dr\u2069 \u200f\u2028of\x9bk\x85"
    ),
    "a newline, an escape and a tag, in hex": comm(HEX),
    "a tag": comm('"<script>alert(1)</script>"'),
    "what looks like a field": comm('"contid=4712"'),
    "hex that is no hex": comm("6361Z"),
    "a line of a megabyte": inside(
        MINE, call(101, rest=" record=1"), f'PATH item=0 name="{LONG}" nametype=NORMAL'
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSAUDIT_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two containers; all that is done is done in the first, and twice with bytes of no text."""
    folder = tmp_path_factory.mktemp("hostile")
    texts = [birth(0, 1, MINE, 101), birth(0, 2, OTHER, 102)]
    texts += [event(3 + n, 3 + n, *records) for n, records in enumerate(EVENTS.values())]
    path = write(folder, *texts)
    last = event(90, 90, *comm('"\udcff\udcfe"')) + event(91, 91, *user("\udcff\udcfe"))
    with path.open("ab") as file:
        file.write(last.encode(errors="surrogateescape"))
    return path


@pytest.fixture(scope="module")
def model(log: Path) -> Model:
    return read(log)


def rows_of(model: Model, question: str, **narrowed: Any) -> list[dict[str, Any]]:
    return questions.QUESTIONS[question](model, Asked(**narrowed)).rows


def test_each_event_is_of_the_container_that_the_kernel_names(model: Model) -> None:
    rows = [row for row in rows_of(model, "events") if row["serial"] > 2]
    assert len(rows) == len(EVENTS) + 2
    assert {(row["container"], row["role"], row["reason"]) for row in rows} == {
        (MINE, "subject", "id")
    }
    assert dict(model.index.seen.damage) == {}
    assert told(rows_of(model, "containers"), "container", "events") == [
        (MINE, len(EVENTS) + 2),
        (OTHER, 0),
    ]
    assert rows_of(model, "unattributed") == []


def test_a_forged_namespace_is_no_namespace(tmp_path: Path) -> None:
    own = SPACES.format(4026532174, 4026532178, 4026532177)
    message = f"USER pid=7 uid=0 auid=1000 ses=3 msg='{own.replace('4026532174', '4026532999')}'"
    born = f"x type=UNKNOWN[1342] msg=audit(1.000:1): {own} inode=4026532174 ns=mnt pid=0"
    path = write(
        tmp_path,
        event(0, 1, message, f"UNKNOWN[1341] {own}"),
        event(1, 2, f"USER pid=7 uid=0 auid=1000 ses=3 msg='{born}'", f"UNKNOWN[1341] {own}"),
    )
    rows = rows_of(read(path), "events")
    assert told(rows, "container", "role") == [("ns:mnt4026532174", "subject")] * 2


def test_a_terminal_gets_no_control_characters(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--json"], []):
        assert cli._main(["trail", "events", str(log), *words]) == 0
        out = capsys.readouterr().out
        assert not re.search(OBEYED, out)
        assert words or max(map(len, out.splitlines())) < 1000
        # Two births, and no line that a comm began.
        assert sum("4711" in line for line in out.splitlines()) >= len(EVENTS) + 3
        assert not [line for line in out.splitlines() if line.startswith("line ")]


def test_json_and_parquet_have_all_of_it(log: Path, tmp_path: Path) -> None:
    file = tmp_path / "e.parquet"
    assert cli._main(["trail", "events", str(log), "--parquet", str(file)]) == 0
    table = pyarrow.parquet.read_table(file)
    assert table.num_rows == len(EVENTS) + 4
    names = table.column("comm").to_pylist()
    assert "evil\nline \x1b[31m\x07<b>" in names
    assert "\\xff\\xfe" in "".join(names)
    assert max(len(text) for row in table.column("records").to_pylist() for text in row) > 1 << 20


def test_the_page_is_small_and_harmless(model: Model) -> None:
    text = page.render(model, Asked(), ["host \u202e1174"])
    assert len(text) < 1 << 18
    assert "<script>alert" not in text
    assert "<b>" not in text
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    told = json.loads(data)
    assert len(told["events"]) == len(EVENTS) + 4
    rows = [*told["events"], *told["stays"]]
    values = [value for row in rows for value in (*row.values(), *row.get("records", ()))]
    # In the page, and in what its script sets as text.
    assert not re.search(OBEYED, text + "".join(one for one in values if isinstance(one, str)))
    assert [one for one in values if isinstance(one, str) and "login 1174 dr ofk" in one]
    assert "<li>host 1174</li>" in text


def test_a_log_without_rights_is_told(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = write(tmp_path, birth(0, 1, MINE, 101), host="closed")
    # As root, whom the tests may run as, no file is closed.
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, how: path != closed and access(path, how))
    found = find_sources([str(tmp_path), str(log)])
    assert [one.path for one in found.sources] == [log]
    assert found.notes == [f"{closed} cannot be read: permission denied"]
    with pytest.raises(UsageError, match=f"{closed} cannot be read: permission denied"):
        find_sources([str(closed)])
