"""Births, ends and places of namespaces in a trail."""

from __future__ import annotations

from harness.audit import namespaces
from harness.audit.records import Record, Trail

_PLACES = "cgroupns=1 ipcns=2 mntns=3 netns=4 pidns=5 timens=? userns=7 utsns=8"


def line(number: int, serial: int, text: str) -> str:
    return f"type=UNKNOWN[{number}] msg=audit(1.000:{serial}): dev=00:04 {text}\n"


def birth(serial: int, inode: int, kind: str = "uts") -> str:
    return line(1342, serial, f"inode={inode} ns={kind} userns=9 ouid=0 old-inode=1 pid=5")


def end(serial: int, inode: int, kind: str = "uts") -> str:
    return line(1343, serial, f"inode={inode} ns={kind} userns=9 ouid=0")


def serial(record: Record | None) -> int:
    """0 for what is not there."""
    return record.serial if record else 0


def halves(text: str) -> list[tuple[str, str, int, int]]:
    return [
        (one.kind, one.inode, serial(one.born), serial(one.ended))
        for one in namespaces.lives(Trail.parse(text))
    ]


def test_a_number_that_is_used_again_is_another_life() -> None:
    text = birth(1, 50) + end(2, 50) + birth(3, 50) + birth(4, 50, "net") + end(5, 50)
    assert halves(text) == [("uts", "50", 1, 2), ("uts", "50", 3, 5), ("net", "50", 4, 0)]


def test_what_lacks_its_other_half_is_not_hidden() -> None:
    assert halves(end(1, 50) + birth(2, 50) + birth(3, 50) + end(4, 50) + end(5, 50)) == [
        ("uts", "50", 0, 1),
        ("uts", "50", 2, 0),
        ("uts", "50", 3, 4),
        ("uts", "50", 0, 5),
    ]


def test_one_life_has_a_number_at_each_moment() -> None:
    known = namespaces.lives(Trail.parse(birth(1, 50) + end(3, 50) + birth(5, 50)))
    found = [namespaces.alive_at(known, "uts", "50", serial) for serial in (2, 4, 6)]
    assert found == [known[:1], (), known[1:]]
    assert namespaces.alive_at(known, "net", "50", 2) == ()


def test_a_number_has_one_owner_at_a_time_whatever_its_kind() -> None:
    def found(text: str) -> list[tuple[str, str]]:
        known = namespaces.lives(Trail.parse(text))
        return [(one.kind, two.kind) for one, two in namespaces.sharing(known)]

    assert found(birth(1, 50) + end(2, 50) + birth(3, 50, "net") + birth(4, 51)) == []
    assert found(birth(1, 50) + birth(2, 50, "net") + end(3, 50)) == [("uts", "net")]
    assert found(birth(1, 50) + birth(2, 50, "net") + birth(3, 51)) == [("uts", "net")]


def test_places_are_those_of_the_event() -> None:
    text = line(1341, 7, _PLACES) + "type=USER_LOGIN msg=audit(1.000:7): pid=5 uid=0\n"
    trail = Trail.parse(text + line(1341, 8, _PLACES.replace("utsns=8", "utsns=9")))
    (info,) = namespaces.infos_of(trail, trail.exactly_one(type="USER_LOGIN"))
    assert namespaces.places(info) == {
        "dev": "00:04",
        **dict(zip(namespaces.KINDS, ("1", "2", "3", "4", "5", "?", "7", "8"), strict=True)),
    }


def test_an_end_with_another_id_is_of_another_life() -> None:
    born = birth(1, 50).replace("inode=50", "inode=50 ns-id=11")
    gone = end(2, 50).replace("inode=50", "inode=50 ns-id=12")
    assert halves(born + gone) == [("uts", "50", 1, 0), ("uts", "50", 0, 2)]
    assert halves(born + gone.replace("ns-id=12", "ns-id=11")) == [("uts", "50", 1, 2)]


def test_ids_are_places_where_there_are_any() -> None:
    ids = " ".join(f"{kind}ns-id={100 + at}" for at, kind in enumerate(namespaces.KINDS))
    (info,) = Trail.parse(line(1341, 7, f"{_PLACES} {ids}")).records
    places = namespaces.places(info)
    assert (places["cgroup"], places["cgroup-id"], places["uts-id"]) == ("1", "100", "107")
