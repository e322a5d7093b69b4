"""Parses auditd's log and the status that auditctl prints; pure, and it never loses a line.

A line of ``audit.log`` is one record. The kernel begins it with ``audit(TIME:SERIAL):``
(``audit_log_start`` in ``kernel/audit.c``) and auditd puts the type, and on demand a node, in
front (auditd.conf(5): ``log_format``, ``name_format``)::

    [node=HOST ]type=TYPE msg=audit(SECONDS.MILLIS:SERIAL): FIELDS[ msg='TEXT'][<0x1d>NAMES]

FIELDS are ``name=value`` with blanks between, and now and then a bare word. A string that a
process may choose stands in double quotes, or as upper-case hex if it has a quote, a blank, a
control character or a byte above 0x7e (``audit_log_n_untrustedstring``; user space follows
with ``audit_encode_nv_string(3)``). A user message has TEXT, which is the sender's as it came,
but for a newline that auditd makes a blank. NAMES are auditd's translations
(``log_format = ENRICHED``), with upper-case names. Only FIELDS are the kernel's word: auditd
translates what TEXT says, too. All records of one event share TIME and SERIAL; events may
interleave.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

from harness.errors import HarnessError

UNPARSED = "UNPARSED"

_HEADER = re.compile(
    r"(?:node=(?P<node>\S+) )?type=(?P<type>\S+) "
    r"msg=audit\((?P<time>[0-9]{1,18}\.[0-9]{3}):(?P<serial>[0-9]{1,18})\):(?P<body>.*)",
    re.DOTALL,
)
_FIELD = re.compile(r'([^\s=]+)=("[^"]*"|\S*)')
_TRANSLATED = re.compile(r'([^\s=]+)=("[^"]*"|\{[^}]*\}|\S*)')
_TEXT = re.compile(r"(?:^|\s)msg='")
_SEPARATOR = "\x1d"  # AUDIT_INTERP_SEPARATOR in libaudit.h

# The strings that may come as hex: the kernel's callers of audit_log_untrustedstring() and
# audit_log_d_path(), and libaudit's of audit_encode_nv_string().
_ENCODED = re.compile(
    "acct|cgroup|cmd|comm|cwd|data|device|dir|exe|file|grp|key|name|new_group|ocomm|path|"
    "proctitle|root_dir|sw|vm|watch"
)
_ARGUMENT = re.compile(r"a[0-9]+(?:\[[0-9]+\])?")
_HEX = re.compile(r"(?:[0-9A-F]{2})+")
# A daemon writes the number of a type that is newer than itself.
_UNKNOWN = re.compile(r"UNKNOWN\[(\d+)\]")
_NEW_TYPES = {
    "1344": "CONTAINER_OP",
    "1345": "SET_CAPCONTID",
    "1340": "CONTAINER_ID",
    "1341": "NS_INFO",
    "1342": "NS_INIT",
    "1343": "NS_DEL",
}
_SHOWN = 5
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the log.

    ``fields`` are those outside of a user message's text, decoded, with auditd's translations
    under their upper-case names and the node as ``node``; ``user`` are the fields inside the
    text. Where a name comes twice the first one counts: what follows it may be forged. A NUL
    between the words of ``proctitle`` reads as a blank; several keys of one rule are joined
    by 0x01, as in the kernel.

    A line that cannot be read, or was cut short, has the type ``UNPARSED`` and no fields; it
    keeps its time and serial if those could be read (else 0). ``text`` is always the line.
    """

    type: str
    serial: int
    time_s: float
    fields: Mapping[str, str]
    text: str
    user: Mapping[str, str]

    def get(self, name: str) -> str | None:
        """What a field holds outside of the user message, else inside, else None."""
        return self.fields.get(name, self.user.get(name))


@dataclass(frozen=True, slots=True)
class Event:
    """The records that share one time and serial, in the order of the log."""

    serial: int
    time_s: float
    records: tuple[Record, ...]

    @property
    def containers(self) -> dict[str, str]:
        """The lists of its CONTAINER_ID records, by the numbers that other records refer to."""
        return {
            str(one.get("record")): str(one.get("contid"))
            for one in self.records
            if one.type == "CONTAINER_ID"
        }


def parse_record(line: str) -> Record:
    """The record of one line without its newline; never raises."""
    header = _HEADER.fullmatch(line)
    if header is None:
        return Record(UNPARSED, 0, 0.0, {}, line, {})
    kind, serial, time_s = header["type"], int(header["serial"]), float(header["time"])
    if number := _UNKNOWN.fullmatch(kind):
        kind = _NEW_TYPES.get(number[1], kind)
    damaged = Record(UNPARSED, serial, time_s, {}, line, {})

    body, text = header["body"], ""
    if opening := _TEXT.search(body):
        # The sender's text may hold quotes and separators of its own, but the last quote before
        # an end is the kernel's; one in a translated name (UID="o'neil") is before neither.
        closing = body.rfind("'" + _SEPARATOR)
        if body.endswith("'"):
            closing = len(body) - 1
        if closing < opening.end():
            return damaged
        text, rest = body[opening.end() : closing], body[closing + 1 :]
        body = body[: opening.start()] + rest
    body, _, names = body.partition(_SEPARATOR)
    fields, whole = _read_fields(_FIELD, kind, body)
    # Another header in the same line: the rest of this record and a newline are lost.
    if not whole or fields.get("msg", "").startswith("audit("):
        return damaged
    for name, value in _read_fields(_TRANSLATED, kind, names)[0].items():
        fields.setdefault(name, value)
    if header["node"]:
        fields.setdefault("node", header["node"])
    return Record(kind, serial, time_s, fields, line, _read_fields(_FIELD, kind, text)[0])


def parse_log(data: str | bytes) -> tuple[Record, ...]:
    """All records of a log, in its order; only empty lines are left out.

    A last line without a newline was still being written, and is ``UNPARSED``. Bytes are read
    as UTF-8; one that is not becomes a lone surrogate, as in Python's file names.
    """
    whole = data.decode(errors="surrogateescape") if isinstance(data, bytes) else data
    # Not splitlines(): that takes auditd's separator, too, for the end of a line.
    *lines, last = whole.split("\n")
    records = [parse_record(line) for line in lines if line]
    if last:
        cut = parse_record(last)
        records.append(Record(UNPARSED, cut.serial, cut.time_s, {}, last, {}))
    return tuple(records)


def group_events(records: Iterable[Record]) -> tuple[Event, ...]:
    """Events in the order of their first records; a line without a header is one of its own."""
    grouped: dict[tuple[float, int, int], list[Record]] = {}
    for number, record in enumerate(records):
        lone = number + 1 if record.type == UNPARSED and not record.time_s else 0
        grouped.setdefault((record.time_s, record.serial, lone), []).append(record)
    return tuple(Event(key[1], key[0], tuple(group)) for key, group in grouped.items())


class Trail(Sequence[Event]):
    """The events of a log, and what may be claimed about their records.

    A claim names a type, fields, or both: ``trail.exactly_one(type="USER_LOGIN", pid=7)``. A
    field may be the kernel's or the user message's; where both have it, the kernel's counts.
    Values are compared as strings, an int by its decimal. A name that Python cannot spell goes
    in as ``**{"old-auid": 0}``.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = tuple(events)

    @classmethod
    def parse(cls, data: str | bytes) -> Trail:
        """The trail that a log holds; see ``parse_log``."""
        return cls(group_events(parse_log(data)))

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Trail: ...
    def __getitem__(self, index: int | slice) -> Event | Trail:
        return Trail(self.events[index]) if isinstance(index, slice) else self.events[index]

    def __len__(self) -> int:
        return len(self.events)

    @property
    def records(self) -> tuple[Record, ...]:
        """All records, event by event."""
        return tuple(record for event in self.events for record in event.records)

    @property
    def unparsed(self) -> tuple[Record, ...]:
        """The lines that could not be read."""
        return tuple(record for record in self.records if record.type == UNPARSED)

    def matching(self, *, type: str | None = None, **fields: str | int) -> tuple[Record, ...]:
        """The records that a claim fits, possibly none."""
        claim = _Claim(type, fields)
        return tuple(record for record in self.records if not claim.misses(record))

    def having(self, *, type: str | None = None, **fields: str | int) -> Trail:
        """The events with a record that a claim fits, each with all of its records."""
        claim = _Claim(type, fields)
        return Trail(
            event
            for event in self.events
            if any(not claim.misses(record) for record in event.records)
        )

    def keyed(self, key: str) -> Trail:
        """The events of system calls that a rule with this key asked for."""
        return self.having(type="SYSCALL", key=key)

    def commands(self, key: str) -> list[str]:
        """The ``comm`` of each system call that a rule with this key asked for."""
        return [str(one.get("comm")) for one in self.matching(type="SYSCALL", key=key)]

    def saying(self, text: str) -> tuple[Record, ...]:
        """The records whose line has this text anywhere."""
        return tuple(record for record in self.records if text in record.text)

    def sessions(self, exe: str) -> tuple[Record, ...]:
        """What PAM recorded of the sessions that a program opened."""
        return self.matching(exe=exe, op="PAM:session_open")

    def exactly_one(self, *, type: str | None = None, **fields: str | int) -> Record:
        """The one record that a claim fits; none, or more, is an AssertionError."""
        claim = _Claim(type, fields)
        found = self.matching(type=type, **fields)
        if len(found) == 1:
            return found[0]
        if found:
            raise AssertionError(
                "\n".join([f"{len(found)} records, not one, with {claim}:", *_listed(found)])
            )
        raise AssertionError(
            "\n".join([f"no record with {claim} {self._extent()}", *self._near_misses(claim)])
        )

    def none(self, *, type: str | None = None, **fields: str | int) -> None:
        """An AssertionError if there is a record that the claim fits."""
        if found := self.matching(type=type, **fields):
            claim = _Claim(type, fields)
            raise AssertionError(
                "\n".join([f"{len(found)} records, not none, with {claim}:", *_listed(found)])
            )

    def _extent(self) -> str:
        records = self.records
        types = ", ".join(
            f"{count} {kind}" for kind, count in Counter(one.type for one in records).most_common()
        )
        return f"among {len(records)}" + (f": {types}" if types else "")

    def _near_misses(self, claim: _Claim) -> Iterator[str]:
        """The records that miss a claim least, with what each of them misses."""
        records = (record for record in self.records if record.type != UNPARSED)
        missed = [(claim.misses(record), record) for record in records if claim.near(record)]
        near = sorted(missed, key=lambda one: len(one[0]))
        for misses, record in near[:_SHOWN]:
            yield f"  near: {'; '.join(misses)}"
            yield from _listed([record])
        if self.unparsed:
            yield f"  {len(self.unparsed)} lines could not be read:"
            yield from _listed(self.unparsed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The audit status that the kernel reports (``struct audit_status``, linux/audit.h).

    ``enabled`` is 0, 1, or 2 when locked; ``failure`` 0, 1 or 2 (auditctl(8) ``-f``); ``pid``
    auditd's, or 0; ``lost`` counts the records that the kernel dropped since it booted or the
    count was reset. What a kernel or an auditctl does not report is None; other lines stand
    in ``others``, such as ``loginuid_immutable``.
    """

    enabled: int
    failure: int
    pid: int
    rate_limit: int
    backlog_limit: int
    lost: int
    backlog: int
    backlog_wait_time: int | None
    backlog_wait_time_actual: int | None
    others: Mapping[str, str]


def parse_status(text: str) -> Status:
    """The status from what ``auditctl -s`` prints: one ``name value`` a line.

    With anything else, such as an error message or the words of ``-i``, it raises
    HarnessError: a ``lost`` that was not read must not pass for 0.
    """
    lines = (line.split(None, 1) for line in text.splitlines())
    words = {line[0]: line[1].strip() for line in lines if len(line) == 2}

    def number(name: str) -> int:
        value = words.pop(name, "")
        if not re.fullmatch(r"-?[0-9]{1,18}", value):
            raise HarnessError(
                f"auditctl -s does not give {name!r} as a number: {text.strip()!r}",
                hint="run it as root in the initial namespaces, without -i",
            )
        return int(value)

    def optional(name: str) -> int | None:
        return number(name) if name in words else None

    return Status(
        enabled=number("enabled"),
        failure=number("failure"),
        pid=number("pid"),
        rate_limit=number("rate_limit"),
        backlog_limit=number("backlog_limit"),
        lost=number("lost"),
        backlog=number("backlog"),
        backlog_wait_time=optional("backlog_wait_time"),
        backlog_wait_time_actual=optional("backlog_wait_time_actual"),
        others=words,
    )


class _Claim:
    """A type and fields that a record is held against."""

    def __init__(self, type: str | None, fields: Mapping[str, str | int]) -> None:
        if type is None and not fields:
            raise TypeError("a claim needs a type or a field")
        self.type = type
        self.fields = {
            name: str(int(value)) if isinstance(value, int) else value
            for name, value in fields.items()
        }
        self.size = len(self.fields) + (type is not None)

    def misses(self, record: Record) -> list[str]:
        """What is otherwise in a record, in words; nothing if the claim fits."""
        missed = []
        if self.type is not None and record.type != self.type:
            missed.append(f"type is {record.type!r}")
        for name, value in self.fields.items():
            there = record.get(name)
            if there is None:
                missed.append(f"no {name}")
            elif value != there:
                missed.append(f"{name} is {there!r}")
        return missed

    def near(self, record: Record) -> bool:
        """True if a part of the claim fits, or all its fields are there with other values."""
        if len(self.misses(record)) < self.size:
            return True
        return self.type is None and all(record.get(name) is not None for name in self.fields)

    def __str__(self) -> str:
        parts = [] if self.type is None else [f"type={self.type!r}"]
        return " ".join([*parts, *(f"{name}={value!r}" for name, value in self.fields.items())])


def _read_fields(pattern: re.Pattern[str], kind: str, text: str) -> tuple[dict[str, str], bool]:
    """The fields in a text, decoded, and whether every quote that opens a value is closed."""
    fields: dict[str, str] = {}
    whole = True
    for name, value in pattern.findall(text):
        if value.startswith('"'):
            whole = whole and len(value) > 1 and value.endswith('"')
            value = value.strip('"')
        elif kind == "EXECVE" and _ARGUMENT.fullmatch(name):
            # Parts of one that is long are hex whatever is in them (audit_log_execve_info).
            value = _decode(value, always=True)
        elif _ENCODED.fullmatch(name):
            value = _decode(value)
        if name == "proctitle":
            value = value.replace("\0", " ")
        fields.setdefault(name, value)
    return fields, whole


def _decode(value: str, *, always: bool = False) -> str:
    """A string from its hex; what has no byte that would call for hex is none, or it always is."""
    if not _HEX.fullmatch(value):
        return value
    raw = bytes.fromhex(value)
    if not always and all(0x21 <= byte <= 0x7E and byte != 0x22 for byte in raw):
        return value
    return raw.decode(errors="surrogateescape")


def _listed(records: Sequence[Record]) -> Iterator[str]:
    for record in records[:_SHOWN]:
        shown = record.text[:_SHOWN_CHARACTERS].replace(_SEPARATOR, " | ")
        yield f"    {shown}{'…' if len(record.text) > _SHOWN_CHARACTERS else ''}"
    if len(records) > _SHOWN:
        yield f"    and {len(records) - _SHOWN} more"
