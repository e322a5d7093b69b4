"""Hosts on a private network: what they are called, and what of it arrives where."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.errors import GuestLost
from harness.guest import hosts, lan, qemu
from harness.guest.lan import Lan, open_lan

_LIMIT_S = 10.0


class Card:
    """What a guest's QEMU is to the network: the other end of its socket."""

    def __init__(self, network: Lan, name: str) -> None:
        self.end, ours = socket.socketpair()
        self.end.settimeout(_LIMIT_S)
        self._stream = bytearray()
        network.join(name, ours)
        ours.close()

    def send(self, frame: bytes) -> None:
        self.end.sendall(lan.pack(frame))

    def receive(self) -> bytes:
        while not (frames := list(lan.unpack(self._stream))):
            self._stream += self.end.recv(1 << 16)
        assert len(frames) == 1, "more than was asked for"
        return frames[0]


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[tuple[Lan, Callable[[str], Card]]]:
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(open_lan(tmp_path))

        def join(name: str) -> Card:
            card = Card(network, name)
            stack.callback(card.end.close)
            return card

        yield network, join


def test_hosts_are_numbered_in_their_order() -> None:
    one, two = hosts.plan_hosts({"north": 0.0, "south": -2.5})
    assert (one.address, two.address) == ("10.11.0.1", "10.11.0.2")
    assert (one.mac, two.mac) == ("02:00:00:00:00:01", "02:00:00:00:00:02")
    assert two.ahead_s == -2.5
    assert hosts.hosts_file((one, two)).splitlines() == [
        "127.0.0.1 localhost",
        "10.11.0.1 north",
        "10.11.0.2 south",
    ]


def test_a_machine_without_a_network_has_one_card() -> None:
    plain = qemu.Machine(
        accelerator="tcg", cpu_model="qemu64", kernel=Path("/k"), initrd=Path("/i")
    )
    member = dataclasses.replace(plain, lan=True)
    ends = qemu.Sockets(channel="fd=3", console="fd=4", serial="fd=5", qmp="fd=6", lan="fd=7")
    assert "lan" not in qemu.streams(plain)
    assert not [word for word in qemu.command(plain, ends) if "lan" in word]
    assert qemu.streams(member)[-1] == "lan"
    words = qemu.command(member, ends)
    assert "stream,id=lan,server=off,addr.type=fd,addr.str=7" in words
    (card,) = [word for word in words if "netdev=lan" in word]
    assert card.endswith(f"mac={qemu.LAN_MAC}")
    path = qemu.Sockets(channel="", console="", serial="", qmp="", lan="path=lan")
    assert any("addr.type=unix,addr.path=lan" in word for word in qemu.command(member, path))


def test_frames_survive_being_cut_anywhere() -> None:
    sent = [b"a" * 60, b"", b"b" * 1514]
    stream, seen = bytearray(), []
    for byte in b"".join(map(lan.pack, sent)):
        stream.append(byte)
        seen += list(lan.unpack(stream))
    assert seen == sent
    with pytest.raises(GuestLost, match="a frame of"):
        list(lan.unpack(bytearray(struct.pack(">I", lan.FRAME_MAX + 1))))


def test_a_frame_goes_to_all_others_and_is_recorded(tmp_path: Path) -> None:
    with open_lan(tmp_path) as network:
        north, south, east = (Card(network, name) for name in ("north", "south", "east"))
        north.send(b"from north" * 100)
        assert south.receive() == east.receive() == b"from north" * 100
        south.send(b"from south")
        # The first thing that north gets: its own frame did not come back.
        assert north.receive() == b"from south"
        assert network.counts("north") == (2, 0)
        for card in (north, south, east):
            card.end.close()
    pcap = (tmp_path / "network.pcap").read_bytes()
    *_, snap, kind = struct.unpack_from("<IHHiIII", pcap)
    assert (snap, kind) == (512, 1)
    assert struct.unpack_from("<II", pcap, 24 + 8) == (512, 1000)


def test_nothing_reaches_or_leaves_a_host_that_is_cut_off(
    plug: tuple[Lan, Callable[[str], Card]],
) -> None:
    network, card = plug
    north, south, east = card("north"), card("south"), card("east")
    network.cut("south")
    north.send(b"1")
    assert east.receive() == b"1"
    south.send(b"lost")
    # Order is kept for each sender only: this one is seen when that one was read.
    end = time.monotonic() + _LIMIT_S
    while network.counts("south")[1] < 2:
        assert time.monotonic() < end, network.counts("south")
    network.mend("south")
    north.send(b"2")
    assert south.receive() == east.receive() == b"2"
    south.send(b"3")
    assert north.receive() == east.receive() == b"3"
    assert network.counts("south") == (2, 2)


def test_a_host_that_takes_nothing_does_not_stop_the_others(
    plug: tuple[Lan, Callable[[str], Card]],
) -> None:
    network, card = plug
    north, south, paused = card("north"), card("south"), card("paused")
    frame = bytes(1514)
    for _ in range(2000):
        north.send(frame)
        assert south.receive() == frame
    assert network.counts("paused")[1] > 0, "its queue has no end"
    paused.end.close()
    north.send(b"on")
    assert south.receive() == b"on"


def test_a_host_that_is_killed_leaves_the_others_alone(
    plug: tuple[Lan, Callable[[str], Card]],
) -> None:
    _, card = plug
    north, south, killed = card("north"), card("south"), card("killed")
    killed.end.sendall(struct.pack(">I", 100) + b"half a frame")
    killed.end.close()
    for number in range(50):
        north.send(b"%d" % number)
        assert south.receive() == b"%d" % number
