"""Which container each event is of, and the reason for saying so.

By id: a CONTAINER_ID of its own, or CONTAINER_OP, names it. By its namespaces: NS_INFO has a
set that means one container; where its kernel has ids, too, one to which none was given, be it
that a restore has forgotten it. By descent: its task, or that task's parent, is known to be in a
container. Else an event is the host's, where its kernel would have named a container, or it
is unknown, and why is said. See ``kernel-patches/contid`` and ``nsid`` for the records.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import ibis

from harness.audit.records import Record, parse_record
from harness.trail import forgotten, spaces
from harness.trail.ids import Birth, split_list
from harness.trail.index import Index

KEY = ("boot", "time_ms", "serial")
BY_ID, BY_NAMESPACES, BY_DESCENT, HOST, UNKNOWN = "id", "namespaces", "descent", "host", "unknown"

NO_SPEECH = "its kernel names neither containers nor namespaces"
LOST = "its CONTAINER_ID is missing, and nothing else tells"
DAMAGED = "a record of it is damaged"
PACKET = "it is a packet's, and its kernel only names the namespaces of tasks"

# Up to a blank, or to what an enriching auditd appends.
_VALUE = r"([^\s\x1d]+)"

_ATTRIBUTED = {
    **{"boot": "int32", "time_ms": "int64", "serial": "int64", "container": "string"},
    **{"parents": "string", "role": "string", "reason": "string"},
}


@dataclass(slots=True)
class Model:
    """The containers in an index. Tables are Ibis expressions; each is worked out once."""

    index: Index
    made: dict[str, Any] = field(default_factory=dict)

    def _keep(self, name: str, make: Any) -> Any:
        if name not in self.made:
            self.made[name] = self.index.engine.keep(name, make())
        return self.made[name]

    def rows(self, expression: Any) -> list[dict[str, Any]]:
        """What an expression comes to."""
        return self.index.engine.rows(expression)

    def keys(self, known: Iterable[tuple[int, int, int]]) -> Any:
        """A table of these events."""
        rows = [dict(zip(KEY, one, strict=True)) for one in sorted(known)]
        return self.index.engine.make(rows, {name: _ATTRIBUTED[name] for name in KEY})

    def _texts(self, *kinds: str) -> Any:
        texts = self.index.table("texts")
        return texts.filter(texts.kind.isin(kinds), texts.damage == 0, texts.boot >= 0)

    # -- by id ---------------------------------------------------------------------------

    @property
    def lists(self) -> Any:
        """Each list of containers that some record has, and the containers in it."""
        return self._keep("lists", self._make_lists)

    @property
    def _ids(self) -> Any:
        """The list in each CONTAINER_ID."""
        return self._keep("ids", lambda: self._make_ids().drop("text"))

    def _make_ids(self) -> Any:
        texts = self._texts("CONTAINER_ID")
        return texts.select(*KEY, "text", list=texts.text.re_extract(rf" contid={_VALUE}", 1))

    def _make_lists(self) -> Any:
        ops = self._texts("CONTAINER_OP").text
        named = [ops.re_extract(rf" {name}={_VALUE}", 1) for name in ("contid", "old-contid")]
        found: set[str] = set()
        for lists in (self._ids.list, *(one.name("list") for one in named)):
            found |= {row["list"] for row in self.rows(lists.as_table().distinct())}
        rows = [
            {"list": text, "container": own, "parents": parents}
            for text in sorted(found - {""})
            for own, parents in split_list(text)
        ]
        return self.index.engine.make(
            rows, {"list": "string", "container": "string", "parents": "string"}
        )

    @property
    def births(self) -> list[Birth]:
        """Every CONTAINER_OP of op=set, with the system call that it is part of."""
        if "births" not in self.made:
            ops = self._texts("CONTAINER_OP").filter(lambda t: t.text.contains(" op=set "))
            records = [
                (row["boot"], row["time_ms"], row["serial"], parse_record(row["text"]))
                for row in self.rows(ops)
            ]
            calls = self.records_of(ops.select(*KEY).distinct(), "SYSCALL")
            births = []
            for boot, time_ms, serial, record in records:
                own, _ = (split_list(record.fields.get("contid", "")) or [("", "")])[0]
                # The new container is inside of the one that its first task was in.
                outer = split_list(record.fields.get("old-contid", ""))
                parents = ",".join(part for one in outer for part in one if part)
                call = next(iter(calls.get((boot, time_ms, serial), [])), None)
                births.append(
                    Birth(boot, time_ms, serial, own, parents, record.fields.get("opid", ""), call)
                )
            self.made["births"] = births
        return list(self.made["births"])

    @property
    def by_id(self) -> Any:
        """Who took part in each event, as CONTAINER_ID and CONTAINER_OP have it."""
        return self._keep("by_id", self._make_by_id)

    def _make_by_id(self) -> Any:
        marks = self._texts("OBJ_PID", "NETFILTER_PKT")
        marks = marks.select(
            *KEY,
            record=marks.text.re_extract(r" record=(\d+)(?:\x1d|$)", 1),
            marked=marks.kind,
        ).distinct()
        roles = {"OBJ_PID": "target", "NETFILTER_PKT": "packet"}
        # Most events have no mark, and of those no record has to be found.
        alone = self._ids.anti_join(marks, list(KEY)).mutate(marked=ibis.null("string"))
        marked = self._make_ids().semi_join(marks, list(KEY))
        marked = marked.mutate(record=ibis._.text.re_extract(r" record=(\d+)", 1))
        marked = marked.left_join(marks, [*KEY, "record"])
        columns = [*KEY, "list", "marked"]
        named = (
            ibis.union(alone.select(columns), marked.select(columns))
            .inner_join(self.lists, "list")
            .select(
                *KEY,
                "container",
                "parents",
                role=ibis._.marked.cases(*roles.items(), else_="subject"),
            )
        )
        refused = {(one.boot, one.serial) for one in self.births if one.refused}
        ops = self._texts("CONTAINER_OP")
        ops = ops.mutate(
            verb=ops.text.re_extract(rf" op={_VALUE}", 1),
            list=ibis.ifelse(
                ops.text.contains(" op=drop "),
                ops.text.re_extract(rf" old-contid={_VALUE}", 1),
                ops.text.re_extract(rf" contid={_VALUE}", 1),
            ),
        )
        refusals = self.index.engine.make(
            [{"boot": boot, "serial": serial, "no": True} for boot, serial in sorted(refused)],
            {"boot": "int32", "serial": "int64", "no": "boolean"},
        )
        done = (
            ops.left_join(refusals, ["boot", "serial"])
            .inner_join(self.lists, "list")
            .select(
                *KEY,
                "container",
                "parents",
                role=ibis.ifelse(
                    ibis._.no.fill_null(False),
                    "refused",
                    ibis._.verb.cases(("set", "birth"), ("drop", "end"), else_="other"),
                ),
            )
        )
        # The end of a container whose tasks are in a list is the end of the innermost one only.
        both = ibis.union(named, done).distinct()
        return both.filter(both.container != "").mutate(reason=ibis.literal(BY_ID))

    # -- by namespaces -------------------------------------------------------------------

    @property
    def infos(self) -> Any:
        """NS_INFO of each event, with what its set of namespaces means then."""
        return self._keep("infos", self._make_infos)

    def _infos(self) -> Any:
        texts = self._texts("NS_INFO")
        return texts.mutate(spaces=texts.text.re_extract(r"\): (dev=[^\x1d]*)", 1))

    @property
    def eras(self) -> list[spaces.Era]:
        """What each set of namespaces means, and from when to when."""
        if "eras" not in self.made:
            sets = self._infos().select("boot", "spaces").distinct().order_by("boot", "spaces")
            lives: dict[int, list[Record]] = {}
            for row in self.rows(self._texts("NS_INIT", "NS_DEL").order_by("serial")):
                lives.setdefault(row["boot"], []).append(parse_record(row["text"]))
            rows = [
                (
                    row["boot"],
                    row["spaces"],
                    parse_record(f"type=NS_INFO msg=audit(1.000:1): {row['spaces']}"),
                )
                for row in self.rows(sets)
            ]
            self.made["eras"] = spaces.eras(rows, lives, self._speaking("contid", "nsid"))
        return list(self.made["eras"])

    def _make_infos(self) -> Any:
        eras = self.index.engine.make(
            [
                {
                    **{"boot": era.boot, "spaces": era.spaces, "container": era.container},
                    **{"since": era.since, "until": era.until, "net": era.net},
                    "parents": era.parents,
                }
                for era in self.eras
            ],
            {
                **{"boot": "int32", "spaces": "string", "container": "string"},
                **{"since": "int64", "until": "int64", "net": "string", "parents": "string"},
            },
        )
        joined = self._infos().inner_join(eras, ["boot", "spaces"])
        joined = joined.filter(joined.serial >= joined.since, joined.serial < joined.until)
        return joined.select(*KEY, "spaces", "net", "container", "parents", "since")

    @property
    def speech(self) -> dict[int, set[str]]:
        """For each boot, whether its kernel names containers (contid), namespaces (nsid)."""
        if "speech" not in self.made:
            texts = self.index.table("texts")
            kinds = texts.filter(texts.damage == 0).select("boot", "kind").distinct()
            speech: dict[int, set[str]] = {boot.number: set() for boot in self.index.boots}
            for row in self.rows(kinds):
                if row["kind"] in ("CONTAINER_ID", "CONTAINER_OP", "SET_CAPCONTID"):
                    speech.setdefault(row["boot"], set()).add("contid")
                elif row["kind"].startswith("NS_"):
                    speech.setdefault(row["boot"], set()).add("nsid")
            self.made["speech"] = speech
        return dict(self.made["speech"])

    def _speaking(self, *designs: str) -> list[int]:
        """The boots whose kernel has these and no others."""
        return [boot for boot, words in self.speech.items() if words == set(designs)]

    @property
    def attributed(self) -> Any:
        """Each event that is of a container: who, in what role, and why that is said."""
        if "attributed" not in self.made:
            first, *more = self._attributions()
            if more:
                first = self.index.engine.keep("attributed", ibis.union(first, *more))
            self.made["attributed"] = first
        return self.made["attributed"]

    def _attributions(self) -> list[Any]:
        """The same, a table for each way to tell; the first is kept already."""
        silent, both = self._speaking("nsid"), self._speaking("contid", "nsid")
        parts = [self.by_id.select(*_ATTRIBUTED)]
        if silent:
            own = self.infos.filter(self.infos.boot.isin(silent), self.infos.container != "")
            lives = self._lives([era for era in self.eras if era.boot in silent])
            parts += [_named(own, BY_NAMESPACES), lives]
        orphans = self._orphans
        if both:
            told = self._meaning_of_sets().inner_join(
                self.infos.semi_join(orphans, list(KEY)).drop("container", "parents"),
                ["boot", "spaces", "since"],
            )
            told = told.mutate(parents=ibis.literal(""))
            parts += [*self._forgotten(both, orphans), _named(told, BY_NAMESPACES)]
        speech = set().union(*self.speech.values())
        rows = self._descended(orphans) if "contid" in speech else []
        if not rows:
            return parts
        descended = self.index.engine.make(rows, _ATTRIBUTED)
        if both:
            descended = descended.anti_join(parts[-1], list(KEY))
        return [*parts, descended]

    def _forgotten(self, boots: list[int], orphans: Any) -> list[Any]:
        """What is done in containers to which no id was given, and their births and ends."""
        infos = self.infos.filter(self.infos.boot.isin(boots), self.infos.container != "")
        subjects = self.by_id.filter(self.by_id.role == "subject")
        with_id = ibis.union(subjects.select(*KEY), orphans.select(*KEY)).distinct()
        texts = self.index.table("texts")
        # The id may be in what cannot be read.
        damaged = texts.filter(texts.damage > 0).select(*KEY).distinct()
        strays = infos.anti_join(ibis.union(with_id, damaged), list(KEY))
        ends = self.rows(self.by_id.filter(self.by_id.role == "end"))
        made = forgotten.made_by_named(
            self.eras,
            self.births,
            ((row["boot"], row["container"], row["serial"]) for row in ends),
        )
        named = infos.semi_join(with_id, list(KEY))
        found = forgotten.find(self.index.engine, named, strays, made)
        places = self.index.engine.make(
            [{"boot": boot, "container": container} for boot, container in sorted(found)],
            {"boot": "int32", "container": "string"},
        )
        lives = self._lives([era for era in self.eras if (era.boot, era.container) in found])
        return [_named(strays.semi_join(places, ["boot", "container"]), BY_NAMESPACES), lives]

    def _lives(self, eras: Iterable[spaces.Era]) -> Any:
        """NS_INIT and NS_DEL that begin and end what is a container by its namespaces."""
        rows = [
            {
                **{"boot": era.boot, "time_ms": round(one.time_s * 1000), "serial": one.serial},
                **{"container": era.container, "parents": era.parents, "role": role},
                "reason": BY_NAMESPACES,
            }
            for era in eras
            for role, one in (("birth", era.born), ("end", era.ended))
            if one and era.container
        ]
        # Several sets may have the namespace that names the container.
        return self.index.engine.make(rows, _ATTRIBUTED).distinct()

    def _meaning_of_sets(self) -> Any:
        """Sets of namespaces in which only tasks of one container were seen."""
        subjects = self.by_id.filter(self.by_id.role == "subject").drop("parents")
        seen = self.infos.drop("container").inner_join(subjects, list(KEY))
        groups = seen.group_by("boot", "spaces", "since").agg(
            container=ibis._.container.max(), number=ibis._.container.nunique()
        )
        return groups.filter(groups.number == 1)

    @property
    def _orphans(self) -> Any:
        """Events whose SYSCALL points to a CONTAINER_ID that is not there."""
        return self._texts("SYSCALL").anti_join(self._ids, list(KEY))

    def _descended(self, orphans: Any) -> list[dict[str, object]]:
        rows = self.rows(orphans.order_by("boot", "serial"))
        if not rows:
            return []
        ends = {
            (one["boot"], one["container"]): one["serial"]
            for one in self.rows(self.by_id.filter(self.by_id.role == "end"))
        }
        # Who is known to be in which container, from which event on.
        inside: dict[tuple[int, str], tuple[int, str, str]] = {
            (one.boot, one.opid): (one.serial, one.container, one.parents)
            for one in self.births
            if not one.refused
        }
        boots = sorted({row["boot"] for row in rows})
        subjects = self.by_id.filter(self.by_id.role == "subject", self.by_id.boot.isin(boots))
        calls = self.records_of(subjects.select(*KEY).distinct(), "SYSCALL")
        for one in self.rows(subjects.order_by("serial")):
            for call in calls.get((one["boot"], one["time_ms"], one["serial"]), []):
                inside.setdefault(
                    (one["boot"], call.fields.get("pid", "")),
                    (one["serial"], one["container"], one["parents"]),
                )
        found: list[dict[str, object]] = []
        for row in rows:
            call = parse_record(row["text"])
            for name in ("pid", "ppid"):
                known = inside.get((row["boot"], call.fields.get(name, "")))
                if not known:
                    continue
                since, container, parents = known
                end = ends.get((row["boot"], container), spaces.FOREVER)
                if (name == "pid" or since <= row["serial"]) and row["serial"] <= max(end, since):
                    inside.setdefault((row["boot"], call.fields.get("pid", "")), known)
                    found.append(
                        {
                            **{name: row[name] for name in KEY},
                            **{"container": container, "parents": parents},
                            **{"role": "subject", "reason": BY_DESCENT},
                        }
                    )
                    break
        return found

    # -- the others ------------------------------------------------------------------------

    @property
    def others(self) -> Any:
        """Each event that is of no container: the host's, or unknown and why."""
        return self._keep("others", self._make_others)

    def _make_others(self) -> Any:
        lines = self.index.table("lines")
        daemon = [n for kind, n in self.index.kinds.items() if kind.startswith(b"DAEMON_")]
        events = (
            lines.filter(lines.boot >= 0)
            .group_by(*KEY)
            .agg(
                damaged=ibis._.damage.max() > 0,
                daemon=ibis._.kind.isin(daemon or [-9]).any(),
                ended=(ibis._.kind == self.index.kind("NS_DEL")).any(),
                packet=(ibis._.kind == self.index.kind("NETFILTER_PKT")).any(),
            )
            .anti_join(self.attributed, list(KEY))
        )
        orphans = self._orphans.select(*KEY).distinct().mutate(lost=True)
        events = events.left_join(orphans, list(KEY))
        events = events.select(*KEY, "damaged", "daemon", "ended", "packet", "lost")
        silent = [boot for boot, words in self.speech.items() if not words] or [-9]
        of_tasks = [boot for boot, words in self.speech.items() if words == {"nsid"}] or [-9]
        lost = events.lost.fill_null(False)
        placeless = events.packet & events.boot.isin(of_tasks)
        return events.mutate(
            reason=ibis.cases(
                (events.daemon, HOST),
                (events.damaged | lost | placeless | events.boot.isin(silent), UNKNOWN),
                else_=HOST,
            ),
            why=ibis.cases(
                (events.daemon, "it is the daemon's own"),
                (events.damaged, DAMAGED),
                (lost, LOST),
                (events.ended, "no task makes a namespace end"),
                (placeless, PACKET),
                (events.boot.isin(silent), NO_SPEECH),
                else_="its kernel would have named a container",
            ),
        ).drop("damaged", "daemon", "ended", "packet", "lost")

    # -- texts -----------------------------------------------------------------------------

    def records_of(self, keys: Any, kind: str = "") -> dict[tuple[int, int, int], list[Record]]:
        """The records of these events, in the order of the log; of one type, or all."""
        lines = self.index.table("lines")
        if kind:
            lines = lines.filter(lines.kind == self.index.kind(kind))
        wanted = lines.semi_join(keys, list(KEY)).order_by("file", "number")
        rows = self.rows(wanted.select(*KEY, "file", "place", "size"))
        records = self.index.fetch((row["file"], row["place"], row["size"]) for row in rows)
        found: dict[tuple[int, int, int], list[Record]] = {}
        for row in rows:
            key = (row["boot"], row["time_ms"], row["serial"])
            found.setdefault(key, []).append(records[row["file"], row["place"]])
        return found


def _named(table: Any, reason: str) -> Any:
    return table.select(
        *KEY,
        "container",
        "parents",
        role=ibis.literal("subject"),
        reason=ibis.literal(reason),
    ).distinct()
