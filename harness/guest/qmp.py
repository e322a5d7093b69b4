"""QEMU's monitor protocol: requests with a number, their answers, and events between them.

See docs/interop/qmp-spec in QEMU. Nothing here waits: whoever reads the socket passes on what
came, and holds a lock while it looks.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping

from harness.errors import HarnessError


class Monitor:
    """Our end of one QMP connection, which is a Unix socket."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.events: list[tuple[str, Mapping[str, object]]] = []
        self._answers: dict[int, Mapping[str, object]] = {}
        self._rest = b""

    def send(
        self, number: int, command: str, arguments: Mapping[str, object], fd: int = -1
    ) -> None:
        """Asks; with ``fd`` a descriptor goes along, as ``getfd`` wants it. Raises OSError."""
        words: dict[str, object] = {"execute": command, "id": number}
        if arguments:
            words["arguments"] = dict(arguments)
        raw = json.dumps(words).encode() + b"\n"
        if fd < 0:
            self.end.sendall(raw)
        else:
            sent = socket.send_fds(self.end, [raw], [fd])
            self.end.sendall(raw[sent:])

    def take(self, chunk: bytes) -> None:
        """What the socket brought, cut anywhere."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in filter(None, map(bytes.strip, lines)):
            message = json.loads(line)
            if "event" in message:
                self.events.append((message["event"], message.get("data", {})))
            elif "id" in message:
                self._answers[message["id"]] = message

    def has_answered(self, number: int) -> bool:
        """Whether the answer to a request is there."""
        return number in self._answers

    def take_answer(self, number: int, command: str) -> object:
        """The answer, once. Raises HarnessError when QEMU refused."""
        message = self._answers.pop(number)
        if "error" in message:
            error = message["error"]
            said = error.get("desc") if isinstance(error, dict) else error
            raise HarnessError(f"QEMU refuses {command}: {said}")
        return message.get("return")

    @property
    def migration(self) -> str:
        """How far a migration has got, by its events: ``""``, ``setup``, ``completed``, …"""
        states = [str(data.get("status")) for name, data in self.events if name == "MIGRATION"]
        return states[-1] if states else ""
