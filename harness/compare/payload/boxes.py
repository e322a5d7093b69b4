"""Containers of nothing but namespaces, and what is done in them.

The first process of a container does what it is told to over a socket; see ``INSIDE``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = "/run/deeds"
KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
# CLONE_NEW* of linux/sched.h.
FLAGS: Mapping[str, int] = {
    "mnt": 0x00020000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
USUAL = ("mnt", "pid", "net", "uts", "ipc")
MS_REC, MS_PRIVATE = 0x4000, 0x40000
_LIBC = ctypes.CDLL(None, use_errno=True)


def call(function: str, *words: Any) -> None:
    """A function of libc, by its name; OSError where it fails."""
    if getattr(_LIBC, function)(*words):
        error = ctypes.get_errno()
        raise OSError(error, f"{function}: {os.strerror(error)}")


def act(key: str) -> None:
    """What the rule for paths records. Whether it succeeds does not matter."""
    with contextlib.suppress(OSError):
        os.mkdir(f"{FOLDER}/{key}")  # noqa: PTH102 # the system call, and nothing before it


def in_child(body: Callable[[], object]) -> None:
    """Does it in a child, and waits for that one. Nothing that fails there is passed over."""
    pid = os.fork()
    if pid == 0:
        try:
            body()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        raise SystemExit("a child failed")


def enter(pid: int, kinds: Sequence[str]) -> None:
    """Into these namespaces of a process, each opened before the first is entered."""
    files = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in kinds]
    for file in files:
        call("setns", file, 0)


def own_namespaces() -> Mapping[str, str]:
    return {kind: str(os.stat(f"/proc/self/ns/{kind}").st_ino) for kind in KINDS}  # noqa: PTH116


class Line:
    """JSON objects, one a line, over a socket."""

    def __init__(self, end: socket.socket) -> None:
        self.file = end.makefile("rw", encoding="ascii")

    def send(self, value: Any) -> None:
        self.file.write(json.dumps(value) + "\n")
        self.file.flush()

    def get(self) -> Any:
        return json.loads(self.file.readline())


class Box:
    """A container: ``kinds`` are namespaces of its own, ``join`` those of other processes."""

    def __init__(
        self, name: str, kinds: Sequence[str], contid: str, join: Mapping[str, int] | None = None
    ) -> None:
        self.name, self.kinds, self.contid = name, kinds, contid
        ours, theirs = socket.socketpair()
        self.line = Line(ours)
        self.starter = os.fork()
        if self.starter == 0:
            try:
                ours.close()
                self._start(Line(theirs), join or {})
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            os._exit(1)
        theirs.close()
        if contid:
            # Before its first program, and before it has a child or a thread.
            Path(f"/proc/{self.starter}/audit_containerid").write_text(contid)
        self.line.send("go")
        if "user" in kinds:
            self.line.get()
            for file in ("uid_map", "gid_map"):
                Path(f"/proc/{self.starter}/{file}").write_text("0 0 65536")
            self.line.send("mapped")
        # The two that tell do not wait for each other.
        born = self.line.get() | self.line.get()
        self.pid, self.namespaces = born["pid"], born["namespaces"]

    def _start(self, line: Line, join: Mapping[str, int]) -> None:
        line.get()
        for kind, pid in join.items():
            enter(pid, [kind])
        if "user" in self.kinds:
            call("unshare", FLAGS["user"])
            line.send("map me")
            line.get()
        call("unshare", sum(FLAGS[kind] for kind in self.kinds if kind != "user"))
        pid = os.fork()
        if pid:
            # In the PID namespace that the orchestrator has.
            line.send({"pid": pid})
            os.waitpid(pid, 0)
            os._exit(0)
        if "mnt" in self.kinds:
            call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
            if "pid" in self.kinds:
                call("mount", b"proc", b"/proc", b"proc", 0, None)
        for number in range(signal.SIGRTMIN, signal.SIGRTMAX):
            signal.signal(number, signal.SIG_IGN)
        line.send({"namespaces": own_namespaces()})
        while True:
            what, *words = line.get()
            line.send(INSIDE[what](*words))

    def do(self, what: str, *words: Any) -> Any:
        """Has its first process do one of ``INSIDE``."""
        self.line.send([what, *words])
        return self.line.get()

    def end(self) -> None:
        """Kills it, and waits until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.starter, 0)


# -- what the first process of a container does when it is told to --------------------


def do_act(key: str) -> None:
    act(key)


def do_short(keys: Sequence[str]) -> None:
    """Each by a task of its own, which is gone at once."""
    for key in keys:
        in_child(lambda key=key: act(key))  # type: ignore[misc]


def do_at_pid(key: str, wanted: int, most: int) -> bool:
    """By a child that has this pid, or not at all."""
    for _ in range(most):
        pid = os.fork()
        if pid == 0:
            if os.getpid() == wanted:
                act(key)
            os._exit(0)
        os.waitpid(pid, 0)
        if pid == wanted:
            return True
    return False


def do_by_child(key: str, least: int) -> int:
    """By the first child with a pid that is no less."""
    while True:
        pid = os.fork()
        if pid == 0:
            if os.getpid() >= least:
                act(key)
            os._exit(0)
        os.waitpid(pid, 0)
        if pid >= least:
            return pid


def do_signal(pid: int, number: int) -> None:
    os.kill(pid, number)


def do_enter(key: str, pid: int, kinds: Sequence[str]) -> None:
    """By a child that has entered some namespaces of a process before."""

    def body() -> None:
        enter(pid, kinds)
        in_child(lambda: act(key))

    in_child(body)


def do_hide(key: str) -> None:
    """By an orphan in new namespaces of every kind, two generations and a session away."""

    def orphan() -> None:
        os.setsid()
        if os.fork() == 0:
            act(key)
        os._exit(0)

    def first() -> None:
        """In a PID namespace: what it leaves behind would die with it."""
        if os.fork() == 0:
            orphan()
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()

    def body() -> None:
        call("unshare", FLAGS["user"])
        call("unshare", sum(FLAGS[kind] for kind in USUAL))
        in_child(first)

    in_child(body)


def do_run(argv: Sequence[str], given: str) -> None:
    subprocess.run(argv, input=given, text=True, check=True)


_listening: list[socket.socket] = []


def do_listen(address: str, port: int, limit_s: float) -> None:
    """For UDP; ``receive`` waits as long for a packet."""
    place = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    place.bind((address, port))
    place.settimeout(limit_s)
    _listening.append(place)


def do_receive() -> None:
    """Waits until a packet has come in. TimeoutError if none does."""
    with _listening.pop() as place:
        place.recv(1)


_nested: list[Box] = []


def do_nest(name: str, kinds: Sequence[str], contid: str) -> Any:
    """A container in this one, of which this one's first process is the orchestrator."""
    _nested.append(Box(name, kinds, contid))
    return _nested[-1].namespaces


def do_in_nested(key: str) -> None:
    _nested[-1].do("act", key)


INSIDE: Mapping[str, Callable[..., Any]] = {
    name.removeprefix("do_"): value for name, value in globals().items() if name.startswith("do_")
}
