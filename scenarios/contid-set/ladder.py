"""Runs in the guest as its root: one attempt for each check of audit_containerid, in its order.

Each line of the output is ``STEP ERRNO OPID ID``: the errno's name or 0, the target, and what
was written. An orchestrator's children wait for the end on a pipe.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

UNSET = 2**64 - 1
NOBODY = 1000
PR_SET_DUMPABLE = 4
TOO_DEEP = 33


def name(error: int) -> str:
    return errno.errorcode[error] if error else "0"


def say(step: str, error: int, opid: int, identity: object) -> None:
    sys.stdout.write(f"{step} {name(error)} {opid} {identity}\n")
    sys.stdout.flush()


def child(body: Callable[[], None] = signal.pause) -> int:
    """A child that does something, or waits to be killed."""
    pid = os.fork()
    if pid == 0:
        try:
            body()
        finally:
            os._exit(0)
    return pid


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def path_of(pid: int) -> str:
    return f"/proc/{pid}/audit_containerid"


def write(pid: int, text: str, offset: int = 0) -> int:
    """Writes to the file of a process: 0, or the errno of open(2) or pwrite(2)."""
    try:
        file = os.open(path_of(pid), os.O_WRONLY)
    except OSError as error:
        return error.errno or 0
    return write_to(file, text, offset)


def write_to(file: int, text: str, offset: int = 0) -> int:
    try:
        os.pwrite(file, text.encode(), offset)
    except OSError as error:
        return error.errno or 0
    finally:
        os.close(file)
    return 0


def attempt(step: str, pid: int, identity: object, text: str | None = None) -> None:
    say(step, write(pid, str(identity) if text is None else text), pid, identity)


def as_nobody(body: Callable[[], None]) -> None:
    def become() -> None:
        become_nobody()
        body()

    os.waitpid(child(become), 0)


def become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    # That made us undumpable, and the files in our /proc root's; an exec would mend it too.
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def wait(condition: Callable[[], object]) -> None:
    """Looks until it holds: that a process has changed is told to nobody."""
    while not condition():
        os.sched_yield()


def main() -> None:
    target = child()
    if not Path(path_of(target)).exists():
        attempt("plain", target, 101)
        return

    # What the text must be.
    for step, text in (
        ("garbage", "12x"),
        ("empty", ""),
        ("negative", "-12"),
        ("blank", "12 "),
        ("too-large", str(2**64)),
    ):
        attempt(step, target, "-", text)
    say("partial", write(target, "12", offset=1), target, "-")
    file = os.open(path_of(target), os.O_WRONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.write(file, ctypes.c_void_p(1), 2) < 0
    say("bad-pointer", ctypes.get_errno() if failed else 0, target, "-")
    os.close(file)

    # Who is asked for.
    attempt("unset", target, UNSET)
    attempt("kernel-thread", 2, 100)

    def unprivileged() -> None:
        inner = child()
        attempt("no-capability", inner, 102)
        end(inner)

    as_nobody(unprivileged)

    def lent() -> None:
        say("opened-by-root", write_to(opened, "103"), target, 103)

    opened = os.open(path_of(target), os.O_WRONLY)
    as_nobody(lent)
    os.close(opened)

    def nobody() -> None:
        become_nobody()
        signal.pause()

    theirs = child(nobody)
    wait(lambda: Path(path_of(theirs)).stat().st_uid == NOBODY)
    os.seteuid(NOBODY)
    try:
        opened = os.open(path_of(theirs), os.O_WRONLY)
    finally:
        os.seteuid(0)
    say("opened-by-nobody", write_to(opened, "104"), theirs, 104)
    end(theirs)

    receive, send = os.pipe()

    def have_a_child() -> None:
        os.write(send, str(child()).encode())

    def father() -> None:
        have_a_child()
        signal.pause()

    parent = child(father)
    son = int(os.read(receive, 20))
    attempt("with-children", parent, 105)
    os.kill(son, signal.SIGKILL)
    end(parent)

    def threaded() -> None:
        threading.Thread(target=signal.pause).start()
        signal.pause()

    threads = child(threaded)
    wait(lambda: len(list(Path(f"/proc/{threads}/task").iterdir())) > 1)
    attempt("threaded", threads, 106)
    end(threads)

    # A sibling, and our own grandchild once its parent has gone, are nobody's below us.
    os.waitpid(child(have_a_child), 0)
    lost = int(os.read(receive, 20))
    attempt("not-a-descendant", lost, 107)
    os.kill(lost, signal.SIGKILL)

    def oneself() -> None:
        attempt("self", os.getpid(), 108)

    os.waitpid(child(oneself), 0)

    # Once named, always named so.
    attempt("plain", target, 101)
    attempt("twice", target, 101)
    attempt("another", target, 109)

    # Whose is an id?
    rival = child(lambda: rule_over(110))
    os.read(ready[0], 1)
    second, third, fourth = child(), child(), child()
    attempt("taken", second, 110)
    attempt("injection", second, 101)
    end(rival)
    attempt("newline", third, 111, "111\n")
    attempt("plus", fourth, 112, "+112")
    end(third)
    end(fourth)

    # The dead.
    gone = child()
    file = os.open(path_of(gone), os.O_WRONLY)
    os.kill(gone, signal.SIGKILL)
    os.waitid(os.P_PID, gone, os.WEXITED | os.WNOWAIT)
    attempt("zombie", gone, 113)
    os.waitpid(gone, 0)
    say("dead", write_to(file, "114"), gone, "-")

    nest(TOO_DEEP)
    end(target)
    end(second)


ready = os.pipe()


def rule_over(identity: int) -> None:
    """An orchestrator of its own, with one container."""
    inner = child()
    error = write(inner, str(identity))
    say("rival", error, inner, identity)
    os.write(ready[1], b"x")
    signal.pause()


def nest(depth: int) -> None:
    """Containers in containers, each naming the next, until one is refused."""
    gates = [os.pipe() for _ in range(depth + 1)]
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    for level in range(1, depth + 1):
        inner = os.fork()
        if inner:
            error = write(inner, str(200 + level))
            if level == depth:
                say("too-deep", error, inner, 200 + level)
                os.kill(inner, signal.SIGKILL)
            elif error:
                say(f"depth-{level}", error, inner, 200 + level)
            os.write(gates[level][1], b"x")
            os.waitpid(inner, 0)
            os._exit(0)
        os.read(gates[level][0], 1)
    os._exit(0)


if __name__ == "__main__":
    main()
    sys.exit()
