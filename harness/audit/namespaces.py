"""What a trail says about namespaces: where events happened, and how namespaces come and go.

The series ``nsid`` adds three records. Debian's auditd does not know their names, so that it
writes their numbers, as ``UNKNOWN[1341]``::

    NS_INFO (1341): dev=MAJ:MIN cgroupns=N ipcns=N mntns=N netns=N pidns=N timens=N userns=N utsns=N
    NS_INIT (1342): dev=MAJ:MIN inode=N ns=KIND userns=N ouid=UID old-inode=N [subject]
    NS_DEL  (1343): dev=MAJ:MIN inode=N ns=KIND userns=N ouid=UID

MAJ and MIN are hexadecimal, the inode numbers decimal, ``?`` stands for none. NS_INFO belongs
to an event; the other two are events by themselves. Where the kernel has ids that are not used
again (NS_GET_ID of ioctl_nsfs(2)), there are ``cgroupns-id=`` and so on, ``ns-id=``,
``userns-id=`` and ``old-ns-id=``, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.audit.records import Record, Trail

NS_INFO, NS_INIT, NS_DEL = "NS_INFO", "NS_INIT", "NS_DEL"
KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")

Places = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A namespace from its birth to its end, as far as the trail has them."""

    kind: str
    inode: str
    ns_id: str = ""
    born: Record | None = None
    ended: Record | None = None


def places(record: Record) -> Places:
    """The namespaces in an NS_INFO record: an inode number for each kind, and ``dev``.

    With ids, each of these has its own key, ``KIND-id``.
    """
    fields = {kind: record.fields.get(f"{kind}ns", "") for kind in KINDS}
    ids = {f"{kind}-id": record.fields.get(f"{kind}ns-id", "") for kind in KINDS}
    return {
        "dev": record.fields.get("dev", ""),
        **fields,
        **{key: one for key, one in ids.items() if one},
    }


def infos_of(trail: Trail, record: Record) -> tuple[Record, ...]:
    """The NS_INFO records of the event that a record belongs to."""
    events = [event for event in trail if record in event.records]
    return tuple(one for event in events for one in event.records if one.type == NS_INFO)


def lives(trail: Trail) -> tuple[Life, ...]:
    """Every namespace that the trail knows, by its birth or else its end, in that order.

    An end belongs to the latest birth of that kind and inode. Two births without an end
    between them, or an end without a birth, give lives that lack the other half; and so does
    an end with another id.
    """
    found: list[Life] = []
    alive: dict[tuple[str, str], int] = {}
    for record in trail.records:
        if record.type not in (NS_INIT, NS_DEL):
            continue
        kind, inode = record.fields["ns"], record.fields["inode"]
        ns_id = record.fields.get("ns-id", "")
        if record.type == NS_INIT:
            alive[kind, inode] = len(found)
            found.append(Life(kind=kind, inode=inode, ns_id=ns_id, born=record))
            continue
        at = alive.pop((kind, inode), None)
        if at is not None and found[at].ns_id == ns_id:
            found[at] = replace(found[at], ended=record)
        else:
            found.append(Life(kind=kind, inode=inode, ns_id=ns_id, ended=record))
    return tuple(found)


def alive_at(known: Sequence[Life], kind: str, inode: str, serial: int) -> tuple[Life, ...]:
    """The namespaces that had this number when the event with this serial began."""
    return tuple(
        life
        for life in known
        if (life.kind, life.inode) == (kind, inode)
        and (life.born is None or life.born.serial < serial)
        and (life.ended is None or serial < life.ended.serial)
    )


def sharing(known: Sequence[Life]) -> tuple[tuple[Life, Life], ...]:
    """Pairs, of whatever kinds, that had one number at a time, as their records have it.

    There are none when the end of a namespace is recorded before its number is free.
    """
    born = [(life.born.serial, life) for life in known if life.born]
    holders: dict[str, Life] = {}
    found = []
    for serial, life in sorted(born, key=lambda one: one[0]):
        holder = holders.get(life.inode)
        if holder and (holder.ended is None or holder.ended.serial > serial):
            found.append((holder, life))
        holders[life.inode] = life
    return tuple(found)
