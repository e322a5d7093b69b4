"""What a trail says of containers: attribution, moves, questions, and the page."""

from __future__ import annotations

import bz2
import gzip
import html
import json
import lzma
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from harness import cli
from harness.errors import UsageError
from harness.trail import page, questions
from harness.trail.asked import Asked, parse_time
from harness.trail.engine import open_engine
from harness.trail.ids import split_list
from harness.trail.index import Index, read_logs
from harness.trail.intake import Intake
from harness.trail.model import DAMAGED, LOST, NO_SPEECH, PACKET, Model
from harness.trail.names import LABEL, Names, read_names
from harness.trail.questions import Answer
from harness.trail.sources import find_sources
from harness.trail.tail import Tail
from harness.workspace import PROJECT, Workspace

# Loading the engine takes longer than all tests of it: let one worker do it.
pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("engine")]

SPACES = "cgroupns=4026531835 ipcns=4026531839 mntns={} netns={} pidns={} timens=4026531834"
SPACES = f"dev=00:04 {SPACES} userns=4026531837 utsns=4026531838"
HOST_SPACES = SPACES.format(4026531841, 4026531840, 4026531836)


@pytest.fixture(scope="module", autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSAUDIT_STATE", str(tmp_path_factory.mktemp("state")))
        yield


def event(second: int, serial: int, *records: str, ms: int = 0) -> str:
    """The lines of one event; each record is a type and its fields."""
    stamp = f"msg=audit({1795000000 + second}.{ms:03}:{serial}):"
    parts = [record.split(" ", 1) for record in records]
    return "".join(f"type={kind} {stamp} {fields}\n" for kind, fields in parts)


def call(pid: int, comm: str = "cat", *, ppid: int = 1, ok: str = "yes", rest: str = "") -> str:
    return (
        f"SYSCALL arch=c000003e syscall=257 success={ok} exit=0 items=0 ppid={ppid} pid={pid}"
        f' auid=1000 uid=0 ses=3 comm="{comm}" exe="/bin/{comm}" key=(null){rest}'
    )


def inside(contid: str, *more: str, number: int = 1) -> tuple[str, ...]:
    return (f"UNKNOWN[1340] record={number} contid={contid}", *more)


def birth(
    second: int, serial: int, contid: str, opid: int, *, old: str = "-1", ok: str = "yes"
) -> str:
    op = f"UNKNOWN[1344] op=set opid={opid} contid={contid} old-contid={old}"
    return event(second, serial, op, call(opid - 1, "runc", ok=ok))


def end(second: int, serial: int, contid: str, opid: int) -> str:
    return event(second, serial, f"UNKNOWN[1344] op=drop opid={opid} contid=-1 old-contid={contid}")


def weave(*events: str) -> str:
    """Events as they come from several cores: a record of each in turn."""
    lines = [text.splitlines(keepends=True) for text in events]
    return "".join("".join(turn) for turn in zip_longest(*lines, fillvalue=""))


def write(folder: Path, *texts: str, host: str = "alpha", name: str = "audit.log") -> Path:
    path = folder / host / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(texts))
    return path


def read(*places: Path | str) -> Model:
    return Model(read_logs(find_sources([str(place) for place in places]), Workspace.default()))


def ask(question: str, place: Path | Model, **narrowed: Any) -> list[dict[str, Any]]:
    model = place if isinstance(place, Model) else read(place)
    answer: Answer = questions.QUESTIONS[question](model, Asked(**narrowed))
    return answer.rows


def told(rows: Sequence[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


ALPHA = (
    birth(0, 1, "4711", 101),
    event(1, 2, *inside("4711", call(101, rest=" record=1"))),
    birth(2, 3, "4712", 102, old="4711"),
    event(3, 4, *inside("4712,^4711", call(102, rest=" record=1"))),
    event(4, 5, call(7, "sshd")),
    end(5, 6, "4712,^4711", 102),
    end(6, 7, "4711", 101),
)
BETA = (birth(20, 2, "4711", 55), event(21, 3, *inside("4711", call(55, rest=" record=1"))))
OWN = f"UNKNOWN[1341] {SPACES.format(4026532174, 4026532178, 4026532177)}"
AT_HOME = f"UNKNOWN[1341] {HOST_SPACES}"
BORN = (
    "UNKNOWN[1342] dev=00:04 inode=4026532174 ns=mnt userns=4026531837 ouid=0"
    ' old-inode=4026531841 ppid=1 pid=131 auid=1000 uid=0 ses=3 comm="unshare"'
)
BORN_NET = BORN.replace("inode=4026532174 ns=mnt", "inode=4026532178 ns=net")
EXITING = f"UNKNOWN[1341] {SPACES.format('?', '?', 4026532177)}"
GONE = "UNKNOWN[1343] dev=00:04 inode=4026532174 ns=mnt userns=4026531837 ouid=0"


def born_pid(second: int, serial: int, inode: int, pid: int, *, old: int = 4026531836) -> str:
    """A PID namespace that a task with this pid has made."""
    text = BORN.replace("inode=4026532174 ns=mnt", f"inode={inode} ns=pid")
    text = text.replace("old-inode=4026531841", f"old-inode={old}").replace("unshare", "criu")
    return event(second, serial, text.replace("pid=131", f"pid={pid}"))


def in_pid(inode: int) -> str:
    """In the host's mount namespace, and in a network namespace that others are in, too."""
    return f"UNKNOWN[1341] {SPACES.format(4026531841, 4026532178, inode)}"


# More than is shown of a damaged line; one record may have 8970 bytes.
CROWD = ",".join(str(number) for number in range(9000, 9400))
WHERE = ('CWD cwd="/"', 'PATH item=0 name="/etc/passwd" inode=1 nametype=NORMAL')
# What auditd appends with log_format = ENRICHED: the names for the numbers of a record.
NAMES = '\x1dARCH=x86_64 SYSCALL=openat AUID="{}" UID="root"'
ENRICHED = call(101, rest=f" record=1{NAMES.format('anna')}")
DAY = 86400
YEAR = 365 * DAY
# What was logged on which host; each tells a story of its own.
SCENES: dict[str, tuple[str, ...]] = {
    "alpha": ALPHA,
    "beta": BETA,
    "roles": (
        birth(0, 1, "11", 11),
        birth(0, 2, "12", 12),
        event(
            *(1, 3),
            *inside("11", call(11, rest=" record=1")),
            *inside("12", 'OBJ_PID opid=12 oauid=-1 ocomm="x" record=2', number=2),
        ),
        event(2, 4, *inside("11,12", "NETFILTER_PKT mark=0 saddr=127.0.0.1 record=1")),
    ),
    "quiet": (
        birth(0, 1, "61", 101),
        birth(1, 2, "62", 102, old="61"),
        birth(2, 3, "63", 103, old="62,^61"),
    ),
    "refused": (birth(0, 1, "21", 101, ok="no"), event(1, 2, call(101))),
    "lost": (
        birth(0, 1, "31", 101),
        event(1, 2, *inside("31", call(300, rest=" record=1"))),
        event(2, 3, call(301, ppid=300, rest=" record=1")),
        event(3, 4, call(302, ppid=301, rest=" record=1")),
        event(4, 5, call(900, ppid=901, rest=" record=1")),
        end(5, 6, "31", 101),
        event(6, 7, call(303, ppid=300, rest=" record=1")),
    ),
    "spaces": (
        event(1, 2, *inside("41", call(300, rest=" record=1"), OWN)),
        event(2, 3, call(901, ppid=900, rest=" record=1"), OWN),
    ),
    "nsid": (
        event(0, 1, BORN),
        event(1, 2, call(131), OWN),
        event(2, 3, call(7), AT_HOME),
        event(3, 4, GONE),
        # The same numbers again are another container.
        event(4, 5, BORN),
        event(5, 6, call(140), OWN),
        event(6, 7, "NETFILTER_PKT mark=0 saddr=127.0.0.1 daddr=127.0.0.1 proto=17"),
    ),
    "shared": (
        event(1, 2, *inside("51", call(11, rest=" record=1"), OWN)),
        event(2, 3, *inside("52", call(12, rest=" record=1"), OWN)),
        event(3, 4, *inside("53", call(13, rest=" record=1"), AT_HOME)),
        # The number is given out again, and what exits is in no network any more.
        event(4, 5, BORN_NET),
        event(5, 6, BORN_NET),
        event(6, 7, *inside("54", call(14, rest=" record=1"), OWN)),
        event(7, 8, *inside("55", call(15, rest=" record=1"), EXITING)),
        event(8, 9, *inside("56", call(16, rest=" record=1"), EXITING)),
    ),
    "forgotten": (
        birth(0, 1, "91", 101),
        event(1, 2, *inside("91", call(101, rest=" record=1"), OWN)),
        # Who has joined it, or a part of it, and a daemon with namespaces of its own.
        event(2, 3, call(901, "nsenter"), OWN),
        event(
            3, 4, call(902, "setns"), f"UNKNOWN[1341] {SPACES.format(4026532174, 1, 4026531836)}"
        ),
        event(4, 5, call(903, "daemon"), f"UNKNOWN[1341] {SPACES.format(11, 12, 4026531836)}"),
        # What was restored, what is inside of it, and its end.
        born_pid(5, 6, 4026532310, 920),
        event(6, 7, call(921, "sh"), in_pid(4026532310)),
        event(7, 8, "USER pid=921 uid=0 auid=1000 ses=3 msg='x'", in_pid(4026532310)),
        born_pid(8, 9, 4026532320, 921, old=4026532310),
        event(9, 10, call(922, "sh"), in_pid(4026532320)),
        event(10, 11, GONE.replace("inode=4026532174 ns=mnt", "inode=4026532310 ns=pid")),
        # Who has entered one with an id, and made a namespace there.
        born_pid(11, 12, 4026532330, 901, old=4026532177),
        event(12, 13, call(923, "unshare"), in_pid(4026532330)),
        # One with an id that does nothing, and somebody who has joined it; later on its pid is
        # another task's.
        birth(13, 14, "92", 110),
        born_pid(14, 15, 4026532340, 110),
        event(15, 16, call(924, "nsenter"), in_pid(4026532340)),
        end(16, 17, "92", 110),
        born_pid(17, 18, 4026532350, 110),
        event(18, 19, call(925, "sh"), in_pid(4026532350)),
        # One of which an id was lost, and one of which nobody knows whether it had one.
        event(19, 20, call(926, rest=" record=1"), in_pid(4026532360)),
        event(20, 21, call(927, "nsenter"), in_pid(4026532360)),
        event(21, 22, call(928, rest=' subj="x'), in_pid(4026532370)),
    ),
    # The same numbers on another host.
    "nsid-too": (event(90, 1, BORN), event(91, 2, call(131), OWN)),
    "joined": (
        birth(0, 1, "81", 101),
        birth(1, 2, "81", 105),
        event(2, 3, *inside("81", call(105, rest=" record=1"))),
        end(3, 4, "81", 101),
        birth(4, 5, "81", 110),
    ),
    # The first numbers of a boot differ by more than half, and yet all are of one kernel.
    "woven": (
        weave(birth(0, 1, "71", 101), birth(0, 2, "72", 102), event(0, 9, call(9), *WHERE * 3)),
        weave(
            event(1, 10, *inside("71", call(101, "cp", rest=" record=1"), *WHERE)),
            event(1, 11, *inside("72", call(102, "mv", rest=" record=1"), *WHERE)),
            event(1, 12, call(9, "sshd"), *WHERE),
        ),
        # The record that names the container comes last, and behind another one's.
        weave(
            event(2, 13, call(101, "cp", rest=" record=1"), *inside("71")),
            event(2, 14, call(102, "mv", rest=" record=1"), *inside("72")),
        ),
    ),
    "woven-two": tuple(
        weave(event(n, 1 + 4 * n, call(5), *WHERE), event(n, 3 + 8 * n, call(5), *WHERE))
        for n in range(3)
    ),
    "enriched": (
        event(
            *(0, 1),
            "UNKNOWN[1344] op=set opid=101 contid=95 old-contid=-1\x1dOPID=x",
            call(100, "runc", rest=NAMES.format("anna")),
        ),
        event(1, 2, *inside("95", ENRICHED)),
        event(
            *(2, 3),
            *inside(
                "95\x1dID=x", ENRICHED.replace("anna", "ben").replace("auid=1000", "auid=1001")
            ),
            *inside(
                "96",
                'OBJ_PID opid=12 oauid=1000 ouid=0 ocomm="x" record=2\x1dOAUID="anna" OUID="root"',
                number=2,
            ),
        ),
        event(3, 4, call(7, "sshd", rest=NAMES.format("anna"))),
        event(4, 5, call(101, rest=f" record=1{NAMES.format('anna')}")),
    ),
    "silent": (event(0, 1, call(55)),),
    "crowded": (event(0, 1, *inside(CROWD, call(9, "caf\u00e9", rest=" record=1"))),),
    "boots": (
        *(event(second, second + 1, call(5)) for second in range(10)),
        # Late records and system calls that took long are no boot.
        event(3, 4, call(5), "PROCTITLE proctitle=61"),
        event(1, 11, call(5)),
        event(1, 3, call(5), "PROCTITLE proctitle=61"),
        event(10, 12, call(5)),
        event(11, 11, call(5)),
        event(11, 10, call(5)),
        *(event(100 + second, second + 1, call(6)) for second in range(4)),
    ),
    "jumps": tuple(
        event(at, number + 1, call(8)) for number, at in enumerate((1000, 1001, 1002, 3, 4, 5))
    ),
    # A call that took long has the time when it began, in both.
    "ahead": tuple(
        event(at, number + 1, call(8))
        for number, at in enumerate((1, 2, 5 * YEAR, 0, 5 * YEAR + 1, 5 * YEAR + 80 * DAY))
    ),
    "idle": tuple(
        event(at, number + 1, call(8)) for number, at in enumerate((1, 80 * DAY, 2, 95 * DAY))
    ),
    "twins": tuple(
        event(number, serial + number, call(pid))
        for number in range(4)
        for serial, pid in ((1000, 1), (1000, 1), (10, 2), (10, 2))
    ),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """All scenes, read as the logs of one set of hosts."""
    folder = tmp_path_factory.mktemp("world")
    for host, texts in SCENES.items():
        write(folder, *texts, host=host)
    return read(folder)


@pytest.fixture(scope="module")
def answers(world: Model) -> Callable[..., list[dict[str, Any]]]:
    """The rows of one host among those that each question is answered with."""
    known = {name: ask(name, world) for name in questions.QUESTIONS}
    return lambda name, *hosts: [row for row in known[name] if row["host"] in hosts]


Answers = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def two_hosts(tmp_path: Path) -> Path:
    """4711 with 4712 in it on alpha; 4711 goes on on beta."""
    write(tmp_path, *ALPHA)
    write(tmp_path, *BETA, host="beta")
    return tmp_path


def test_births_nesting_moves_and_ends(answers: Answers) -> None:
    rows = answers("containers", "alpha", "beta")
    assert told(rows, "container", "host", "inside", "moved", "events") == [
        ("4711", "alpha", "", "", 1),
        ("4712", "alpha", "4711", "", 1),
        ("4711", "beta", "", "moved from alpha", 1),
    ]
    assert rows[0]["born"] == "2026-11-18T11:06:40.000Z"
    assert [row["ended"][17:19] for row in rows] == ["46", "45", ""]
    assert rows[0]["by"] == "runc[100] for 1000"


def test_every_event_has_a_place_and_a_reason(answers: Answers) -> None:
    rows = answers("events", "alpha")
    assert told(rows, "serial", "container", "role", "reason") == [
        (1, "4711", "birth", "id"),
        (2, "4711", "subject", "id"),
        (3, "4712", "birth", "id"),
        (4, "4712", "subject", "id"),
        (5, "", "", "host"),
        (6, "4712", "end", "id"),
        (7, "4711", "end", "id"),
    ]
    assert told(rows[:1], "auid", "ses", "comm") == [("1000", "3", "runc")]


def test_targets_and_packets_have_roles_of_their_own(answers: Answers) -> None:
    rows = [row for row in answers("events", "roles") if row["serial"] > 2]
    assert told(rows, "serial", "container", "role") == [
        (3, "11", "subject"),
        (3, "12", "target"),
        (4, "11", "packet"),
        (4, "12", "packet"),
    ]
    assert told(answers("shared-netns", "roles"), "containers") == [("11,12",)]


def test_a_container_that_does_nothing_is_inside_of_another_all_the_same(
    answers: Answers,
) -> None:
    assert told(answers("containers", "quiet"), "container", "inside") == [
        ("61", ""),
        ("62", "61"),
        ("63", "62,61"),
    ]


def test_a_refused_name_makes_no_container(world: Model, answers: Answers) -> None:
    assert answers("containers", "refused") == []
    assert told(answers("events", "refused"), "role") == [("refused",), ("",)]
    assert len(questions.refused(world)) == 1


def test_a_lost_id_is_found_by_descent_or_said_to_be_lost(answers: Answers) -> None:
    rows = answers("events", "lost")
    assert told(rows, "serial", "container", "reason", "why")[2:] == [
        (3, "31", "descent", ""),
        (4, "31", "descent", ""),
        (5, "", "unknown", LOST),
        (6, "31", "id", ""),
        (7, "", "unknown", LOST),
    ]


def test_a_lost_id_is_found_by_its_namespaces(answers: Answers) -> None:
    rows = answers("events", "spaces")
    assert told(rows, "container", "reason") == [("41", "id"), ("41", "namespaces")]


def test_without_ids_a_set_of_namespaces_is_a_container(answers: Answers) -> None:
    rows = [row for row in answers("events", "nsid") if row["what"].startswith("cat: ")]
    assert told(rows, "serial", "reason") == [(2, "namespaces"), (3, "host"), (6, "namespaces")]
    assert told(rows, "container") == [
        ("ns:mnt4026532174",),
        ("",),
        ("ns:mnt4026532174/2",),
    ]
    lives = [row for row in answers("events", "nsid") if row["role"] in ("birth", "end")]
    assert told(lives, "serial", "role") == [(1, "birth"), (4, "end"), (5, "birth")]
    first, second = answers("containers", "nsid")
    assert (first["ended"][17:19], second["ended"]) == ("43", "")
    assert first["by"] == "unshare[131] for 1000"


def test_a_container_without_an_id_is_found_where_others_have_one(answers: Answers) -> None:
    rows = [row for row in answers("containers", "forgotten") if row["container"][:3] == "ns:"]
    restored, nested, again = "ns:pid4026532310", "ns:pid4026532320", "ns:pid4026532350"
    assert told(rows, "container", "inside", "by", "events") == [
        (restored, "", "criu[920] for 1000", 2),
        (nested, restored, "criu[921] for 1000", 1),
        (again, "", "criu[110] for 1000", 1),
    ]
    assert [row["ended"][17:19] for row in rows] == ["50", "", ""]
    rows = [row for row in answers("events", "forgotten") if row["role"] == "subject"]
    assert told(rows[1:], "serial", "container", "reason") == [
        (7, restored, "namespaces"),
        (8, restored, "namespaces"),
        (10, nested, "namespaces"),
        (19, again, "namespaces"),
    ]
    assert told(answers("shared-netns", "forgotten"), "containers") == [
        (f"91,{restored},{nested},{again}",)
    ]


def test_who_joins_a_container_with_an_id_is_the_hosts(answers: Answers) -> None:
    rows = [row for row in answers("events", "forgotten") if not row["container"]]
    whys = {row["serial"]: (row["reason"], row["why"]) for row in rows}
    at_home = ("host", "its kernel would have named a container")
    assert {number: whys[number] for number in (3, 4, 5, 13, 16, 21)} == dict.fromkeys(
        (3, 4, 5, 13, 16, 21), at_home
    )
    assert (whys[20], whys[22]) == (("unknown", LOST), ("unknown", DAMAGED))


def test_a_packet_is_not_the_hosts_because_nothing_names_it(answers: Answers) -> None:
    rows = [row for row in answers("events", "nsid") if row["serial"] == 7]
    assert told(rows, "container", "reason", "why") == [("", "unknown", PACKET)]


def test_a_namespace_does_not_move(answers: Answers) -> None:
    (one,) = answers("containers", "nsid-too")
    assert (one["container"], one["moved"]) == ("ns:mnt4026532174", "")


def test_a_task_that_is_let_in_is_no_birth(answers: Answers) -> None:
    rows = answers("containers", "joined")
    assert told(rows, "events", "moved") == [(1, ""), (0, "set again")]
    assert [row["ended"][17:19] for row in rows] == ["43", ""]
    assert [row["by"] for row in rows] == ["runc[100] for 1000", "runc[109] for 1000"]


def test_woven_events_keep_their_records(world: Model, answers: Answers) -> None:
    rows = answers("events", "woven")
    assert told(rows, "serial", "container", "role", "comm") == [
        (1, "71", "birth", "runc"),
        (2, "72", "birth", "runc"),
        (9, "", "", "cat"),
        (10, "71", "subject", "cp"),
        (11, "72", "subject", "mv"),
        (12, "", "", "sshd"),
        (13, "71", "subject", "cp"),
        (14, "72", "subject", "mv"),
    ]
    assert [len(row["records"]) for row in rows] == [2, 2, 7, 4, 4, 3, 2, 2]
    for row in rows:
        assert all(f":{row['serial']}):" in text for text in row["records"])
    assert told(answers("containers", "woven"), "container", "events") == [("71", 2), ("72", 2)]
    assert told(answers("hosts", "woven", "woven-two"), "host", "boot") == [
        ("woven", 1),
        ("woven-two", 1),
    ]
    assert not [note for note in world.index.seen.notes if note.startswith("woven")]


def test_enriched_records_name_containers_and_logins(world: Model, answers: Answers) -> None:
    assert told(answers("events", "enriched"), "serial", "container", "role", "reason") == [
        (1, "95", "birth", "id"),
        (2, "95", "subject", "id"),
        (3, "95", "subject", "id"),
        (3, "96", "target", "id"),
        (4, "", "", "host"),
        (5, "95", "subject", "descent"),
    ]
    assert told(answers("containers", "enriched"), "container", "by") == [
        ("95", "runc[100] for anna"),
        ("96", ""),
    ]
    rows = ask("events", world, host="enriched", auid="anna")
    assert told(rows, "serial", "auid") == [(n, "1000") for n in (1, 2, 4, 5)]
    rows = ask("events", world, host="enriched", auid="ben", container="95")
    assert told(rows, "serial", "auid") == [(3, "1001")]
    assert ask("events", world, auid="an") == []


def test_a_long_list_is_read_to_its_end(answers: Answers) -> None:
    rows = answers("containers", "crowded")
    assert ",".join(row["container"] for row in rows) == CROWD


def test_tasks_in_one_network_namespace_share_it(answers: Answers) -> None:
    rows = answers("shared-netns", "shared")
    assert told(rows, "netns", "containers") == [("net:[4026532178]", "51,52")]


def test_a_kernel_that_names_nothing_is_said_to(answers: Answers) -> None:
    assert told(answers("unattributed", "silent"), "why") == [(NO_SPEECH,)]


def test_boots_begin_when_serials_do(answers: Answers) -> None:
    assert told(answers("hosts", "boots"), "boot", "unknown") == [(1, 15), (2, 4)]


def test_clocks_that_jump_and_twins_are_told(world: Model, answers: Answers) -> None:
    assert len(answers("hosts", "jumps")) == 1
    (jump,) = (note for note in world.index.seen.notes if "clock was set back" in note)
    (twins,) = (note for note in world.index.seen.notes if "two hosts with this name?" in note)
    assert jump.startswith("jumps, boot 1")
    assert twins.startswith("twins: ")


def test_a_clock_that_was_set_ahead_and_silence_look_alike(world: Model, tmp_path: Path) -> None:
    def notes(model: Model) -> list[str]:
        return [note for note in model.index.seen.notes if "records go from" in note]

    told = (
        "{}, boot 1: its records go from 2026-11-18 to 2031-11-17 at once, 1824 days: the clock"
        " was set ahead, or nothing of that time is here"
    )
    assert notes(world) == [told.format("ahead")]
    texts = SCENES["ahead"]
    write(tmp_path, *texts[:2], name="audit.log.1")
    assert notes(read(tmp_path)) == []
    write(tmp_path, *texts[2:])
    assert notes(read(tmp_path)) == [told.format("alpha")]


def test_questions_can_be_narrowed(two_hosts: Path) -> None:
    model = read(two_hosts)
    assert len(ask("events", model, container="4711")) == 5
    assert len(ask("events", model, container="4711", host="beta")) == 2
    assert len(ask("events", model, auid="1000", ses="3")) == 7
    assert ask("events", model, auid="1001") == []
    time = parse_time("2026-11-18T11:06:45.500")
    running = ask("containers", model, host="alpha", since_ms=time, until_ms=time)
    assert told(running, "container") == [("4711",)]


def test_rotated_and_compressed_logs_are_one_stream(two_hosts: Path) -> None:
    folder = two_hosts / "alpha"
    whole = (folder / "audit.log").read_bytes()
    plain = ask("events", two_hosts)
    lines = whole.splitlines(keepends=True)
    (folder / "audit.log").write_bytes(b"".join(lines[10:]))
    (folder / "audit.log.1.bz2").write_bytes(bz2.compress(b"".join(lines[8:10])))
    (folder / "audit.log.2.xz").write_bytes(lzma.compress(b"".join(lines[6:8])))
    (folder / "audit.log.3.gz").write_bytes(gzip.compress(b"".join(lines[4:6])))
    for name, codec, part in (("4.lz4", "lz4", lines[2:4]), ("10.zst", "zstd", lines[:2])):
        with pa.CompressedOutputStream(str(folder / f"audit.log.{name}"), codec) as file:
            file.write(b"".join(part))
    assert ask("events", two_hosts) == plain


def test_a_rotation_that_cannot_be_read_is_counted(two_hosts: Path) -> None:
    folder = two_hosts / "alpha"
    for name in ("audit.log.1.lzo", "audit.log.2.lzo", "audit.log.old"):
        (folder / name).write_bytes(b"?")
    first, old = folder / "audit.log.1.lzo", folder / "audit.log.old"
    log = folder / "audit.log"
    wanted = [f"2 files that end in .lzo are not read, first {first}"]
    # A shell may have named them one by one, and such a name need not be that of a rotation.
    assert find_sources([str(log), str(first), str(folder / "audit.log.2.lzo")]).notes == wanted
    assert [one.path for one in find_sources([str(old)]).sources] == [old]
    found = find_sources([str(two_hosts)])
    assert found.notes == [*wanted, f"1 file that ends in .old is not read: {old}"]
    assert [one.path for one in found.sources] == [log, two_hosts / "beta/audit.log"]
    log.unlink()
    with pytest.raises(UsageError, match=f"no audit log in .*\n  {wanted[0]}"):
        find_sources([str(folder)])


def test_there_may_be_more_files_than_16_bits_can_number(tmp_path: Path) -> None:
    (source,) = find_sources([str(write(tmp_path, *ALPHA))]).sources
    intake = Intake(Workspace.default())
    intake.take(40_000, source)
    index = Index(engine=open_engine(), sources=[], kinds=intake.reader.kinds, seen=intake.seen)
    index.load(intake)
    for name in ("lines", "texts"):
        table = index.table(name)
        assert index.engine.rows(table.select("file").distinct()) == [{"file": 40_000}]


def test_the_same_log_twice_is_read_once(two_hosts: Path) -> None:
    log = two_hosts / "alpha/audit.log"
    copy = two_hosts / "copy.log"
    copy.write_bytes(gzip.decompress(gzip.compress(log.read_bytes()[:-400])))
    short = copy.read_bytes().rpartition(b"\n")[0] + b"\n"
    copy.write_bytes(short)
    (two_hosts / "link.log").symlink_to(log)
    model = read(log, log, two_hosts / "link.log", copy)
    assert told(ask("containers", model), "container", "events") == [("4711", 1), ("4712", 1)]
    assert model.index.seen.records == len(log.read_bytes().splitlines())
    assert sum("read once" in note for note in model.index.seen.notes) == 3


def test_a_file_without_any_record_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "garbage\n", "more of it\n")
    model = read(path)
    assert model.index.seen.damage == {"not a record": 2}
    assert model.index.boots == []


def test_two_hosts_of_one_name_are_kept_apart(two_hosts: Path) -> None:
    model = read(f"web={two_hosts / 'alpha'}", f"web={two_hosts / 'beta'}")
    assert told(ask("hosts", model), "host", "boot") == [("web", 1), ("web", 2)]
    assert any("web is the name of the logs in 2 places" in note for note in model.index.seen.notes)


def test_damage_is_counted_and_the_rest_is_read(two_hosts: Path) -> None:
    log = two_hosts / "alpha/audit.log"
    text = log.read_bytes()
    log.write_bytes(
        b"Nov 25 12:00:00 kernel: hello\n\xff\xfe\n" + text + b"type=UNKNOWN[1999] "
        b"msg=audit(1795000007.000:9): a=b\ntype=SYSCALL msg=audit(1795000008.000:10): arch=c0"
    )
    model = read(two_hosts)
    assert dict(model.index.seen.damage) == {"not a record": 2, "cut at the end of the file": 1}
    assert dict(model.index.unknown) == {"UNKNOWN[1999]": 1}
    whys = [row["why"] for row in ask("unattributed", model)]
    assert whys == ["a record of it is damaged", *(f"{log}:{n} is not a record" for n in (1, 2))]
    assert len(ask("containers", model)) == 3


def test_an_archive_that_breaks_off_is_read_up_to_there(tmp_path: Path) -> None:
    path = write(tmp_path, *(event(n, n + 1, call(n)) for n in range(3000)))
    whole = gzip.compress(path.read_bytes())
    path.unlink()
    (tmp_path / "alpha/audit.log.gz").write_bytes(whole[: len(whole) // 2])
    model = read(tmp_path)
    assert 100 < model.index.seen.records < 3000
    assert any("ends in the middle" in note for note in model.index.seen.notes)
    assert len(ask("events", model)) >= model.index.seen.records - 1


def test_places_without_logs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "audit.log").write_bytes(b"")
    for place, message in ((tmp_path / "none", "there is no"), (tmp_path / "b=c", "there is no")):
        with pytest.raises(UsageError, match=message):
            find_sources([str(place)])
    found = find_sources([str(tmp_path)])
    assert [note for note in found.notes if "is empty" in note]
    (tmp_path / "audit.log").unlink()
    with pytest.raises(UsageError, match="no audit log"):
        find_sources([str(tmp_path)])


def test_a_folder_without_rights_is_told(two_hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = two_hosts / "beta"
    real = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    # As root, whom the tests may run as, no folder is closed.
    monkeypatch.setattr(os, "scandir", refuse)
    model = read(two_hosts)
    assert told(ask("hosts", model), "host") == [("alpha",)]
    note = f"{closed} cannot be read: Permission denied"
    assert model.index.seen.notes == [note]
    with pytest.raises(UsageError, match=f"there is no audit log in {closed}\n  {note}"):
        find_sources([str(closed)])


def test_what_is_in_a_folder_without_rights_is_told(
    two_hosts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = two_hosts / "beta"
    real = Path.stat

    def refuse(path: Path, **how: Any) -> os.stat_result:
        if path.parent == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, **how)

    monkeypatch.setattr(Path, "stat", refuse)
    for place in (str(closed / "audit.log"), f"web={closed / 'audit.log'}"):
        with pytest.raises(UsageError, match=f"{closed}/audit.log cannot be read: Permission"):
            find_sources([place])
    assert len(find_sources([str(closed / "audit.log"), str(two_hosts / "alpha")]).sources) == 1


def test_lists_of_containers() -> None:
    assert split_list("4713,^4712,^4711") == [("4713", "4712,4711")]
    assert split_list("1,2,^1") == [("1", ""), ("2", "1")]
    assert split_list("-1") == split_list("18446744073709551615") == split_list("") == []


def test_names_make_one_container_of_two_ids(two_hosts: Path, tmp_path: Path) -> None:
    file = tmp_path / "names.json"
    file.write_text(json.dumps({"4712": "web", "beta/4711": "web"}))
    names = read_names([str(file)])
    rows = ask("containers", two_hosts, container="web", names=names)
    assert told(rows, "container", "host", "moved") == [
        ("4712", "alpha", ""),
        ("4711", "beta", "moved from alpha as 4712"),
    ]
    assert {row["container"] for row in ask("events", two_hosts, container="web", names=names)} == {
        "4711",
        "4712",
    }


@pytest.mark.parametrize(
    ("data", "known"),
    [
        ({"id": "box", "init_process_pid": 7, "config": {"labels": ["nsaudit.contid=5"]}}, "box"),
        ([{"ID": "c1", "Labels": {"nsaudit.contid": "5"}}], "c1"),
        (
            {
                "kind": "PodList",
                "items": [
                    {
                        "metadata": {
                            "namespace": "shop",
                            "name": "web-1",
                            "annotations": {"nsaudit.contid/nginx": "5"},
                        }
                    }
                ],
            },
            "shop/web-1/nginx",
        ),
    ],
)
def test_names_of_orchestrators(tmp_path: Path, data: object, known: str) -> None:
    (tmp_path / "f").write_text(json.dumps(data))
    assert read_names([str(tmp_path / "f")]).name_of("5", "any") == known


@pytest.mark.parametrize("text", ["", "[", '{"1": 2}', "{}", "3", '{"items": [3]}'])
def test_other_files_name_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "f").write_text(text)
    with pytest.raises(UsageError, match="name"):
        read_names([str(tmp_path / "f")])


def state(folder: Path, name: str, pid: int, *labels: str, **more: str) -> Path:
    """What runc keeps of a container, each in a folder of its own."""
    path = folder / name / "state.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"id": name, "init_process_pid": pid, "config": {"labels": ["bundle=/b", *labels]}}
    path.write_text(json.dumps(about | more))
    return path


def test_names_of_several_files_are_one_list(
    two_hosts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runc"
    files = [
        state(folder, "web", 101, f"{LABEL}=4711"),
        state(folder, "db", 102, f"{LABEL}=4712"),
        state(folder / "again", "web", 101, f"{LABEL}=4711"),
    ]
    known = read_names(map(str, files)).known
    assert known == {"4711": "web", "4712": "db"}
    words = [word for path in files for word in ("--names", str(path))]
    assert cli._main(["trail", "containers", str(two_hosts), "--json", *words]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told(rows, "name", "host") == [("web", "alpha"), ("db", "alpha"), ("web", "beta")]
    other = state(folder, "shop", 103, f"{LABEL}=4711")
    message = f"4711 is web in {files[0]}, and shop in {other}"
    assert cli._main(["trail", "containers", str(two_hosts), *words, "--names", str(other)]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    (tmp_path / "f").write_text(f"[{files[0].read_text()}, {other.read_text()}]")
    with pytest.raises(UsageError, match=f"4711 is web in {tmp_path / 'f'}, and shop in "):
        read_names([str(tmp_path / "f")])


BORN_AT = "2026-11-18T11:06:39.123456789Z"


def test_a_state_without_the_label_is_found_by_its_process(
    two_hosts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    web = state(tmp_path / "runc", "web", 101, created=BORN_AT)
    words = ["trail", "containers", str(two_hosts), "--json", "--names", str(web)]
    assert cli._main(words) == 0
    out = capsys.readouterr()
    rows = [json.loads(line) for line in out.out.splitlines()]
    assert told(rows, "container", "host", "name") == [
        ("4711", "alpha", "web"),
        ("4712", "alpha", ""),
        ("4711", "beta", "web"),
    ]
    assert "web" not in out.err
    # Named as the container, it is that container.
    assert cli._main([*words, "--container", "web"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    words = ["trail", "events", str(two_hosts), "--json", "--container", "web"]
    assert cli._main([*words, "--names", str(web)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


@pytest.mark.parametrize(
    ("pid", "created", "host", "known", "why"),
    [
        (
            103,
            BORN_AT,
            "",
            "",
            "no record here puts its process 103 into a container when it was made",
        ),
        (
            101,
            BORN_AT,
            "beta",
            "",
            "no record here puts its process 101 on beta into a container when it was made",
        ),
        # Its number was given out again.
        (
            101,
            "2026-11-18T13:06:39Z",
            "",
            "",
            "no record here puts its process 101 into a container when it was made",
        ),
        (101, "", "", "4711", ""),
        (7, "", "", "", "its process 7 may be 4721 on gamma, or 4722 on delta"),
        (7, "", "delta", "4722", ""),
        # What was refused put nothing anywhere.
        (8, "", "", "", "no record here puts its process 8 into a container"),
    ],
)
def test_a_process_that_is_of_no_container_is_told(
    two_hosts: Path, pid: int, created: str, host: str, known: str, why: str
) -> None:
    write(two_hosts, birth(0, 1, "4721", 7), birth(9, 2, "4721", 7), host="gamma")
    write(two_hosts, birth(0, 1, "4722", 7), birth(9, 2, "4799", 8, ok="no"), host="delta")
    path = state(two_hosts, "web", pid, **({"created": created} if created else {}))
    model = read(two_hosts)
    names = read_names([f"{host}={path}" if host else str(path)])
    asked = questions.find_names(model, Asked(names=names))
    assert asked.names.known == ({known: "web"} if known else {})
    hint = f"the label {LABEL} has its id, and HOST=FILE says of which host it is"
    assert [note for note in model.index.seen.notes if note.startswith("web")] == (
        [f"web: {why}; {hint}"] if why else []
    )


def test_a_process_cannot_have_two_names(two_hosts: Path) -> None:
    (two_hosts / "f").write_text('{"4711": "shop"}')
    names = read_names([str(two_hosts / "f"), str(state(two_hosts, "web", 101))])
    with pytest.raises(UsageError, match="4711 is shop in .*/f, and web in .*state.json"):
        questions.find_names(read(two_hosts), Asked(names=names))


def test_the_page_shows_hostile_values_harmlessly(tmp_path: Path) -> None:
    evil = '"</script><script>alert(1)</script>"'
    write(
        tmp_path,
        birth(0, 1, "4711", 101),
        event(1, 2, *inside("4711", call(101, rest=" record=1").replace('"cat"', evil, 1))),
        host="<b>host",
    )
    index: Index = read_logs(find_sources([str(tmp_path)]), Workspace.default())
    text = page.render(Model(index), Asked(), ["a <remark>"])
    assert "<script>alert" not in text
    assert "<b>host" not in text
    assert "<remark>" not in text
    assert text.count("<script") == text.count("</script>") == 2
    assert "\\u003c/script\\u003e" in text
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert Names().name_of("4711", "x") == ""


def test_a_page_says_what_it_leaves_off(two_hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST_EVENTS", 3)
    text = page.render(read(two_hosts), Asked(), [])
    assert "3 events; 5 later ones are left off" in text


def cells_of(text: str, heading: str) -> list[list[str]]:
    """What is in the rows of the tables below a heading of the page, as a browser shows it."""
    section = text.partition(f"<h2>{heading}</h2>")[2].partition("</section>")[0]
    rows = re.findall(r"<tr>(<td.*?)</tr>", section, re.DOTALL)
    return [
        [
            html.unescape(re.sub("<[^>]*>", "", cell)).strip()
            for cell in re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL)
        ]
        for row in rows
    ]


def test_the_page_has_what_was_shared_and_what_is_unattributed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = '"</td><script>alert(1)</script>\x1b[31m"'
    for host in ("shared", "lost"):
        write(tmp_path, *SCENES[host], host=host)
    write(tmp_path, event(0, 1, call(55).replace('"cat"', evil)), "no <b>record\n", host="<b>odd")
    model = read(tmp_path)
    text = page.render(model, Asked(names=Names({"51": "web"})), [])
    assert cells_of(text, "Shared network namespaces") == [
        [
            *("web, 52", "shared boot 1", "net:[4026532178]"),
            *("2026-11-18T11:06:41.000Z", "2026-11-18T11:06:42.000Z", "2"),
        ]
    ]
    counts = [[LOST, "2"], ["a line is not a record", "1"], [NO_SPEECH, "1"]]
    found = cells_of(text, "Unattributed")
    assert found[:3] == counts
    assert [(row[1], row[3]) for row in found[3:]] == [
        ("<b>odd boot 1", NO_SPEECH),
        ("lost boot 1", LOST),
        ("lost boot 1", LOST),
        ("", f"{tmp_path}/<b>odd/audit.log:2 is not a record"),
    ]
    assert found[3][2] == "</td><script>alert(1)</script>: call 257"
    assert text.count("<script") == 2
    assert "<b>" not in text
    # What was asked for is what is there, up to a bound, and the counts are those of all of it.
    monkeypatch.setattr(page, "MOST_UNATTRIBUTED", 2)
    text = page.render(model, Asked(), [])
    assert cells_of(text, "Unattributed")[:3] == counts
    assert len(cells_of(text, "Unattributed")) == 3 + 2
    assert "2 of them, and 2 that are left off" in text
    text = page.render(model, Asked(host="shared"), [])
    assert cells_of(text, "Unattributed")[0] == ["a line is not a record", "1"]


def test_the_command_answers_in_four_forms(
    two_hosts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(two_hosts)
    assert cli._main(["trail", "containers", place]) == 0
    table = capsys.readouterr().out
    assert "moved from alpha" in table
    assert "15 lines in 2 files" in table
    assert cli._main(["trail", "events", place, "--container", "4712", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["role"] for row in rows] == ["birth", "subject", "end"]
    parquet, html = tmp_path / "e.parquet", tmp_path / "e.html"
    words = ["trail", "events", place, "--parquet", str(parquet), "--html", str(html)]
    assert cli._main(words) == 0
    assert pyarrow.parquet.read_table(parquet).num_rows == 9
    assert "<title>Containers on alpha, beta</title>" in html.read_text()
    assert cli._main(["trail", "events", place, "--since", "yesterday"]) == 2
    assert cli._main(["trail", "hosts", place, "--html", str(tmp_path / "no/f")]) == 69


@pytest.fixture
def tail(tmp_path: Path) -> Iterator[Tail]:
    """A log with one event, and a half of the next one."""
    write(tmp_path, ALPHA[0], ALPHA[1][:-30])
    tail = Tail([str(tmp_path)], Workspace.default(), open_engine())
    yield tail
    tail.close()


def poll(tail: Tail) -> list[tuple[Any, ...]]:
    """Which events are whole, and of which container."""
    model, whole = tail.poll()
    rows = ask("events", model, among=whole)
    return told(rows, "host", "serial", "container")


def test_an_event_is_told_once_when_it_is_whole(tail: Tail, tmp_path: Path) -> None:
    log = tmp_path / "alpha/audit.log"
    assert poll(tail) == []
    assert poll(tail) == [("alpha", 1, "4711")]
    with log.open("a") as file:
        file.write(ALPHA[1][-30:])
        file.flush()
        assert poll(tail) == []
        # More of the same event: it was not whole yet.
        file.write(event(1, 2, "PROCTITLE proctitle=61"))
        file.flush()
        assert poll(tail) == []
    assert poll(tail) == [("alpha", 2, "4711")]
    assert poll(tail) == []
    assert dict(tail.index.seen.damage) == {}


def test_what_is_followed_may_be_rotated_and_compressed(tail: Tail, tmp_path: Path) -> None:
    folder = tmp_path / "alpha"
    log = folder / "audit.log"
    poll(tail)
    with log.open("a") as file:
        file.write(ALPHA[1][-30:])
        log.rename(folder / "audit.log.1")
        write(tmp_path, ALPHA[2])
        # auditd goes on for a moment where it was.
        file.write(ALPHA[4])
    poll(tail)
    assert poll(tail) == [("alpha", 2, "4711"), ("alpha", 3, "4712"), ("alpha", 5, "")]
    (folder / "audit.log.1.gz").write_bytes(gzip.compress((folder / "audit.log.1").read_bytes()))
    (folder / "audit.log.1").unlink()
    write(tmp_path, *BETA, host="beta")
    poll(tail)
    assert poll(tail) == [("beta", 2, "4711"), ("beta", 3, "4711")]
    model, _ = tail.poll()
    assert len(ask("events", model, container="4711")) == 4
    assert told(ask("hosts", model), "host", "boot") == [("alpha", 1), ("beta", 1)]


def test_a_log_that_is_cut_is_read_from_its_beginning(tail: Tail, tmp_path: Path) -> None:
    poll(tail)
    write(tmp_path, event(50, 9, call(5)))
    poll(tail)
    assert [row[1] for row in poll(tail)] == [9]
    assert [note for note in tail.index.seen.notes if "was cut" in note]


def test_the_command_follows_until_it_is_interrupted(two_hosts: Path) -> None:
    words = ["-m", "harness", "trail", "events", str(two_hosts), "--follow", "--json"]
    # What a shell starts in the background ignores SIGINT, and so would this.
    command = ["env", "--default-signal=INT", sys.executable, *words, "--container", "4711"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as child:
        assert child.stdout
        first = [json.loads(child.stdout.readline())["host"] for _ in range(5)]
        with (two_hosts / "beta/audit.log").open("a") as file:
            file.write(end(30, 4, "4711", 55))
        last = json.loads(child.stdout.readline())
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 130
    assert sorted(first) == ["alpha"] * 3 + ["beta"] * 2
    assert (last["host"], last["role"]) == ("beta", "end")
    assert cli._main(["trail", "hosts", str(two_hosts), "--follow"]) == 2


@pytest.mark.parametrize(
    ("engine", "status", "message"),
    [
        ("flink://127.0.0.1:1", 2, "there is no engine"),
        ("spark://127.0.0.1", 2, "is no master"),
        ("spark://127.0.0.1:http", 2, "is no master"),
        ("spark://127.0.0.1:9?read=nobody", 2, "no 'nobody' reads logs"),
        # The discard port, where nobody listens.
        ("spark://127.0.0.1:9?spark.cores.max=1", 69, "nobody answers at spark://127.0.0.1:9:"),
        ("spark://127.0.0.1:9,127.0.0.1:99999", 69, "nobody answers at"),
    ],
)
def test_an_engine_that_is_not_there(
    two_hosts: Path, capsys: pytest.CaptureFixture[str], engine: str, status: int, message: str
) -> None:
    assert cli._main(["trail", "hosts", str(two_hosts), "--engine", engine]) == status
    assert message in capsys.readouterr().err


def imported(code: str) -> set[str]:
    """What is imported after some code ran in a process of its own; the code may print."""
    code = f"import sys, harness.cli\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_other_commands_do_not_import_the_engine() -> None:
    found = imported("harness.cli._parser([])")
    assert {f"harness.commands.{name}" for name in cli._COMMANDS} <= found
    assert not {"ibis", "duckdb", "pyarrow", "numpy"} & found


def test_the_trail_imports_no_more_than_it_needs(two_hosts: Path) -> None:
    found = imported(f"harness.cli._main(['trail', 'containers', {str(two_hosts)!r}])")
    assert "duckdb" in found
    # Each of these takes longer to import than 100 MB of logs to read.
    assert not {"pandas", "pytest", "paramiko"} & found
