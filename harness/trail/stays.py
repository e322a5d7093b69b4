"""Containers as they come and go: their births, nesting, moves between hosts, and ends.

A stay is one container on one boot of one host, from its birth or first event to its end or
last one. Where the same id, or the same name, is seen on another host later, it has moved.

What is later on one host its serial numbers tell. Between hosts clocks may differ by any time,
so records go first: what has ended was there before what was born and still is. Where none of
them tells, it is the order of the clocks, and that is said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import ibis

from harness.audit.records import Record
from harness.trail import spaces
from harness.trail.ids import Birth
from harness.trail.model import KEY, Model
from harness.trail.names import Names
from harness.trail.spaces import Era


@dataclass(slots=True, kw_only=True)
class Stay:
    """Times are ms since 1970. ``born`` and ``ended`` are None when no record tells.

    ``events`` are those in which a task of the container took part. ``over`` says that its host
    has booted again since. ``moved`` is how the container came here from the stay before, and
    after a comma what is not certain about that.
    """

    container: str
    name: str
    host: str
    boot: int
    order: int
    stream: int
    first_ms: int
    last_ms: int
    events: int
    inside: str = ""
    since: int = 0
    over: bool = False
    born_ms: int | None = None
    ended_ms: int | None = None
    by: str = ""
    moved: str = ""

    @property
    def key(self) -> str:
        """What makes two stays those of one container; a namespace is of one boot of a host."""
        if self.name or not self.container.startswith(spaces.PREFIX):
            return self.name or self.container
        return f"{self.host}/{self.boot}/{self.container}"

    @property
    def place(self) -> tuple[str, int]:
        """The host, of which there may be two of one name, whose logs are in two places."""
        return self.host, self.stream

    @property
    def gone(self) -> bool:
        """Whether it has ended for sure."""
        return self.over or self.ended_ms is not None

    def precedes(self, other: Stay) -> bool:
        """Whether records alone tell that this one was before one on another host."""
        begun = other.born_ms is not None
        return self.gone and begun and (not other.gone or self.born_ms is None)


def find_stays(model: Model, names: Names) -> list[Stay]:
    """All stays, ordered by container and time."""
    births = {(one.boot, one.container, one.serial): one for one in model.births if not one.refused}
    eras = {(one.boot, one.container): one for one in model.eras if one.container}
    boots = {boot.number: boot for boot in model.index.boots}
    last = {(boot.host, boot.stream): boot.number for boot in boots.values()}
    found = []
    for row in model.rows(_spans(model.attributed)):
        boot = boots[row["boot"]]
        stay = Stay(
            container=row["container"],
            name=names.name_of(row["container"], boot.host),
            host=boot.host,
            boot=boot.number,
            order=boot.order,
            stream=boot.stream,
            over=last[boot.host, boot.stream] != boot.number,
            first_ms=row["first_ms"],
            last_ms=row["last_ms"],
            events=row["events"],
            inside=row["inside"] or "",
            since=row["since"],
            ended_ms=row["ended_ms"],
        )
        birth = births.get((boot.number, stay.container, row["since"]))
        era = eras.get((boot.number, stay.container))
        if birth:
            stay.born_ms, stay.by = birth.time_ms, _author(birth.call)
            stay.inside = stay.inside or birth.parents
        elif era:
            _fill_from_spaces(stay, era)
        found.append(stay)
    _find_moves(found)
    return sorted(found, key=lambda one: (one.first_ms, one.host, one.container))


def _spans(attributed: Any) -> Any:
    """One row for each time that an id was in use on a boot: a birth begins a new one.

    To be set again on another task is no birth while the container has not ended: that is how
    an orchestrator lets a task in.
    """
    rows = attributed.filter(attributed.role != "refused")
    turns = rows.filter(rows.role.isin(["birth", "end"])).distinct()
    order = ibis.window(
        group_by=[turns.boot, turns.container],
        order_by=[turns.serial, ibis.desc(ibis.ifelse(turns.role == "birth", 1, 0))],
    )
    turns = turns.mutate(before=turns.role.lag().over(order))
    begun = turns.filter(turns.role == "birth", turns.before.fill_null("end") == "end")
    begun = begun.select(*KEY, "container", begins=begun.serial).distinct()
    # From each birth on up to the next one; what was before the first has none.
    after = begun.begins.lead().over(group_by=[begun.boot, begun.container], order_by=begun.begins)
    spans = begun.mutate(until=after.fill_null(spaces.FOREVER)).drop("time_ms", "serial")
    joined = rows.left_join(
        spans,
        [
            *("boot", "container"),
            *(rows.serial >= spans.begins, rows.serial < spans.until),
        ],
    )
    rows = joined.select(*rows.columns, since=joined.begins.fill_null(0))
    grouped = rows.group_by("boot", "container", "since").agg(
        first_ms=rows.time_ms.min(),
        last_ms=rows.time_ms.max(),
        events=rows.serial.nunique(where=rows.role.isin(["subject", "packet", "target"])),
        inside=rows.parents.max(),
        ended_ms=rows.time_ms.max(where=rows.role == "end"),
    )
    return grouped.order_by("boot", "container", "since")


def _fill_from_spaces(stay: Stay, era: Era) -> None:
    if era.born:
        stay.born_ms, stay.by = round(era.born.time_s * 1000), _author(era.born)
    if era.ended:
        stay.ended_ms = round(era.ended.time_s * 1000)
        stay.last_ms = max(stay.last_ms, stay.ended_ms)


def _author(call: Record | None) -> str:
    """Who did it: the program, and the login that it goes back to."""
    if call is None:
        return ""
    auid = call.fields.get("auid", "")
    login = call.fields.get("AUID", auid)
    who = "" if auid in ("", "4294967295", "-1") else f" for {login}"
    return f"{call.fields.get('comm', '?')}[{call.fields.get('pid', '?')}]{who}"


def _find_moves(stays: Iterable[Stay]) -> None:
    containers: dict[str, dict[tuple[str, int], list[Stay]]] = {}
    for one in sorted(stays, key=lambda one: (one.boot, one.since, one.first_ms)):
        containers.setdefault(one.key, {}).setdefault(one.place, []).append(one)
    for hosts in containers.values():
        for before, after in pairwise(_merge(hosts.values())):
            how, doubt = _tell_move(before, after)
            if before.container != after.container:
                how += f" as {before.container}"
            after.moved = f"{how}, {doubt}" if doubt else how


def _merge(hosts: Iterable[Sequence[Stay]]) -> Iterator[Stay]:
    """All stays of one container, from those of each host, which keep their order."""
    left = [deque(stays) for stays in hosts]
    while left:
        heads = [stays[0] for stays in left]
        # Of those that precede each other none is last, so that one is always free.
        free = [one for one in heads if not any(other.precedes(one) for other in heads)]
        first = min(free, key=lambda one: (one.first_ms, one.host))
        yield first
        left[heads.index(first)].popleft()
        left = [stays for stays in left if stays]


def _tell_move(before: Stay, after: Stay) -> tuple[str, str]:
    """How a container came from one stay to the next, and what is not certain about that."""
    if before.place == after.place:
        return ("set again" if before.boot == after.boot else "after a boot"), ""
    gap = after.first_ms - before.last_ms
    if before.precedes(after):
        if gap > 0:
            return f"moved from {before.host}", ""
        if after.last_ms < before.first_ms:
            apart = _seconds(before.last_ms - after.first_ms)
            return f"moved from {before.host}", f"the clocks are at least {apart} apart"
        return f"moved from {before.host}", f"or there, too: the clocks overlap by {_seconds(-gap)}"
    if gap > 0:
        return f"moved from {before.host}", "order by clock"
    return f"also on {before.host}", "by clock" if before.gone or after.gone else ""


def _seconds(ms: int) -> str:
    return f"{ms / 1000:.1f} s"


def sharing(model: Model) -> list[Mapping[str, Any]]:
    """Containers whose tasks were in one network namespace: at the same time, or one by one.

    Either NS_INFO puts them there, or the list of a packet does (then its namespace is not
    known, and ``net`` is empty).
    """
    attributed = model.attributed
    subjects = attributed.filter(attributed.role == "subject").select(*KEY, "container")
    # Tasks that exit have given up their network namespace.
    known = model.infos.filter(model.infos.net != "").drop("container")
    seen = known.inner_join(subjects, list(KEY))
    packets = attributed.filter(attributed.role == "packet").select(*KEY, "container")
    lists = packets.group_by(*KEY).agg(
        containers=packets.container.collect().sort().join(","),
        number=packets.container.nunique(),
    )
    by_net = (
        seen.group_by("boot", "net", "container")
        .agg(first_ms=seen.time_ms.min(), last_ms=seen.time_ms.max(), events=seen.count())
        .group_by("boot", "net")
    )
    nets = by_net.agg(
        containers=ibis._.container.collect().sort().join(","),
        number=ibis._.container.nunique(),
        first_ms=ibis._.first_ms.min(),
        last_ms=ibis._.last_ms.max(),
        events=ibis._.events.sum(),
    )
    lists = lists.group_by("boot", "containers", "number").agg(
        first_ms=ibis._.time_ms.min(), last_ms=ibis._.time_ms.max(), events=ibis._.count()
    )
    both = ibis.union(nets, lists.mutate(net=ibis.literal("")).select(*nets.columns))
    both = both.filter(both.number > 1).order_by("first_ms", "boot", "net", "containers")
    return [dict(row) for row in model.rows(both)]


def refusals(model: Model) -> list[Birth]:
    """Attempts to name a container that the kernel refused."""
    return [one for one in model.births if one.refused]
