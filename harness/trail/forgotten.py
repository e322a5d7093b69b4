"""Containers to which no id was given, where the kernel has ids: a restore has forgotten it.

What tells them from the host's own tasks is a PID namespace (see ``harness.trail.spaces``) of no
container that has an id. A task with an id is never without it in its container: who is without
one in such a container's PID namespace, or in one that was made inside of that, has come from the
host, and is the host's.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any

from harness.trail.engine import Engine
from harness.trail.ids import Birth
from harness.trail.spaces import FOREVER, Era

# A boot, and what a container is called there by its namespace.
Place = tuple[int, str]


def find(engine: Engine, named: Any, strays: Any, made: Set[Place]) -> Set[Place]:
    """The places of which nothing tells that a container with an id is there.

    ``named`` are NS_INFO of events of tasks with an id, ``strays`` those of tasks without one,
    and in the places ``made`` is a container with an id, whoever was seen there.
    """
    rows = engine.rows(named.select("boot", "container").distinct())
    known = {(row["boot"], row["container"]) for row in rows} | made
    rows = engine.rows(strays.select("boot", "container", "parents").distinct())
    return {
        (row["boot"], row["container"])
        for row in rows
        if not any(
            (row["boot"], one) in known for one in (row["container"], *row["parents"].split(","))
        )
    }


def made_by_named(
    eras: Iterable[Era], births: Iterable[Birth], ends: Iterable[tuple[int, str, int]]
) -> Set[Place]:
    """The places of which the namespace was made by a task that an id had been given to.

    It is not in that namespace itself, and may be all that is seen of a container that does
    nothing. ``ends`` are a boot, a container, and the serial of its end: a pid is given out again.
    """
    ended: dict[Place, list[int]] = {}
    for boot, container, serial in ends:
        ended.setdefault((boot, container), []).append(serial)
    spans: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for one in births:
        if not one.refused:
            later = [end for end in ended.get((one.boot, one.container), ()) if end > one.serial]
            span = one.serial, min(later, default=FOREVER)
            spans.setdefault((one.boot, one.opid), []).append(span)
    return {
        (era.boot, era.container)
        for era in eras
        if era.container and era.born
        for since, until in spans.get((era.boot, era.born.fields.get("pid", "")), ())
        if since < era.born.serial < until
    }
