"""The logs in ``data/audit`` are auditd 3.0.9's own, from a guest with kernel 6.12.117.

The same script ran twice: with ``log_format = RAW``, and with ``ENRICHED`` and
``name_format = HOSTNAME``. Among more usual things it sent user messages that hold a newline,
auditd's separator, and fields that pretend to be the kernel's.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.audit.records import Record, Trail, parse_log, parse_record, parse_status
from harness.errors import HarnessError

DATA = Path(__file__).with_name("data") / "audit"
RAW = DATA / "auditd-3.0.9-raw.log"
ENRICHED = DATA / "auditd-3.0.9-enriched.log"
BOTH = pytest.mark.parametrize("path", [RAW, ENRICHED], ids=["raw", "enriched"])

LOGIN = (
    "type=USER_LOGIN msg=audit(1700000000.123:45): pid=7 uid=0 auid=4294967295 ses=4294967295 "
    """msg='op=login acct="alice" exe="/bin/login" res=success'"""
)


@pytest.fixture(params=[RAW, ENRICHED], ids=["raw", "enriched"])
def trail(request: pytest.FixtureRequest) -> Trail:
    return Trail.parse(Path(request.param).read_bytes())


# -- whole logs --------------------------------------------------------------


@BOTH
def test_every_line_of_a_real_log_becomes_a_record(path: Path) -> None:
    lines = path.read_bytes().decode().rstrip("\n").split("\n")
    assert [record.text for record in parse_log(path.read_bytes())] == lines
    assert all(parse_record(line).type != "UNPARSED" for line in lines)


@BOTH
def test_bytes_and_text_give_the_same_records(path: Path) -> None:
    assert parse_log(path.read_bytes()) == parse_log(path.read_bytes().decode())


def test_a_node_and_the_translations_are_fields() -> None:
    record = Trail.parse(ENRICHED.read_bytes()).exactly_one(type="EXECVE", a1="-Ur")
    assert record.fields["node"] == "guest"
    call = Trail.parse(ENRICHED.read_bytes()).exactly_one(type="SYSCALL", comm="touch")
    assert (call.fields["SYSCALL"], call.fields["syscall"]) == ("openat", "257")
    assert (call.fields["AUID"], call.fields["auid"]) == ("unset", "4294967295")


def test_a_translated_socket_address_stays_one_field() -> None:
    found = Trail.parse(ENRICHED.read_bytes()).matching(type="SOCKADDR", saddr_fam="inet")
    assert not found
    record = Trail.parse(ENRICHED.read_bytes()).exactly_one(
        saddr="020000097F0000010000000000000000"
    )
    assert record.fields["SADDR"] == "{ saddr_fam=inet laddr=127.0.0.1 lport=9 }"


def test_bytes_that_are_not_utf8_are_kept() -> None:
    line = LOGIN.encode().replace(b"alice", b"al\xffce")
    (record,) = parse_log(line + b"\n")
    assert record.user["acct"] == "al\udcffce"
    assert record.text.encode(errors="surrogateescape") == line


# -- fields ------------------------------------------------------------------


def test_a_user_message_has_its_fields_apart(trail: Trail) -> None:
    record = trail.exactly_one(type="USER_AUTH")
    assert record.user["acct"] == "tester"
    assert record.user["exe"] == "/usr/bin/su"
    assert "acct" not in record.fields
    assert "uid" not in record.user


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("USER_CMD", "cmd", "id -u"),
        ("PROCTITLE", "proctitle", "touch /tmp/a b"),
        ("EXECVE", "a6", 'acct="a b"'),
        ("USER_LOGIN", "acct", "a b"),
    ],
)
def test_hex_and_quotes_come_off(trail: Trail, kind: str, field: str, value: str) -> None:
    assert trail.exactly_one(type=kind, **{field: value}).type == kind


def test_a_name_with_a_blank_and_two_keys_come_from_hex(trail: Trail) -> None:
    assert len(trail.matching(type="PATH", name="/tmp/a b")) == 2
    assert len(trail.matching(type="SYSCALL", key="two keys", comm="touch")) == 1
    assert trail.commands("two keys") == ["touch", "bash"]
    assert trail.commands("none") == []


def test_events_come_whole_by_one_of_their_records(trail: Trail) -> None:
    asked = trail.keyed("two keys")
    assert asked.commands("two keys") == ["touch", "bash"]
    assert len(asked) == 2
    assert all(event in trail.events for event in asked)
    (touched,) = trail.having(type="SYSCALL", comm="touch", key="two keys")
    assert {"SYSCALL", "PATH"} <= {record.type for record in touched.records}
    # All of a claim is about one record.
    assert len(trail.having(type="PATH", key="two keys")) == 0
    assert len(trail.matching(type="SYSCALL", key="unsh\x01other")) == 2


def test_numbers_that_look_like_hex_stay(trail: Trail) -> None:
    call = trail.exactly_one(type="SYSCALL", comm="cat")
    assert call.fields["arch"] == "c000003e"
    assert call.fields["syscall"] == "257"
    assert trail.exactly_one(op="in-pidns").user["acct2"] == "6120620A"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("6120", "a "),
        ("61622262", 'ab"b'),
        ("C3A9", "é"),
        ("FF20", "\udcff "),
        ("ABC", "ABC"),
        ("BEEF0G", "BEEF0G"),
        ("6162", "6162"),  # "ab" needs no hex, so this is none
        ("c3a9", "c3a9"),  # the kernel and libaudit write upper case
        ("(null)", "(null)"),
    ],
)
def test_what_counts_as_hex(written: str, read: str) -> None:
    line = f"type=PATH msg=audit(1700000000.123:45): item=0 name={written} inode=1"
    assert parse_record(line).fields["name"] == read


def test_arguments_are_hex_in_execve_only() -> None:
    body = "msg=audit(1700000000.123:45): a0=612062 a1[0]=6120"
    assert parse_record(f"type=EXECVE {body}").fields == {"a0": "a b", "a1[0]": "a "}
    assert parse_record(f"type=SYSCALL {body}").fields["a0"] == "612062"
    # Of a long argument the parts are hex, though nothing in them calls for it.
    body = body.replace("6120", "6121", 1)
    assert parse_record(f"type=EXECVE {body}").fields == {"a0": "a!b", "a1[0]": "a "}


def test_bare_words_do_no_harm(trail: Trail) -> None:
    record = trail.exactly_one(type="USER_AVC")
    assert record.user == {"pid": "7", "comm": "x y", "scontext": "u:r:t", "tclass": "file"}
    assert record.text.count("{ read write }") == 1


# -- what a sender may try -----------------------------------------------------


def test_a_sender_cannot_pass_for_the_kernel(trail: Trail) -> None:
    record = trail.exactly_one(type="USER_LOGIN", op="odd")
    assert record.fields["auid"] == "4294967295"
    assert record.user["auid"] == "0"
    assert trail.matching(op="odd", auid=4294967295) == (record,)
    trail.none(op="odd", auid=0)
    assert record.fields.get("AUID") in (None, "unset")


def test_a_newline_in_a_message_makes_no_second_record(trail: Trail) -> None:
    record = trail.exactly_one(type="USER_LOGIN", op="two-lines")
    assert record.serial > 1
    assert record.fields["pid"] != "1"
    assert all(event.serial != 1 for event in trail)


def test_a_separator_in_a_message_ends_nothing() -> None:
    record = Trail.parse(RAW.read_bytes()).exactly_one(op="sep")
    assert "UID" not in record.fields
    assert record.user["UID"] == "forged"


def test_a_translation_replaces_nothing() -> None:
    record = parse_record(LOGIN + '\x1dpid=8 UID="root" UID="forged"')
    assert (record.fields["pid"], record.fields["UID"]) == ("7", "root")


def test_an_apostrophe_in_a_translation_ends_no_message() -> None:
    record = parse_record(LOGIN + '\x1dUID="o\'neil" AUID="d\'arcy\'"')
    assert (record.fields["UID"], record.fields["AUID"]) == ("o'neil", "d'arcy'")
    assert record.user["acct"] == "alice"


def test_an_open_quote_in_a_message_is_the_senders_affair() -> None:
    record = parse_record(LOGIN.replace('"/bin/login"', '"/bin/login'))
    assert record.type == "USER_LOGIN"
    assert record.user["exe"] == "/bin/login"


# -- damage --------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "garbage",
        "\0\0\0\0",
        "type=",
        "type=SYSCALL",
        "type=SYSCALL msg=audit(1700000000.123",
        "type=SYSCALL msg=audit(1700000000.123:x): pid=1",
        "type=SYSCALL msg=audit(" + "9" * 5000 + ".123:1): pid=1",
        'type=SYSCALL msg=audit(1700000000.123:45): comm="ca',
        'type=SYSCALL msg=audit(1700000000.123:45): comm="',
        "type=USER_LOGIN msg=audit(1700000000.123:45): pid=7 msg='",
        "type=USER_LOGIN msg=audit(1700000000.123:45): pid=7 msg='op=login",
        "type=USER_LOGIN msg=audit(1700000000.123:45): pid=7 msg='op=it's cut",
        "type=SYSCALL msg=audit(1700000000.123:45): arch=c0" + LOGIN,
        "type=SYSCALL msg=audit(1700000000.123:45): arch=c0 " + LOGIN,
        "\udcff\x1d'",
    ],
)
def test_a_damaged_line_is_kept(line: str) -> None:
    (record, intact) = parse_log(f"{line}\n{LOGIN}\n")
    assert (record.type, record.text) == ("UNPARSED", line)
    assert not record.fields
    assert not record.user
    assert intact.type == "USER_LOGIN"


def test_a_damaged_line_keeps_its_event_if_it_can() -> None:
    cut = 'type=CWD msg=audit(1700000000.123:45): cwd="/ro'
    trail = Trail.parse(f"{LOGIN}\n{cut}\ngarbage\nmore\n")
    assert [len(event.records) for event in trail] == [2, 1, 1]
    assert [record.text for record in trail.unparsed] == [cut, "garbage", "more"]


def test_every_cut_through_a_log_keeps_every_byte() -> None:
    whole = ENRICHED.read_text()[-3000:]
    for end in range(len(whole)):
        assert "\n".join(one.text for one in parse_log(whole[:end])) == whole[:end].strip("\n")


def test_a_last_line_without_a_newline_is_not_trusted() -> None:
    (record,) = parse_log(LOGIN)
    assert (record.type, record.serial, record.text) == ("UNPARSED", 45, LOGIN)
    assert parse_log("") == parse_log("\n") == ()


# -- events ----------------------------------------------------------------------


def test_events_are_told_apart_by_time_and_serial_when_interleaved() -> None:
    lines = [
        "type=SYSCALL msg=audit(1700000000.123:45): pid=1",
        "type=SYSCALL msg=audit(1700000000.123:46): pid=2",
        "type=CWD msg=audit(1700000000.123:45): cwd=2F20",
        "type=SYSCALL msg=audit(1700000000.124:45): pid=3",
        "type=EOE msg=audit(1700000000.123:45): ",
        "type=CWD msg=audit(1700000000.123:46): cwd=2F20",
    ]
    trail = Trail.parse("\n".join(lines) + "\n")
    assert [(event.time_s, event.serial) for event in trail] == [
        (1700000000.123, 45),
        (1700000000.123, 46),
        (1700000000.124, 45),
    ]
    assert [[record.type for record in event.records] for event in trail] == [
        ["SYSCALL", "CWD", "EOE"],
        ["SYSCALL", "CWD"],
        ["SYSCALL"],
    ]
    assert [event.serial for event in trail[1:]] == [46, 45]
    assert trail[1:].exactly_one(pid=3).serial == trail[2].serial


def test_the_events_of_a_real_log(trail: Trail) -> None:
    (event,) = [one for one in trail if one.records[0].type == "EVENT_LISTENER"][:1]
    assert [record.type for record in event.records] == [
        "EVENT_LISTENER",
        "SYSCALL",
        "SOCKADDR",
        "PROCTITLE",
    ]
    assert sum(len(one.records) for one in trail) == len(trail.records)


# -- claims ------------------------------------------------------------------------


def test_an_int_is_compared_by_its_decimal(trail: Trail) -> None:
    record = trail.exactly_one(type="ANOM_ABEND", sig=11)
    assert trail.matching(type="ANOM_ABEND", sig="11", pid=int(record.fields["pid"])) == (record,)
    assert trail.matching(type="ANOM_ABEND", sig="011") == ()


def test_a_near_miss_is_shown(trail: Trail) -> None:
    with pytest.raises(AssertionError) as caught:
        trail.exactly_one(type="USER_ACCT", acct="testr", res="success")
    message = str(caught.value)
    first, near = message.splitlines()[:2]
    assert first.startswith("no record with type='USER_ACCT' acct='testr' res='success' among ")
    assert "2 USER_ACCT" in first
    assert near == "  near: acct is 'tester'"
    assert "\x1d" not in message


def test_a_claim_without_a_type_shows_the_values_there_are() -> None:
    with pytest.raises(AssertionError, match=r"near: acct is 'alice'"):
        Trail.parse(LOGIN + "\n").exactly_one(acct="bob")
    with pytest.raises(AssertionError) as caught:
        Trail.parse(LOGIN + "\n").exactly_one(colour="red")
    assert str(caught.value) == "no record with colour='red' among 1: 1 USER_LOGIN"


def test_lines_that_could_not_be_read_are_shown() -> None:
    with pytest.raises(AssertionError, match=r"1 lines could not be read:\n    garbage"):
        Trail.parse("garbage\n").exactly_one(type="USER_LOGIN")


def test_too_many_and_unwanted_records_are_listed() -> None:
    trail = Trail.parse(f"{LOGIN}\n" * 7)
    with pytest.raises(AssertionError, match=r"^7 records, not one, with pid='7':") as caught:
        trail.exactly_one(pid=7)
    assert str(caught.value).endswith("and 2 more")
    with pytest.raises(AssertionError, match=r"^7 records, not none, with type='USER_LOGIN':"):
        trail.none(type="USER_LOGIN")
    trail.none(type="USER_LOGOUT")


@pytest.mark.parametrize("claim", ["matching", "exactly_one", "none"])
def test_a_claim_about_nothing_is_an_error(claim: str) -> None:
    with pytest.raises(TypeError, match="needs a type or a field"):
        getattr(Trail(()), claim)()


def test_a_field_outside_the_message_comes_first() -> None:
    record = Record("USER", 1, 1.0, {"pid": "5"}, "", {"pid": "6", "acct": "a"})
    assert (record.get("pid"), record.get("acct"), record.get("exe")) == ("5", "a", None)


# -- auditctl -s -------------------------------------------------------------------

# As auditctl 3.0.9 printed it, except for the three numbers that were 0.
STATUS = """\
enabled 1
failure 1
pid 48
rate_limit 0
backlog_limit 8192
lost 17
backlog 3
backlog_wait_time 15000
backlog_wait_time_actual 2
loginuid_immutable 0 unlocked
"""


def test_the_status_is_read() -> None:
    status = parse_status(STATUS)
    assert (status.enabled, status.failure, status.pid, status.rate_limit) == (1, 1, 48, 0)
    assert (status.backlog_limit, status.lost, status.backlog) == (8192, 17, 3)
    assert (status.backlog_wait_time, status.backlog_wait_time_actual) == (15000, 2)
    assert status.others == {"loginuid_immutable": "0 unlocked"}


def test_an_older_status_has_no_wait_times() -> None:
    status = parse_status("".join(STATUS.splitlines(keepends=True)[:7]))
    assert status.backlog_wait_time is None
    assert status.backlog_wait_time_actual is None
    assert status.others == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "You must be root to run this program.",
        STATUS.replace("lost 17\n", ""),
        STATUS.replace("lost 17", "lost"),
        STATUS.replace("enabled 1", "enabled disable"),
        STATUS.replace("backlog_wait_time 15000", "backlog_wait_time ?"),
    ],
)
def test_what_is_no_status_is_an_error(text: str) -> None:
    with pytest.raises(HarnessError, match="auditctl -s does not give"):
        parse_status(text)


def test_an_event_has_its_containers_by_their_numbers() -> None:
    (event,) = Trail.parse(
        "type=SYSCALL msg=audit(1.000:7): syscall=62 record=1\n"
        "type=UNKNOWN[1340] msg=audit(1.000:7): record=1 contid=52\n"
        "type=UNKNOWN[1340] msg=audit(1.000:7): record=2 contid=8,^7\n"
    )
    assert event.containers == {"1": "52", "2": "8,^7"}
