"""Containers that are but sets of namespaces, as those are to which no id was given.

A set stands in NS_INFO (see ``harness.audit.namespaces``). A container is named by one of its
own namespaces, ``ns:mnt4026532174``, and is inside of those whose namespaces that one replaced,
one after the other, when it was made. A namespace's number is given out again after its end, so
that the second one with a number is ``ns:mnt4026532174/2``. All of this is worked out for the
different sets that there are, not for each record; what comes out is a table to join with.

Where the kernel has no ids for containers any namespace makes one. Where it has, most sets are
those of containers with an id, of who has joined some of their namespaces, and of the host's
daemons, which have a mount or network namespace of their own. Only a PID namespace makes a
container there: runtimes give one to each, and what is restored from a checkpoint needs one.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.audit.namespaces import KINDS, NS_INIT, places
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
_TELLING_BESIDE_IDS = ("pid",)
_NONE = ("", "?")
PREFIX = "ns:"
FOREVER = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Era:
    """A set of namespaces while it means one container: from a serial up to another one.

    ``parents`` are what the container is inside of, outwards; ``born`` and ``ended`` the records
    of the namespace that it is named by, if there are any.
    """

    boot: int
    spaces: str
    since: int
    until: int
    container: str
    parents: str
    net: str
    born: Record | None
    ended: Record | None


class Namespaces:
    """The namespaces of one boot as NS_INIT and NS_DEL have them, by kind, number and serial."""

    def __init__(self, lives: Iterable[Record] = ()) -> None:
        self.initial = {kind: set(inodes) for kind, inodes in _INITIAL.items()}
        self._births: dict[tuple[str, str], list[Record]] = {}
        self._ends: dict[tuple[str, str], list[Record]] = {}
        for one in lives:
            key = (one.fields.get("ns", ""), one.fields.get("inode", ""))
            if one.type != NS_INIT:
                self._ends.setdefault(key, []).append(one)
            elif one.fields.get("pid") == "0":
                self.initial.setdefault(key[0], set()).add(key[1])
            else:
                self._births.setdefault(key, []).append(one)

    def own(self, where: Mapping[str, str]) -> list[str]:
        """The kinds of which a set's namespace is there and not initial, the most telling first."""
        return [
            kind
            for kind in _TELLING
            if where.get(kind, "?") not in (*_NONE, *self.initial.get(kind, ()))
        ]

    def births(self, kind: str, inode: str) -> Sequence[Record]:
        """The births of all namespaces that had this number, in their order."""
        return self._births.get((kind, inode), ())

    def name(self, kind: str, inode: str, serial: int) -> str:
        """What a container is called whose namespace had this number at this event."""
        births = self.births(kind, inode)
        count = sum(one.serial <= serial for one in births)
        # Of one that was there before the log began no birth is known.
        again = count > 1 or (not count and births)
        return f"{PREFIX}{kind}{inode}" + (f"/{count}" if again else "")

    def life(self, kind: str, inode: str, serial: int) -> tuple[Record | None, Record | None]:
        """The birth and the end of the namespace that had this number at this event."""
        births = self.births(kind, inode)
        born = next((one for one in reversed(births) if one.serial <= serial), None)
        after = next((one.serial for one in births if one.serial > serial), FOREVER)
        since = born.serial if born else 0
        ends = (one for one in self._ends.get((kind, inode), ()) if since < one.serial < after)
        return born, next(ends, None)

    def ancestors(self, kind: str, inode: str, serial: int) -> Iterator[str]:
        """What a container is inside of: those of the namespaces that came before this one."""
        while born := self.life(kind, inode, serial)[0]:
            # Each of them is older than the one before it, so that this ends.
            serial, inode = born.serial - 1, born.fields.get("old-inode", "?")
            if inode in (*_NONE, *self.initial.get(kind, ())):
                return
            yield self.name(kind, inode, serial)


def eras(
    sets: Iterable[tuple[int, str, Record]],
    lives: Mapping[int, Sequence[Record]],
    with_ids: Container[int] = (),
) -> list[Era]:
    """What each (boot, text, NS_INFO record) means when; ``lives`` are NS_INIT and NS_DEL.

    The container of a set is the empty string where all namespaces are initial, and in the boots
    ``with_ids`` where the PID namespace is.
    """
    known = {boot: Namespaces(records) for boot, records in lives.items()}
    found: list[Era] = []
    for boot, text, record in sets:
        there = known.setdefault(boot, Namespaces())
        where = {kind: one for kind, one in places(record).items() if kind in KINDS}
        own = there.own(where)
        telling_kinds = _TELLING_BESIDE_IDS if boot in with_ids else _TELLING
        kind = next((one for one in own if one in telling_kinds), "")
        # Namespaces that were made by one clone() are born one after the other: what was not
        # used between two births is one era all the same, with the last of them.
        births = {one.serial for kind in own for one in there.births(kind, where[kind])}
        for since, until in pairwise([0, *sorted(births), FOREVER]):
            telling = (kind, where[kind], since) if kind else None
            born, ended = there.life(*telling) if telling else (None, None)
            found.append(
                Era(
                    boot=boot,
                    spaces=text,
                    since=since,
                    until=until,
                    container=there.name(*telling) if telling else "",
                    parents=",".join(there.ancestors(*telling)) if telling else "",
                    net=_name_net(there, where.get("net", "?"), since),
                    born=born,
                    ended=ended,
                )
            )
    return found


def _name_net(there: Namespaces, inode: str, since: int) -> str:
    """A network namespace by its number, and how often that was given out; ``?`` has none."""
    if inode in _NONE:
        return ""
    count = sum(one.serial <= since for one in there.births("net", inode))
    return f"net:[{inode}]" + (f"/{count}" if count > 1 else "")
