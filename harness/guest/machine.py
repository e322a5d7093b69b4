"""One guest, from the start of QEMU to an orderly end.

A thread of the guest's own reads the channel, the console and QMP all the time, so that no
stream is ever full and a crash is noticed while anything else is waited for. Every wait has
a deadline and ends early when the guest is gone: ``GuestCrashed`` when its kernel said why,
``GuestLost`` when nothing did, ``DeadlineExceeded`` when it lives and does not answer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import selectors
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import proc
from harness.errors import (
    DeadlineExceeded,
    GuestCrashed,
    GuestLost,
    GuestToolMissing,
    HarnessError,
)
from harness.guest import channel, console, qemu
from harness.guest.channel import Frame, Kind
from harness.guest.launcher import Running
from harness.guest.qmp import Monitor

log = logging.getLogger(__name__)

# Before scaling: where the probe's boot takes boot.BOOT_REFERENCE_S seconds these are ample.
COMMAND_LIMIT_S = 30.0
END_LIMIT_S = 10.0
_ENV = {
    "PATH": "/run/nsaudit:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}
_AT = re.compile(r"^[RE]IP=([0-9a-f]+) .*HLT=([01])", re.MULTILINE)
_FORWARD = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a program in the guest said: status as a shell has it, 128 + n for signal n."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str
    seconds: float

    def require(self) -> Answer:
        """Itself, when the status is 0; HarnessError otherwise."""
        if self.status != 0:
            said = (self.stderr or self.stdout).strip().splitlines()
            raise HarnessError(
                f"in the guest, {self.argv[0]} ended with status {self.status}"
                + (f": {said[-1]}" if said else "")
            )
        return self


class Job:
    """A program that runs in the guest; its output is complete once it has ended."""

    def __init__(self, guest: Guest, number: int, argv: Sequence[str]) -> None:
        self.argv = tuple(argv)
        self.out = bytearray()
        self.err = bytearray()
        self.status: int | None = None
        self._began = time.monotonic()
        self._guest = guest
        self._number = number

    def send(self, text: str | bytes) -> None:
        """More of its standard input."""
        raw = text.encode() if isinstance(text, str) else text
        if raw:
            self._guest.transmit(Frame(Kind.INPUT, self._number, raw))

    def close_input(self) -> None:
        """The end of its standard input."""
        self._guest.transmit(Frame(Kind.INPUT, self._number))

    def kill(self, number: int = 15) -> None:
        """Sends a signal to its process group."""
        self._guest.transmit(channel.kill_frame(self._number, number))

    def wait(self, deadline_s: float = COMMAND_LIMIT_S) -> Answer:
        """Its answer. Raises GuestToolMissing when the program could not be started."""
        self._guest.wait_until(
            lambda: self.status is not None, deadline_s, f"{self.argv[0]} in the guest"
        )
        assert self.status is not None
        if self.status >= channel.START_FAILED:
            reason = os.strerror(self.status - channel.START_FAILED)
            raise GuestToolMissing(f"the guest cannot run {self.argv[0]}: {reason}")
        return Answer(
            argv=self.argv,
            status=self.status if self.status < 256 else 128 + self.status - 256,
            stdout=self.out.decode(errors="replace"),
            stderr=self.err.decode(errors="replace"),
            seconds=time.monotonic() - self._began,
        )


class Guest:
    """A running guest; make one with ``boot.start_guest``."""

    def __init__(
        self,
        machine: qemu.Machine,
        folder: Path,
        running: Running,
        scale: float,
        said: str = "",
    ) -> None:
        self.machine = machine
        self.folder = folder
        self.serial = running.ends["serial"]
        self.wire = running.ends.get("lan")
        self.killed = False
        self.scale = scale
        self.boot_s = 0.0
        self.boot = "cold"
        self._child = running.child
        self._channel = running.ends["channel"]
        self.monitor = Monitor(running.ends["qmp"])
        self._console = running.ends["console"]
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._jobs: dict[int, Job] = {}
        self._next = 1
        self._looker = 0
        self._hello = self._bye = self._gone = self._closing = False
        self._text = said
        self.console_log.write_text(said)
        self._fatal: console.Splat | None = None
        self._broken: HarnessError | None = None
        self._pump = threading.Thread(target=self._read_all, daemon=True, name="guest")
        self._pump.start()

    # -- programs and files --------------------------------------------------

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        keep_input: bool = False,
    ) -> Job:
        """Starts a program in the guest's initial namespaces, as root, and returns at once."""
        with self._changed:
            number = self._next
            self._next += 1
            job = self._jobs[number] = Job(self, number, argv)
        log.debug("guest$ %s", proc.pasteable(argv))
        self.transmit(channel.run_frame(number, argv, {**_ENV, **(env or {})}, cwd))
        if not keep_input:
            job.close_input()
        return job

    def run(
        self,
        argv: Sequence[str],
        *,
        given: str | bytes = "",
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        deadline_s: float = COMMAND_LIMIT_S,
    ) -> Answer:
        """Runs a program to its end. A status other than 0 is an answer, not an error."""
        job = self.spawn(argv, env=env, cwd=cwd, keep_input=True)
        job.send(given)
        job.close_input()
        return job.wait(deadline_s)

    def put(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Writes a file in the guest."""
        raw = content.encode() if isinstance(content, str) else content
        self._transfer("put", path, lambda job: channel.put_frame(job, path, mode, raw))

    def get(self, path: str) -> bytes:
        """The content of a file in the guest. Raises HarnessError when it cannot be read."""
        return self._transfer("get", path, lambda job: Frame(Kind.GET, job, path.encode()))

    def _transfer(self, verb: str, path: str, frame: Callable[[int], Frame]) -> bytes:
        with self._changed:
            number = self._next
            self._next += 1
            job = self._jobs[number] = Job(self, number, (verb, path))
        self.transmit(frame(number))
        try:
            job.wait()
        except GuestToolMissing as error:
            reason = error.message.rpartition(": ")[2]
            raise HarnessError(f"cannot {verb} {path} in the guest: {reason}") from None
        return bytes(job.out)

    def transmit(self, frame: Frame) -> None:
        """Sends one frame, whole."""
        if self._looker == threading.get_ident():
            raise RuntimeError("what a guest is asked for is waited for by polling.poll()")
        try:
            with self._sending:
                self._channel.sendall(frame.encode())
        except OSError:
            self._raise_end("the command channel")

    # -- waiting -------------------------------------------------------------

    def wait_until(self, happened: Callable[[], bool], deadline_s: float, what: str) -> None:
        """Waits for something that this guest's streams bring; the limit is scaled.

        What somebody has to ask the guest for is waited for by ``polling.poll``: nothing comes
        by itself, so nobody would look again. To ask raises RuntimeError here.
        """
        limit = deadline_s * self.scale
        end = time.monotonic() + limit
        with self._changed:
            while not self._look(happened):
                if self._fatal or self._gone or self._broken:
                    break
                left = end - time.monotonic()
                if left <= 0:
                    raise DeadlineExceeded(
                        f"{what}: no answer within {limit:.0f} s\n{console.tail(self._text, 5)}"
                    )
                self._changed.wait(left)
            else:
                return
        self._raise_end(what)

    def _look(self, happened: Callable[[], bool]) -> bool:
        self._looker = threading.get_ident()
        try:
            return happened()
        finally:
            self._looker = 0

    def _raise_end(self, what: str) -> None:
        """Says why the guest ended, once its last words have arrived."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(2.0)
        self._pump.join(2.0)
        if self._broken:
            raise self._broken
        splats = console.parse_splats(self._text)
        if splats:
            raise GuestCrashed(f"the kernel crashed: {_worst(splats).title}", log=self.console_log)
        raise GuestLost(
            f"the guest ended while {what} was waited for"
            f" (QEMU's status: {self._child.poll()})\n{console.tail(self._text, 5)}",
            log=self.console_log,
        )

    # -- what is known of it -------------------------------------------------

    @property
    def console_log(self) -> Path:
        """The file with everything that the kernel printed."""
        return self.folder / "console.log"

    @property
    def pid(self) -> int:
        """The launcher's own process on the host."""
        return self._child.pid

    @property
    def splats(self) -> tuple[console.Splat, ...]:
        """What the kernel complained about so far."""
        return console.parse_splats(self._text)

    def require_port(self, port: int) -> int:
        """The port on 127.0.0.1 that leads to a forwarded port of the guest."""
        asked = {"command-line": "info usernet"}
        answer = str(self.ask_qmp("human-monitor-command", asked))
        for host, guest in _FORWARD.findall(answer):
            if int(guest) == port:
                return int(host)
        raise GuestLost(f"QEMU forwards no port to the guest's port {port}")

    # -- the end -------------------------------------------------------------

    def end(self) -> None:
        """Asks for an orderly end and waits for it; raises as every wait does."""
        self._closing = True
        self.transmit(Frame(Kind.QUIT, 0))
        self.wait_until(lambda: self._bye, END_LIMIT_S, "the guest's goodbye")
        try:
            self._child.wait(END_LIMIT_S * self.scale)
        except subprocess.TimeoutExpired:
            raise DeadlineExceeded("the guest said goodbye and did not power off") from None
        self._pump.join(2.0)
        if splats := self.splats:
            raise GuestCrashed(f"the kernel crashed: {_worst(splats).title}", log=self.console_log)

    def await_hello(self, began: float, limit_s: float) -> None:
        """Waits for the agent; from then on the guest answers."""
        self.wait_until(lambda: self._hello, limit_s, "the guest's boot")
        self.boot_s = time.monotonic() - began

    def note_processors(self) -> str:
        """Writes what QEMU says of its processors to ``processors.txt``; returns it in short."""
        asked = {"command-line": "info registers -a"}
        try:
            said = str(self.ask_qmp("human-monitor-command", asked)).replace("\r\n", "\n")
        except HarnessError as error:
            return f"unknown, {error.message}"
        (self.folder / "processors.txt").write_text(said)
        found = _AT.findall(said)
        return ", ".join(f"{'halted' if halted == '1' else 'runs'} at {at}" for at, halted in found)

    def kill(self) -> None:
        """Ends QEMU in the middle of whatever it does, as a power cut ends a machine."""
        self.killed = True
        proc.end(self._child, grace_s=0.0)

    def close(self) -> None:
        """Ends QEMU, whatever state it is in, and the thread."""
        proc.end(self._child, grace_s=1.0)
        for end in (self._channel, self.monitor.end, self._console, self.serial):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._pump.join(2.0)
        for end in (self._channel, self.monitor.end, self._console, self.serial):
            end.close()

    # -- the reading thread --------------------------------------------------

    def _read_all(self) -> None:
        try:
            self._read_streams()
        except (OSError, ValueError) as error:
            self._broken = HarnessError(f"a guest's streams cannot be followed: {error}")
        finally:
            with self._changed:
                self._gone = True
                self._changed.notify_all()

    def _read_streams(self) -> None:
        decoder = channel.Decoder()
        with (
            self.console_log.open("ab") as sink,
            selectors.DefaultSelector() as selector,
        ):
            for stream in (self._channel, self._console, self.monitor.end):
                selector.register(stream, selectors.EVENT_READ, data=stream)
            while selector.get_map():
                for key, _ in selector.select():
                    end: socket.socket = key.data
                    try:
                        chunk = end.recv(1 << 18)
                    except OSError:
                        chunk = b""
                    if not chunk:
                        selector.unregister(end)
                    with self._changed:
                        if end is self._console:
                            sink.write(chunk)
                            sink.flush()
                            self._take_console(chunk)
                        elif end is self.monitor.end:
                            self.monitor.take(chunk)
                        else:
                            self._take_frames(decoder, chunk)
                        self._changed.notify_all()

    def _take_console(self, chunk: bytes) -> None:
        self._text += chunk.decode(errors="replace")
        # A report may come in two chunks: look at a little more than the new one.
        self._fatal = self._fatal or console.find_fatal(self._text[-len(chunk) - 512 :])

    def _take_frames(self, decoder: channel.Decoder, chunk: bytes) -> None:
        try:
            for frame in decoder.feed(chunk):
                self._take_frame(frame)
        except HarnessError as error:
            self._broken = error

    def _take_frame(self, frame: Frame) -> None:
        job = self._jobs.get(frame.id)
        match frame.kind:
            case Kind.HELLO:
                self._hello = frame.body == channel.HELLO
            case Kind.BYE:
                self._bye = True
            case Kind.OUT | Kind.DATA if job:
                job.out += frame.body
            case Kind.ERR if job:
                job.err += frame.body
            case Kind.EXIT if job:
                job.status = frame.status
                del self._jobs[frame.id]
            case _:
                self._broken = GuestLost(f"the agent sent {frame.kind.name} for job {frame.id}")

    def ask_qmp(
        self, command: str, arguments: Mapping[str, object] | None = None, *, fd: int = -1
    ) -> object:
        """What QEMU answers; ``fd`` goes along. Raises HarnessError when it refuses."""
        with self._changed:
            number = self._next
            self._next += 1
        try:
            self.monitor.send(number, command, arguments or {}, fd)
        except OSError:
            self._raise_end("QEMU")
        answered = self.monitor.has_answered
        self.wait_until(lambda: answered(number), 5.0, f"QEMU's answer to {command}")
        return self.monitor.take_answer(number, command)

    def open_qmp(self) -> None:
        """Leaves QMP's negotiation mode; nothing else may be asked before."""
        self.ask_qmp("qmp_capabilities")

    def pause(self) -> None:
        """Stops the virtual machine's processors: a guest that hangs."""
        self.ask_qmp("stop")

    def resume(self) -> None:
        """Has a paused guest go on; its clocks do not know how long that was."""
        self.ask_qmp("cont")

    def is_stuck(self) -> bool:
        """True when QEMU says that the virtual machine cannot go on (broken KVM does that)."""
        state = self.ask_qmp("query-status")
        return isinstance(state, dict) and state.get("status") in ("internal-error", "io-error")


def _worst(splats: Sequence[console.Splat]) -> console.Splat:
    """The report to name: what came before a panic tells more than the panic."""
    return next((one for one in splats if not one.fatal), splats[0])
