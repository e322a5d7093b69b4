"""A stand-in for QEMU, for tests of what the harness makes of its guests."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import proc
from harness.guest import channel, qemu
from harness.guest.channel import Decoder, Frame, Kind
from harness.guest.launcher import Running

# What "info registers -a" prints, in part.
REGISTERS = (
    "\r\nCPU#0\r\n"
    "RIP=ffffffff81041253 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\n"
    "\r\nCPU#1\r\n"
    "RIP=00007ffff7e3a1b7 RFL=00000202 [-------] CPL=3 II=0 A20=1 SMM=0 HLT=0\r\n"
)


class FakeQemu:
    """A launcher whose QEMU is a thread that answers QMP and speaks as the agent does.

    It refuses one request of QMP, ends migrations in one state, and of its guests the first
    ``stalls`` print a line and stand still.
    """

    title = "QEMU"
    bzimage = False
    forks = True
    options: tuple[str, ...] = ()

    def __init__(self, refuses: str = "", ends: str = "completed", stalls: int = 0) -> None:
        self.asked: list[str] = []
        self.frames: list[Frame] = []
        self.rams: list[qemu.Ram | None] = []
        self._refuses = refuses
        self._ends = ends
        self._stalls = stalls

    def require(self) -> None:
        """Always there."""

    @contextlib.contextmanager
    def start(self, machine: qemu.Machine, folder: Path, limit_s: float) -> Iterator[Running]:
        self.rams.append(machine.ram)
        (folder / "qemu.log").write_text("")
        (folder / "command.txt").write_text("")
        with contextlib.ExitStack() as stack:
            ends, theirs = {}, {}
            for name in ("channel", "console", "serial", "qmp"):
                ends[name], theirs[name] = socket.socketpair()
                stack.callback(theirs[name].close)
            boots = machine.ram is None or not machine.ram.private
            if machine.ram and boots:
                machine.ram.file.write_bytes(b"memory")
            if boots:
                theirs["console"].sendall(b"booted\n")
            if boots and len(self.rams) > self._stalls:
                self._hello(theirs["channel"])
            threads = [
                threading.Thread(target=self._answer, args=[theirs["qmp"]]),
                threading.Thread(target=self._obey, args=[theirs["channel"]]),
            ]
            for thread in threads:
                thread.start()
            child = stack.enter_context(proc.start(["sleep", "60"]))
            try:
                yield Running(child=child, ends=ends)
            finally:
                for thread in threads:
                    thread.join(5.0)

    def _hello(self, end: socket.socket) -> None:
        end.sendall(Frame(Kind.HELLO, 0, channel.HELLO).encode())

    def _obey(self, end: socket.socket) -> None:
        decoder = Decoder()
        while chunk := end.recv(4096):
            for frame in decoder.feed(chunk):
                self.frames.append(frame)
                if frame.kind in (Kind.RUN, Kind.PUT):
                    end.sendall(Frame(Kind.EXIT, frame.id, bytes(4)).encode())
                elif frame.kind is Kind.FORK:
                    self._hello(end)

    def _answer(self, end: socket.socket) -> None:
        fds: list[int] = []
        while True:
            raw, more, _, _ = socket.recv_fds(end, 4096, 1)
            fds += more
            if not raw:
                return
            for line in raw.splitlines():
                request = json.loads(line)
                name = request["execute"]
                self.asked.append(name)
                answer: dict[str, Any] = {"return": {}}
                if name == "human-monitor-command":
                    answer = {"return": REGISTERS}
                if name == self._refuses:
                    answer = {"error": {"class": "GenericError", "desc": "not today"}}
                end.sendall(json.dumps({**answer, "id": request["id"]}).encode() + b"\n")
                if name == "getfd":
                    with contextlib.suppress(OSError):  # opened for reading in a fork
                        os.write(fds[-1], b"device state")
                    os.close(fds.pop())
                if name.startswith("migrate") and "uri" in request.get("arguments", {}):
                    for status in ("setup", "active", self._ends):
                        event = {"event": "MIGRATION", "data": {"status": status}}
                        end.sendall(json.dumps(event).encode() + b"\n")
