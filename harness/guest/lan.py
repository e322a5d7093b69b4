"""A private network: each frame that a guest sends goes to all the others.

Nothing of it is on the host's network: QEMU's ``stream`` back end hands every Ethernet frame to
a socket of ours, after its length as a big-endian u32 (``net/stream.c`` in QEMU's source), and
a thread passes it on. A host that is cut off keeps its carrier, as if a switch further away had
failed: what it sends is gone, and nothing reaches it. What is carried is written to
``network.pcap`` (libpcap's format, link type Ethernet, the first 512 bytes of each frame).
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from harness.errors import GuestLost

_LENGTH = struct.Struct(">I")
# No frame is longer than what QEMU itself has room for (NET_BUFSIZE in include/net/net.h).
FRAME_MAX = 4096 + 65536
# What a host has not taken yet, at most; a switch that is full drops what comes next.
_QUEUE_MAX = 1 << 20
_PCAP = struct.Struct("<IHHiIII")
_PACKET = struct.Struct("<IIII")
_PCAP_MAGIC, _ETHERNET, _SNAP = 0xA1B2C3D4, 1, 512


def pack(frame: bytes) -> bytes:
    """A frame as the stream has it."""
    return _LENGTH.pack(len(frame)) + frame


def unpack(stream: bytearray) -> Iterator[bytes]:
    """Takes every whole frame out of a stream. Raises GuestLost for what can be none."""
    while len(stream) >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(stream)
        if length > FRAME_MAX:
            raise GuestLost(f"QEMU sends a frame of {length} bytes")
        end = _LENGTH.size + length
        if len(stream) < end:
            return
        yield bytes(stream[_LENGTH.size : end])
        del stream[:end]


class _Port:
    """A host's place on the network."""

    def __init__(self, name: str, end: socket.socket) -> None:
        self.name = name
        self.end = end
        self.received = bytearray()
        self.waiting = bytearray()
        self.cut = False
        self.carried = 0
        self.dropped = 0

    def give(self, frame: bytes) -> None:
        """Queues a frame for the host, unless too many wait already."""
        if len(self.waiting) > _QUEUE_MAX:
            self.dropped += 1
        else:
            self.waiting += pack(frame)

    def flush(self) -> None:
        """Sends what the host takes now."""
        with contextlib.suppress(BlockingIOError):
            while self.waiting:
                del self.waiting[: self.end.send(self.waiting)]


class Lan:
    """The network; make one with ``open_lan``."""

    def __init__(self, record: BinaryIO) -> None:
        self._ports: dict[str, _Port] = {}
        self._record = record
        self._lock = threading.Lock()
        # With epoll(7) a socket that joins is noticed while another thread waits.
        self._selector = selectors.EpollSelector()
        self._bell, self._ringer = socket.socketpair()
        self._selector.register(self._bell, selectors.EVENT_READ, data=None)
        record.write(_PCAP.pack(_PCAP_MAGIC, 2, 4, 0, 0, _SNAP, _ETHERNET))
        self._thread = threading.Thread(target=self._carry_all, daemon=True, name="lan")
        self._thread.start()

    def join(self, name: str, wire: socket.socket) -> None:
        """Plugs a host in. ``wire`` stays its owner's; it is left when its other end closes."""
        port = _Port(name, wire.dup())
        port.end.setblocking(False)
        with self._lock:
            self._ports[name] = port
            self._selector.register(port.end, selectors.EVENT_READ, data=port)

    def cut(self, name: str) -> None:
        """From now on nothing that a host sends arrives anywhere, and nothing arrives at it."""
        with self._lock:
            self._ports[name].cut = True

    def mend(self, name: str) -> None:
        """Ends what ``cut`` began."""
        with self._lock:
            self._ports[name].cut = False

    def counts(self, name: str) -> tuple[int, int]:
        """How many frames from and to a host were carried, and how many were dropped."""
        with self._lock:
            return self._ports[name].carried, self._ports[name].dropped

    def close(self) -> None:
        """Ends the thread."""
        self._ringer.close()
        self._thread.join()
        for port in self._ports.values():
            port.end.close()
        self._bell.close()
        self._selector.close()

    def _carry_all(self) -> None:
        while True:
            for key, events in self._selector.select():
                if key.data is None:
                    return
                with self._lock:
                    self._serve(key.data, events)

    def _serve(self, port: _Port, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                port.flush()
            if events & selectors.EVENT_READ:
                chunk = port.end.recv(1 << 16)
                if not chunk:
                    raise ConnectionResetError
                port.received += chunk
                for frame in unpack(port.received):
                    self._carry(port, frame)
        except (OSError, GuestLost):
            # The guest has gone, or speaks nonsense: whoever waits for it will say so.
            self._unplug(port)
            return
        self._watch(port)

    def _carry(self, source: _Port, frame: bytes) -> None:
        targets = [one for one in self._ports.values() if one is not source]
        if source.cut:
            source.dropped += 1
            return
        source.carried += 1
        now = time.time_ns() // 1000
        kept = frame[:_SNAP]
        header = _PACKET.pack(now // 1_000_000, now % 1_000_000, len(kept), len(frame))
        self._record.write(header + kept)
        for target in targets:
            if target.cut:
                target.dropped += 1
                continue
            target.carried += 1
            target.give(frame)
            with contextlib.suppress(OSError):
                target.flush()
            self._watch(target)

    def _watch(self, port: _Port) -> None:
        """Waits for room where something could not be sent."""
        if port.end.fileno() in self._selector.get_map():
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if port.waiting else 0)
            self._selector.modify(port.end, wanted, data=port)

    def _unplug(self, port: _Port) -> None:
        if port.end.fileno() in self._selector.get_map():
            self._selector.unregister(port.end)


@contextlib.contextmanager
def open_lan(folder: Path) -> Iterator[Lan]:
    """A network for the length of the block; ``folder`` gets ``network.pcap``."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "network.pcap").open("wb") as record, contextlib.closing(Lan(record)) as lan:
        yield lan
