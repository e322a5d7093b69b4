"""Runs in a container: makes tasks in every way, and says ``KIND PID TID`` of each.

All of them wait until they are killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading

CLONE_NEWNET = 0x40000000
MANY = 1000


def say(kind: str, pid: int, tid: int | None = None) -> None:
    sys.stdout.write(f"{kind} {pid} {tid or pid}\n")
    sys.stdout.flush()


def fork(kind: str, then: str = "") -> None:
    pid = os.fork()
    if pid == 0:
        if then == "exec":
            os.execvp("sleep", ["sleep", "infinity"])
        if then == "leave":
            libc.unshare(CLONE_NEWNET)
            say(kind, os.getpid())
        if then == "double":
            if os.fork() == 0:
                say(kind, os.getpid())
                signal.pause()
            os._exit(0)
        signal.pause()
    if then == "double":
        os.waitpid(pid, 0)
    elif then != "leave":
        say(kind, pid)


def thread() -> None:
    say("thread", os.getpid(), threading.get_native_id())
    signal.pause()


libc = ctypes.CDLL(None)
say("first", os.getpid())
for _ in range(MANY):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
say("after-many", os.getpid())
fork("fork")
fork("exec", "exec")
fork("double-fork", "double")
fork("new-network", "leave")
say("vfork", subprocess.Popen(["sleep", "infinity"], close_fds=False).pid)
threading.Thread(target=thread, daemon=True).start()
signal.pause()
