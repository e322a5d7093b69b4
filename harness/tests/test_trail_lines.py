"""Reading in arrays says of every line what ``parse_record`` says of it alone."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.audit.records import UNPARSED, parse_record
from harness.trail import lines as reading
from harness.trail.lines import DAMAGE, Reader
from harness.workspace import Workspace

# The scanner is compiled once for both modules' sake.
pytestmark = pytest.mark.xdist_group("engine")
LOGS = sorted((Path(__file__).parent / "data/audit").glob("*.log"))
CALL = (
    b"type=SYSCALL msg=audit(1795478897.042:56): arch=c000003e syscall=44 success=yes pid=49"
    b' auid=1000 ses=3 comm="auditd" exe="/usr/sbin/auditd" key=(null)'
)
Row = tuple[str, str, int, int, str]


@pytest.fixture(scope="module", autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSAUDIT_STATE", str(tmp_path_factory.mktemp("state")))
        yield


def read(data: bytes) -> list[Row]:
    """Type, node, time, serial and damage of each line."""
    reader = Reader(Workspace.default())
    rows = []
    for block in reader.read(io.BytesIO(data)):
        kinds, nodes = (
            {number: name.decode(errors="surrogateescape") for name, number in words.items()}
            for words in (reader.kinds, reader.nodes)
        )
        for at in range(len(block.start)):
            rows.append(
                (
                    kinds.get(int(block.kind[at]), UNPARSED),
                    nodes.get(int(block.node[at]), ""),
                    int(block.time_ms[at]),
                    int(block.serial[at]),
                    DAMAGE[int(block.damage[at])],
                )
            )
    return rows


def alone(data: bytes) -> list[Row]:
    """The same, one by one; damage without its reason."""
    rows = []
    for line in data.split(b"\n"):
        if line:
            one = parse_record(line.decode(errors="surrogateescape"))
            known = bool(one.time_s)
            node = one.fields.get("node", "") if line.startswith(b"node=") else ""
            stamp = (round(one.time_s * 1000), one.serial) if known else (-1, -1)
            rows.append((one.type, node, *stamp, "damaged" * (one.type == UNPARSED)))
    return rows


def differences(seen: list[Row], wanted: list[Row]) -> list[tuple[Row, Row]]:
    """What differs; of a damaged line the node may be known from its beginning."""
    assert len(seen) == len(wanted)
    return [
        (one, other)
        for one, other in zip(seen, wanted, strict=True)
        if (one[0], *one[2:4], bool(one[4])) != (other[0], *other[2:4], bool(other[4]))
        or (one[1] != other[1] and not other[4])
    ]


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.name)
def test_real_logs(path: Path) -> None:
    data = path.read_bytes()
    assert differences(read(data), alone(data)) == []
    assert not [row for row in read(data) if row[4]]


@pytest.mark.parametrize("seed", range(4))
def test_logs_that_were_broken_at_random(seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(b"".join(path.read_bytes() for path in LOGS))
    for _ in range(120):
        at = chance.randrange(len(data) - 40)
        what = chance.randrange(4)
        if what == 0:
            del data[at : at + chance.randrange(40)]
        elif what == 1:
            data[at] = chance.randrange(256)
        elif what == 2:
            data[at:at] = bytes(data[at : at + 30])
        else:
            data[at] = ord(chance.choice("\n\"'(): =\x1d"))
    data += b"\n"
    seen, wanted = read(bytes(data)), alone(bytes(data))
    assert differences(seen, wanted) == []
    assert any(row[4] for row in seen)


@pytest.mark.parametrize(
    ("line", "kind", "damage"),
    [
        (CALL, "SYSCALL", ""),
        (CALL[:-30], "SYSCALL", ""),
        (CALL[: CALL.index(b'itd" ')], UNPARSED, "a quote is left open"),
        (CALL[:60] + CALL, UNPARSED, "two records in one line"),
        (b"Nov 25 12:00:00 host sshd[1]: hello", UNPARSED, "not a record"),
        (b"\xff\xfe\x00garbage", UNPARSED, "not a record"),
        (CALL.replace(b"audit(1795478897.042:56)", b"audit(x.042:56)"), UNPARSED, "not a record"),
        (CALL.replace(b"SYSCALL", b"UNKNOWN[1340]"), "CONTAINER_ID", ""),
        (CALL.replace(b"SYSCALL", b"UNKNOWN[1999]"), "UNKNOWN[1999]", ""),
        (CALL.replace(b"SYSCALL", b"A_TYPE_WITH_A_LONG_NAME"), "A_TYPE_WITH_A_LONG_NAME", ""),
        (
            b"type=USER msg=audit(1795478897.042:57): pid=1 uid=0 auid=0 ses=1"
            b" msg='x type=UNKNOWN[1340] msg=audit(1.000:1): record=1 contid=1'",
            "USER",
            "",
        ),
        (
            b"type=USER msg=audit(1795478897.042:57): pid=1 uid=0 auid=0 ses=1 msg='no end",
            UNPARSED,
            "a quote is left open",
        ),
        (CALL.replace(b'"auditd"', b"X" * 1_200_000), "SYSCALL", ""),
        (CALL.replace(b'"auditd"', b'"\xff\xfe"'), "SYSCALL", ""),
    ],
    ids=range(14),
)
def test_a_hostile_line_between_good_ones(line: bytes, kind: str, damage: str) -> None:
    rows = read(b"\n".join([CALL, line, CALL, b""]))
    assert [row[0] for row in rows] == ["SYSCALL", kind, "SYSCALL"]
    assert [row[4] for row in rows] == ["", damage, ""]
    assert rows[0][2:4] == rows[2][2:4] == (1795478897042, 56)


def test_what_was_being_written_is_cut() -> None:
    assert [row[4] for row in read(CALL + b"\n" + CALL)] == ["", "cut at the end of the file"]


def test_many_nodes_in_one_file() -> None:
    data = b"".join(b"node=host%d " % number + CALL + b"\n" for number in range(40))
    assert [row[1] for row in read(data)] == [f"host{number}" for number in range(40)]


def test_more_words_than_16_bits_can_number() -> None:
    reader = Reader(Workspace.default())
    for words in (reader.kinds, reader.nodes):
        words.update((b"word%d" % number, number) for number in range(40_000))
    odd = CALL.replace(b"SYSCALL", b"CWD").replace(b'comm="', b'comm="a" "')
    (block,) = reader.read(io.BytesIO(b"node=a " + CALL + b"\nnode=b " + odd + b"\n"))
    assert block.node.tolist() == [40_000, 40_001]
    assert block.kind.tolist() == [40_000, 40_001]


def test_a_line_without_end_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LONGEST_LINE", 1000)
    monkeypatch.setattr(reading, "BLOCK", 600)
    rows = read(b"x" * 5000 + b"\n" + CALL + b"\n")
    assert "longer than 16 MiB" in {row[4] for row in rows}
    assert rows[-1][:2] == ("SYSCALL", "")
