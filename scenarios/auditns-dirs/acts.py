"""Does things to files, each under a name of its own, by which audit's records tell it.

    acts.py <ACTS

A line of ACTS is ``NAME ACT PATH...``. The name becomes that of the task, of which the kernel
keeps 15 characters; a program that is run has the name of its file. What cannot be done ends it.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path

IN_CREATE = 0x100  # sys/inotify.h

libc = ctypes.CDLL(None, use_errno=True)
inotify = libc.inotify_init()


def write(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666))


def chmod(path: str) -> None:
    Path(path).chmod(0o755)


def tmpfs(path: str) -> None:
    if libc.mount(b"tmpfs", path.encode(), b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), path)


def watch(path: str) -> None:
    """Until this program ends, which is what the descriptor is left open for."""
    if libc.inotify_add_watch(inotify, path.encode(), IN_CREATE) < 0:
        raise OSError(ctypes.get_errno(), path)


ACTS: dict[str, Callable[..., object]] = {
    "chmod": chmod,
    "mkdir": os.mkdir,
    "read": lambda path: os.close(os.open(path, os.O_RDONLY)),
    "rename": os.rename,
    "rmdir": os.rmdir,
    "run": lambda path: os.spawnv(os.P_WAIT, path, [path]),
    "tmpfs": tmpfs,
    "unlink": os.unlink,
    "watch": watch,
    "write": write,
}

for line in sys.stdin:
    name, act, *paths = line.split()
    Path("/proc/self/comm").write_text(name)
    ACTS[act](*paths)
