"""The frames of the command channel, as ``payload/agent.c`` speaks them. Pure.

A frame is three little-endian u32 (kind, id, length) and ``length`` bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from harness.errors import GuestLost

_HEADER = struct.Struct("<III")
_WORD = struct.Struct("<I")
_TIME = struct.Struct("<QI")
FRAME_MAX = 64 << 20
START_FAILED = 65536
HELLO = b"nsaudit-agent 2"


class Kind(IntEnum):
    """What a frame is; the letters are those of the agent's source."""

    RUN = ord("R")
    INPUT = ord("I")
    KILL = ord("K")
    PUT = ord("P")
    GET = ord("G")
    FORK = ord("F")
    QUIT = ord("Q")
    HELLO = ord("H")
    OUT = ord("O")
    ERR = ord("E")
    EXIT = ord("X")
    DATA = ord("D")
    BYE = ord("B")


@dataclass(frozen=True, slots=True)
class Frame:
    """One message; ``id`` is the job's, chosen by the harness."""

    kind: Kind
    id: int
    body: bytes = b""

    def encode(self) -> bytes:
        """The bytes that go over the port."""
        return _HEADER.pack(self.kind, self.id, len(self.body)) + self.body

    @property
    def status(self) -> int:
        """The u32 of an EXIT frame."""
        return int(_WORD.unpack(self.body)[0])


class Decoder:
    """Turns a stream of bytes, cut anywhere, into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Every frame that is whole now. Raises GuestLost for what cannot be a frame."""
        self._rest += chunk
        while len(self._rest) >= _HEADER.size:
            kind, job, length = _HEADER.unpack_from(self._rest)
            if length > FRAME_MAX or kind not in Kind.__members__.values():
                raise GuestLost(
                    f"the command channel carries no frame: {bytes(self._rest[:12]).hex()}",
                    hint="the guest's agent and the harness differ: remove the cache's payload",
                )
            end = _HEADER.size + length
            if len(self._rest) < end:
                return
            body = bytes(self._rest[_HEADER.size : end])
            del self._rest[:end]
            yield Frame(Kind(kind), job, body)


def run_frame(job: int, argv: Sequence[str], env: Mapping[str, str], cwd: str) -> Frame:
    """Asks for a program to be started. A NUL in a word cannot be said: ValueError."""
    words = [cwd, str(len(argv)), *argv, *(f"{name}={value}" for name, value in env.items())]
    if any("\0" in word for word in words):
        raise ValueError("a command line cannot hold a NUL")
    return Frame(Kind.RUN, job, b"".join(word.encode() + b"\0" for word in words))


def put_frame(job: int, path: str, mode: int, content: bytes) -> Frame:
    """Asks for a file to be written with these permission bits, replacing what is there."""
    return Frame(Kind.PUT, job, _WORD.pack(mode) + path.encode() + b"\0" + content)


def kill_frame(job: int, number: int) -> Frame:
    """Asks for a signal to be sent to a job's process group."""
    return Frame(Kind.KILL, job, _WORD.pack(number))


def fork_frame(time_ns: int, entropy: bytes) -> Frame:
    """Tells a guest that was saved what time it is (since the epoch) and gives it randomness.

    It says HELLO again once it has both. ``entropy`` is 32 to 64 bytes that nobody else has.
    """
    seconds, nano = divmod(time_ns, 1_000_000_000)
    return Frame(Kind.FORK, 0, _TIME.pack(seconds, nano) + entropy)
