"""Containers that are but sets of namespaces, on hosts whose kernel has no ids for containers.

A set stands in NS_INFO (see ``harness.audit.namespaces``). A namespace's number is given out
again after its end, so that a set with the same numbers is another container after one of
its namespaces was born again. All of this is worked out for the different sets that there are,
not for each record; what comes out is a table to join with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.audit.namespaces import KINDS, places
from harness.audit.records import Record

# What proc_ns.h gives the initial namespaces; those of net and mnt are dynamic, and the first.
_INITIAL = {
    "ipc": {"4026531839"},
    "uts": {"4026531838"},
    "user": {"4026531837"},
    "pid": {"4026531836"},
    "cgroup": {"4026531835"},
    "time": {"4026531834"},
    "net": {"4026531833", "4026531840"},
    "mnt": {"4026531832", "4026531841"},
}
# A container is named by the first of these that is its own.
_TELLING = ("mnt", "pid", "net", "user", "ipc", "uts", "cgroup", "time")
FOREVER = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Era:
    """A set of namespaces while it means one container: from a serial up to another one."""

    boot: int
    spaces: str
    since: int
    until: int
    container: str
    net: str
    born: Record | None
    ended: Record | None


def eras(
    sets: Iterable[tuple[int, str, Record]], lives: Mapping[int, Sequence[Record]]
) -> list[Era]:
    """What each (boot, text, NS_INFO record) means when; ``lives`` are NS_INIT and NS_DEL.

    The container of a set in which all namespaces are initial is the empty string.
    """
    found: list[Era] = []
    names: dict[tuple[int, str], int] = {}
    for boot, text, record in sets:
        where = {kind: one for kind, one in places(record).items() if kind in KINDS}
        initial = _initial_of(lives.get(boot, ()))
        own = [
            kind
            for kind in _TELLING
            if where.get(kind, "?") not in ("", "?") and where[kind] not in initial[kind]
        ]
        records = [
            one
            for one in lives.get(boot, ())
            if where.get(one.fields.get("ns", "")) == one.fields.get("inode")
        ]
        births = {one.serial: one for one in records if one.type == "NS_INIT"}
        # Namespaces that were made by one clone() are born one after the other: what was not
        # used between two births is one era all the same, with the last of them.
        edges = [0, *sorted(births), FOREVER]
        for since, until in pairwise(edges):
            name = f"ns:{own[0]}{where[own[0]]}" if own else ""
            if own:
                if len(own) > 1:
                    name += f"+{len(own) - 1}"
                count = names[boot, name] = names.get((boot, name), 0) + 1
                name += f"/{count}" if count > 1 else ""
            ends = [
                one
                for one in records
                if one.type == "NS_DEL"
                and since < one.serial < until
                and own
                and one.fields.get("ns") == own[0]
            ]
            found.append(
                Era(
                    boot=boot,
                    spaces=text,
                    since=since,
                    until=until,
                    container=name,
                    net=_name_net(where.get("net", "?"), births.values(), since),
                    born=births.get(since),
                    ended=ends[0] if ends else None,
                )
            )
    return found


def _name_net(inode: str, births: Iterable[Record], since: int) -> str:
    """A network namespace by its number, and how often that was given out; ``?`` has none."""
    if inode in ("", "?"):
        return ""
    count = sum(one.fields.get("ns") == "net" and one.serial <= since for one in births)
    return f"net:[{inode}]" + (f"/{count}" if count > 1 else "")


def _initial_of(lives: Sequence[Record]) -> Mapping[str, set[str]]:
    initial = {kind: set(inodes) for kind, inodes in _INITIAL.items()}
    for one in lives:
        if one.type == "NS_INIT" and one.fields.get("pid") == "0":
            initial.setdefault(one.fields["ns"], set()).add(one.fields["inode"])
    return initial
