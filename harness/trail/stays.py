"""Containers as they come and go: their births, nesting, moves between hosts, and ends.

A stay is one container on one boot of one host, from its birth or first event to its end or
last one. Where the same id, or the same name, is seen on another host later, it has moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import ibis

from harness.audit.records import Record
from harness.trail import spaces
from harness.trail.model import KEY, Birth, Model
from harness.trail.names import Names
from harness.trail.spaces import Era


@dataclass(slots=True, kw_only=True)
class Stay:
    """Times are ms since 1970. ``born`` and ``ended`` are None when no record tells.

    ``events`` are those in which a task of the container took part.
    """

    container: str
    name: str
    host: str
    boot: int
    order: int
    first_ms: int
    last_ms: int
    events: int
    inside: str = ""
    since: int = 0
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


def find_stays(model: Model, names: Names) -> list[Stay]:
    """All stays, ordered by container and time."""
    births = {(one.boot, one.container, one.serial): one for one in model.births if not one.refused}
    eras = {(one.boot, one.container): one for one in model.eras if one.container}
    boots = {boot.number: boot for boot in model.index.boots.all}
    found = []
    for row in model.rows(_spans(model.attributed)):
        boot = boots[row["boot"]]
        stay = Stay(
            container=row["container"],
            name=names.name_of(row["container"], boot.host),
            host=boot.host,
            boot=boot.number,
            order=boot.order,
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
    found.sort(key=lambda one: (one.key, one.first_ms))
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
    joined = rows.left_join(begun, [*KEY, "container"])
    rows = joined.select(*rows.columns, "begins")
    birth = ibis.ifelse(rows.role == "birth", rows.begins, None)
    window = ibis.cumulative_window(
        group_by=[rows.boot, rows.container],
        order_by=[rows.serial, ibis.desc(ibis.ifelse(rows.role == "birth", 1, 0))],
    )
    rows = rows.mutate(since=birth.max().over(window).fill_null(0))
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


def _find_moves(stays: Sequence[Stay]) -> None:
    for before, after in pairwise(stays):
        if before.key != after.key:
            continue
        if before.host != after.host:
            if after.first_ms <= before.last_ms:
                after.moved = f"also on {before.host}"
            else:
                after.moved = f"moved from {before.host}"
        elif before.boot != after.boot:
            after.moved = "after a boot"
        else:
            after.moved = "set again"
        if before.container != after.container:
            after.moved += f" as {before.container}"


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
