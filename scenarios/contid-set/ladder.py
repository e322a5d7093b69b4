"""Runs in the guest as its root: one attempt for each check of a file, in their order.

The argument is the file's name: audit_containerid, or audit_capcontainerid. Each line of the
output is ``STEP ERRNO OPID VALUE``: the errno's name or 0, the target, and what was written. What
breaks two rules at once is named after the one that counts, and the other.
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

FILE = sys.argv[1]
UNSET = 2**64 - 1
SYS_EXIT = 60
KTHREADD = 2
NOBODY = 1000
PR_SET_DUMPABLE = 4
TOO_DEEP = 33


def name(error: int) -> str:
    return errno.errorcode[error] if error else "0"


def say(step: str, error: int, opid: int, value: object) -> None:
    sys.stdout.write(f"{step} {name(error)} {opid} {value}\n")
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


def become_zombie(pid: int) -> None:
    """Kills a child, which then waits to be reaped."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def path_of(task: int | str) -> str:
    return f"/proc/{task}/{FILE}"


def opened(task: int | str) -> int:
    return os.open(path_of(task), os.O_WRONLY)


def write(task: int | str, text: str, offset: int = 0) -> int:
    """Writes to the file of a task: 0, or the errno of open(2) or pwrite(2)."""
    try:
        file = opened(task)
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


def write_nowhere(pid: int, offset: int = 0) -> int:
    """The same with an address at which nothing is."""
    file = opened(pid)
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.pwrite(file, ctypes.c_void_p(1), 2, ctypes.c_long(offset)) < 0
    os.close(file)
    return ctypes.get_errno() if failed else 0


def attempt(step: str, pid: int, value: object, text: str | None = None) -> None:
    say(step, write(pid, str(value) if text is None else text), pid, value)


def as_child(body: Callable[[], None]) -> None:
    """Of another process, until it is done."""
    os.waitpid(child(body), 0)


def as_nobody(body: Callable[[], None]) -> None:
    def become() -> None:
        become_nobody()
        body()

    as_child(become)


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


ready = os.pipe()
born = os.pipe()


def have_a_child() -> None:
    os.write(born[1], str(child()).encode())


def father() -> None:
    have_a_child()
    signal.pause()


def with_a_child() -> tuple[int, int]:
    """A child that has one itself."""
    pid = child(father)
    return pid, int(os.read(born[0], 20))


def ladder() -> None:
    target = child()
    if not Path(path_of(target)).exists():
        attempt("plain", target, 101)
        return
    texts(target, "12", 64)
    attempt("unset", target, UNSET)
    attempt("kernel-thread-unset", KTHREADD, UNSET)
    askers(target)
    shapes()
    owners(target)
    dead()
    nest(TOO_DEEP)
    end(target)


def texts(target: int, good: str, bits: int) -> None:
    """What must not be written, and a task that must not be written to.

    A number of so many bits has room for a sign, a digit for each bit, and a newline: the rest
    must not be cut off. A kernel that does so takes zeros for the number, so it gets a target of
    its own.
    """
    too_large = 2**bits
    other = child()
    attempt("oversized", other, "-", "0" * (bits + 2) + good)
    end(other)
    for step, text in (
        ("garbage", f"{good}x"),
        ("empty", ""),
        ("negative", f"-{good}"),
        ("blank", f"{good} "),
        ("too-large", str(too_large)),
    ):
        attempt(step, target, "-", text)
    say("partial", write(target, good, offset=1), target, "-")
    say("partial-too-large", write(target, str(too_large), offset=1), target, "-")
    say("bad-pointer", write_nowhere(target), target, "-")
    say("partial-bad-pointer", write_nowhere(target, offset=1), target, "-")
    attempt("kernel-thread", KTHREADD, good)
    attempt("garbage-kernel-thread", KTHREADD, "-", f"{good}x")


def askers(target: int) -> None:
    """Who may not write at all."""

    def unprivileged() -> None:
        inner = child()
        attempt("no-capability", inner, 102)
        # Its file is root's once it has no memory of its own.
        file = opened(inner)
        become_zombie(inner)
        say("no-capability-zombie", write_to(file, "115"), inner, 115)
        parent, son = with_a_child()
        attempt("no-capability-with-children", parent, 116)
        end(parent)
        os.kill(son, signal.SIGKILL)

    as_nobody(unprivileged)

    ours, thread = opened(target), opened(KTHREADD)

    def lent() -> None:
        say("unset-opened-by-root", write_to(os.dup(ours), str(UNSET)), target, UNSET)
        say("opened-by-root", write_to(ours, "103"), target, 103)
        say("kernel-thread-opened-by-root", write_to(thread, "100"), KTHREADD, 100)

    as_nobody(lent)
    os.close(ours)
    os.close(thread)

    def nobody() -> None:
        become_nobody()
        signal.pause()

    theirs = child(nobody)
    wait(lambda: Path(path_of(theirs)).stat().st_uid == NOBODY)
    os.seteuid(NOBODY)
    try:
        file = opened(theirs)
    finally:
        os.seteuid(0)
    say("opened-by-nobody", write_to(file, "104"), theirs, 104)
    end(theirs)


def shapes() -> None:
    """What the target must not be, and not to whom."""
    parent, son = with_a_child()
    attempt("with-children", parent, 105)
    os.kill(son, signal.SIGKILL)
    end(parent)

    def threaded() -> None:
        threading.Thread(target=signal.pause).start()
        signal.pause()

    threads = child(threaded)
    wait(lambda: len(list(Path(f"/proc/{threads}/task").iterdir())) > 1)
    attempt("threaded", threads, 106)
    (other,) = {int(one.name) for one in Path(f"/proc/{threads}/task").iterdir()} - {threads}
    error = write(f"{threads}/task/{other}", "117")
    say("other-thread", error, threads, 117)
    end(threads)

    def headless() -> None:
        threading.Thread(target=signal.pause).start()
        ctypes.CDLL(None).syscall(SYS_EXIT, 0)

    threads = child(headless)
    wait(lambda: ") Z " in Path(f"/proc/{threads}/stat").read_text())
    attempt("zombie-threaded", threads, 118)
    end(threads)

    # A sibling, and our own grandchild once its parent has gone, are nobody's below us.
    as_child(have_a_child)
    lost = int(os.read(born[0], 20))
    attempt("not-a-descendant", lost, 107)
    os.kill(lost, signal.SIGKILL)
    as_child(lambda: attempt("self", os.getpid(), 108))
    as_child(lambda: attempt("with-children-not-a-descendant", os.getppid(), 119))
    gone = child()
    become_zombie(gone)
    as_child(lambda: attempt("zombie-not-a-descendant", gone, 120))
    os.waitpid(gone, 0)


def owners(target: int) -> None:
    # Once named, always named so.
    attempt("plain", target, 101)
    attempt("twice", target, 101)
    attempt("another", target, 109)
    as_child(lambda: attempt("not-a-descendant-twice", target, 121))

    # Whose is an id?
    rival = child(lambda: rule_over(110))
    os.read(ready[0], 1)
    second, third, fourth = child(), child(), child()
    attempt("taken", second, 110)
    attempt("twice-taken", target, 110)
    attempt("injection", second, 101)
    end(rival)
    attempt("newline", third, 111, "111\n")
    attempt("plus", fourth, 112, "+112")
    for pid in (second, third, fourth):
        end(pid)


def dead() -> None:
    gone = child()
    file, again = opened(gone), opened(gone)
    become_zombie(gone)
    attempt("zombie", gone, 113)
    os.waitpid(gone, 0)
    say("dead", write_to(file, "114"), gone, "-")
    say("dead-partial", write_to(again, "12x", offset=1), gone, "-")


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
            if level == depth:
                attempt("taken-too-deep", inner, 201)
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


def rights() -> None:
    """The same for the file that lets a task name others."""
    target = child()
    texts(target, "1", 32)
    attempt("odd", target, 2)
    attempt("odd-kernel-thread", KTHREADD, 2)

    def unprivileged() -> None:
        inner = child()
        attempt("no-capability", inner, 1)
        attempt("not-a-descendant-no-capability", os.getpid(), 1)
        end(inner)

    as_nobody(unprivileged)

    def lent() -> None:
        inner = child()
        ours, thread = opened(inner), opened(KTHREADD)
        become_nobody()
        say("opened-by-root", write_to(ours, "1"), inner, 1)
        say("kernel-thread-opened-by-root", write_to(thread, "1"), KTHREADD, 1)
        os.kill(inner, signal.SIGKILL)

    as_child(lent)
    as_child(lambda: attempt("self", os.getpid(), 1))
    as_child(lambda: attempt("not-a-descendant", target, 1))
    attempt("plain", target, 1)
    attempt("twice", target, 1)
    attempt("taken-away", target, 0)

    file, again = opened(target), opened(target)
    end(target)
    say("dead", write_to(file, "1"), target, "-")
    say("dead-partial", write_to(again, "2", offset=1), target, "-")


if FILE == "audit_containerid":
    ladder()
else:
    rights()
