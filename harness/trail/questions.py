"""The questions that a trail answers: each returns rows, alike for all forms of output.

Times are UTC, ISO 8601 with milliseconds. What came from a log is as it was there, with bytes
that are not UTF-8 as ``\\udcXX``; whoever shows it makes it harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import ibis

from harness.audit.records import Record
from harness.trail.asked import LAST, Asked
from harness.trail.model import KEY, Model
from harness.trail.names import Birth
from harness.trail.stays import Stay, find_stays, refusals, sharing

Row = dict[str, Any]
_BRIEF = 300
_NO_RECORD = "is not a record"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Rows with the same keys, of which a table shows ``columns``; ``left_off`` were too many."""

    title: str
    columns: Sequence[str]
    rows: list[Row]
    left_off: int = 0


def show_time(ms: int | None) -> str:
    """A time as answers have it."""
    if ms is None or not 0 <= ms < 253_402_300_800_000:
        return ""
    text = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{ms % 1000:03}Z"


def brief(what: str) -> str:
    """As much of what was done as a table can show: a path may be as long as it likes."""
    return what if len(what) <= _BRIEF else f"{what[:_BRIEF]}…"


def find_names(model: Model, asked: Asked) -> Asked:
    """The same question, with the names of containers that are only known by a process.

    Which of them no record tells becomes a remark. Raises UsageError for a second name.
    """
    if not asked.names.tasks:
        return asked
    hosts = {boot.number: boot.host for boot in model.index.boots}
    births = [
        Birth(host=hosts[one.boot], pid=one.opid, time_ms=one.time_ms, container=one.container)
        for one in model.births
        if one.container and not one.refused
    ]
    names, notes = asked.names.find_tasks(births)
    seen = model.index.seen.notes
    seen += [note for note in notes if note not in seen]
    return replace(asked, names=names)


def containers(model: Model, asked: Asked) -> Answer:
    """Which containers ran: where, from when to when, inside of what, and set by whom."""
    stays = [stay for stay in find_stays(model, asked.names) if _wanted(stay, asked)]
    rows = [
        {
            "container": stay.container,
            "name": stay.name,
            "host": stay.host,
            "boot": stay.order,
            "inside": stay.inside,
            "born": show_time(stay.born_ms),
            "first": show_time(stay.first_ms),
            "last": show_time(stay.last_ms),
            "ended": show_time(stay.ended_ms),
            "events": stay.events,
            "by": stay.by,
            "moved": stay.moved,
        }
        for stay in stays
    ]
    return Answer(
        title="containers",
        columns=("container", "host", "first", "ended", "events", "inside", "moved", "by"),
        rows=rows,
    )


def _wanted(stay: Stay, asked: Asked) -> bool:
    begin = stay.first_ms if stay.born_ms is None else min(stay.born_ms, stay.first_ms)
    # Without an end the container may have run on.
    end = LAST if stay.ended_ms is None else stay.ended_ms
    return (
        asked.container in ("", stay.container, stay.name)
        and asked.host in ("", stay.host)
        and begin <= asked.until_ms
        and end >= asked.since_ms
    )


def events(model: Model, asked: Asked) -> Answer:
    """What was done: in a container, on a host, by a login; each event with its records."""
    rows = model.attributed.select(*KEY, "container", "role", "reason", why=ibis.literal(""))
    if asked.container:
        ids = {asked.container} | asked.names.ids_of(asked.container)
        rows = rows.filter(rows.container.isin(sorted(ids)))
    elif not asked.inside:
        others = model.others.mutate(container=ibis.literal(""), role=ibis.literal(""))
        rows = ibis.union(rows, others.select(*rows.columns))
    return _event_answer("events", model, rows, asked)


def unattributed(model: Model, asked: Asked) -> Answer:
    """Events of which nothing tells where they belong, and lines that are no events."""
    rows = _unknown(model).mutate(container=ibis.literal(""), role=ibis.literal(""))
    answer = _event_answer("unattributed", model, rows, asked)
    lines = _no_events(model).order_by("file", "number")
    left_off = answer.left_off
    if asked.most:
        room = max(0, asked.most - len(answer.rows))
        left_off += max(0, _count(model, lines) - room)
        lines = lines.limit(room)
    for row in model.rows(lines):
        path = model.index.sources[row["file"]].name
        answer.rows.append(
            {
                **dict.fromkeys(_EVENT_KEYS, ""),
                **{"reason": "unknown", "why": f"{path}:{row['number']} {_NO_RECORD}"},
                **{"what": "a line", "records": [row["text"]], "serial": 0, "boot": 0},
            }
        )
    columns = ("time", "host", "what", "why")
    return Answer(title="unattributed", columns=columns, rows=answer.rows, left_off=left_off)


def why_unattributed(model: Model, asked: Asked) -> Answer:
    """How many of these there are for each reason, of whatever login; the most first."""
    events = _narrow(model, _unknown(model), asked).group_by("why").agg(number=ibis._.count())
    counts = {row["why"]: row["number"] for row in model.rows(events)}
    counts[f"a line {_NO_RECORD}"] = _count(model, _no_events(model))
    rows = [
        {"why": why, "number": number}
        for why, number in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
        if number
    ]
    return Answer(title="why they are unattributed", columns=("why", "number"), rows=rows)


def _unknown(model: Model) -> Any:
    return model.others.filter(model.others.reason == "unknown")


def _no_events(model: Model) -> Any:
    texts = model.index.table("texts")
    return texts.filter(texts.damage > 0, texts.boot < 0)


_EVENT_KEYS = (
    *("time", "host", "boot", "serial", "container", "name", "role", "reason", "why", "what"),
    *("auid", "ses", "uid", "pid", "comm", "exe", "success", "key", "records"),
)


def _event_answer(title: str, model: Model, table: Any, asked: Asked) -> Answer:
    boots = {boot.number: boot for boot in model.index.boots}
    table = _narrow(model, table, asked)
    if asked.among is not None:
        table = table.semi_join(model.keys(asked.among), list(KEY))
    ordered = table.order_by("time_ms", "boot", "serial", "container", "role")
    left_off = 0
    if asked.most:
        left_off = max(0, _count(model, table) - asked.most)
        ordered = ordered.limit(asked.most)
    listed = model.rows(ordered)
    records = model.records_of(ordered.select(*KEY).distinct())
    rows = []
    for one in listed:
        boot = boots[one["boot"]]
        told = records.get((one["boot"], one["time_ms"], one["serial"]), [])
        row = {
            "time": show_time(one["time_ms"]),
            "host": boot.host,
            "boot": boot.order,
            "serial": one["serial"],
            "container": one["container"],
            "name": asked.names.name_of(one["container"], boot.host),
            **{name: one[name] for name in ("role", "reason", "why")},
            **_tell(told),
            "records": [record.text for record in told],
        }
        if asked.auid in ("", row["auid"], _login(told)) and asked.ses in ("", row["ses"]):
            rows.append(row)
    return Answer(
        title=title,
        columns=("time", "host", "container", "role", "reason", "auid", "ses", "what"),
        rows=rows,
        left_off=left_off,
    )


def _narrow(model: Model, table: Any, asked: Asked) -> Any:
    """The events on the host and in the time that was asked for."""
    boots = [boot.number for boot in model.index.boots if asked.host in ("", boot.host)]
    return table.filter(
        table.boot.isin(boots or [-9]),
        table.time_ms >= asked.since_ms,
        table.time_ms <= asked.until_ms,
    )


def _count(model: Model, table: Any) -> int:
    (row,) = model.rows(table.agg(number=table.count()))
    return int(row["number"])


def _login(records: Sequence[Record]) -> str:
    return next((one.fields["AUID"] for one in records if "AUID" in one.fields), "\0")


def _tell(records: Sequence[Record]) -> Row:
    """Who did what, from the record that tells most: the system call, else the first."""
    telling = [one for one in records if one.type not in ("CONTAINER_ID", "NS_INFO", "PROCTITLE")]
    calls = [one for one in telling if one.type == "SYSCALL"]
    first = next(iter(calls or telling or records), None)
    fields = first.fields if first else {}

    def get(name: str) -> str:
        return (first.get(name) or "") if first else ""

    unset = ("4294967295", "-1")
    row: Row = {
        name: "" if fields.get(name, "") in unset else fields.get(name, "")
        for name in ("auid", "ses", "uid", "pid")
    }
    key = fields.get("key", "")
    row |= {"comm": get("comm"), "exe": get("exe"), "key": "" if key == "(null)" else key}
    row["success"] = fields.get("success", "") or get("res")
    row["what"] = _phrase(telling, calls)
    return row


def _phrase(telling: Sequence[Record], calls: Sequence[Record]) -> str:
    """An event in a few words: what is not said by its system call alone, and that call."""
    parts = [_of_container(one) for one in telling if one.type == "CONTAINER_OP"]
    others = [one for one in telling if one.type not in ("SYSCALL", "CWD", "CONTAINER_OP")]
    details = ("PATH", "SOCKADDR", "EXECVE", "FD_PAIR") if calls else ()
    parts += dict.fromkeys(one.type for one in others if one.type not in details)
    for one in others:
        if one.type in ("NS_INIT", "NS_DEL"):
            parts.append(f"{one.fields.get('ns', '?')}:[{one.fields.get('inode', '?')}]")
        parts += [one.user[name] for name in ("op", "acct", "res") if name in one.user]
    if calls:
        call = calls[0].fields
        name = call.get("SYSCALL", f"call {call.get('syscall', '?')}")
        parts.append(f"{call.get('comm', '?')}: {name}")
        if call.get("success") == "no":
            parts.append("refused")
    paths = [one.fields["name"] for one in others if one.type == "PATH" and "name" in one.fields]
    return " ".join([*parts, *paths[-1:]])


def _of_container(record: Record) -> str:
    fields = record.fields
    if fields.get("op") == "drop":
        return f"{fields.get('old-contid', '?')} ends"
    return f"{fields.get('contid', '?')} is set on {fields.get('opid', '?')},"


def hosts(model: Model, asked: Asked) -> Answer:
    """Which hosts and boots there are, what their kernels tell, and of whom their events are."""
    inside = _counts(model, model.attributed.select(*KEY).distinct())
    others = model.others
    at_home = _counts(model, others.filter(others.reason == "host"))
    unknown = _counts(model, others.filter(others.reason == "unknown"))
    running: dict[int, set[str]] = {}
    for stay in find_stays(model, asked.names):
        running.setdefault(stay.boot, set()).add(stay.container)
    rows = [
        {
            "host": boot.host,
            "boot": boot.order,
            "first": show_time(boot.first_ms),
            "last": show_time(boot.last_ms),
            "containers": len(running.get(boot.number, ())),
            "inside": inside.get(boot.number, 0),
            "on host": at_home.get(boot.number, 0),
            "unknown": unknown.get(boot.number, 0),
            "tells": ",".join(sorted(model.speech.get(boot.number, ()))),
            "place": boot.place,
        }
        for boot in model.index.boots
        if asked.host in ("", boot.host)
        and boot.first_ms <= asked.until_ms
        and boot.last_ms >= asked.since_ms
    ]
    return Answer(
        title="hosts",
        columns=("host", "boot", "first", "containers", "inside", "on host", "unknown", "tells"),
        rows=rows,
    )


def _counts(model: Model, table: Any) -> dict[int, int]:
    rows = model.rows(table.group_by("boot").agg(number=table.count()))
    return {row["boot"]: row["number"] for row in rows}


def shared_netns(model: Model, asked: Asked) -> Answer:
    """Which containers were in one network namespace."""
    boots = {boot.number: boot for boot in model.index.boots}
    rows = [
        {
            "host": boots[one["boot"]].host,
            "boot": boots[one["boot"]].order,
            "netns": one["net"] or "of packets",
            "containers": one["containers"],
            "first": show_time(one["first_ms"]),
            "last": show_time(one["last_ms"]),
            "events": one["events"],
        }
        for one in sharing(model)
        if asked.host in ("", boots[one["boot"]].host)
        and asked.container in ("", *one["containers"].split(","))
        and one["first_ms"] <= asked.until_ms
        and one["last_ms"] >= asked.since_ms
    ]
    return Answer(
        title="containers that shared a network namespace",
        columns=("host", "boot", "netns", "first", "events", "containers"),
        rows=rows,
    )


def refused(model: Model) -> Sequence[str]:
    """Each attempt to name a container that was refused, in words."""
    return [
        f"naming {one.opid} {one.container} was refused at {show_time(one.time_ms)}"
        for one in refusals(model)
    ]


QUESTIONS: Mapping[str, Callable[[Model, Asked], Answer]] = {
    "containers": containers,
    "events": events,
    "hosts": hosts,
    "unattributed": unattributed,
    "shared-netns": shared_netns,
}
