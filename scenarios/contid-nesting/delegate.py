"""Runs in a container as root: gives a process in a user namespace the right to name, or not.

The argument is what is given to it, 0 or 1. Each line of the output is ``STEP ERRNO``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PR_SET_DUMPABLE = 4
USER = 1000


def write(pid: int, file: str, text: str) -> str:
    try:
        Path(f"/proc/{pid}/{file}").write_text(text)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "0"


def say(step: str, answer: str) -> None:
    sys.stdout.write(f"{step} {answer}\n")
    sys.stdout.flush()


def waiting() -> int:
    pid = os.fork()
    if pid == 0:
        signal.pause()
    return pid


def relayed() -> str:
    """What is written to a file that a child without the right opened and passed to us."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        file = os.open("/proc/self/audit_capcontainerid", os.O_WRONLY)
        socket.send_fds(theirs, [b"x"], [file])
        signal.pause()
    _, (file,), _, _ = socket.recv_fds(ours, 1, 1)
    try:
        os.write(file, b"1")
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return "0"


def orchestrate() -> None:
    """In a user namespace of its own, with every capability there."""
    first, second = waiting(), waiting()
    say("odd", write(first, "audit_capcontainerid", "2"))
    say("name", write(first, "audit_containerid", "901"))
    say("pass-on", write(second, "audit_capcontainerid", "1"))
    say("relayed", relayed())
    if os.fork() == 0:
        inner = waiting()
        say("inherited", write(inner, "audit_containerid", "902"))
        os.kill(inner, signal.SIGKILL)
        os._exit(0)
    os.wait()
    for pid in (first, second):
        os.kill(pid, signal.SIGKILL)
    os._exit(0)


def main() -> None:
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
        libc = ctypes.CDLL(None)
        # To change one's uid makes the files in /proc root's.
        libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        if libc.unshare(CLONE_NEWUSER):
            os._exit(1)
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        orchestrate()
    os.read(ready[0], 1)
    if sys.argv[1] == "1":
        say("give", write(pid, "audit_capcontainerid", "1"))
    os.write(go[1], b"x")
    os.waitpid(pid, 0)


main()
