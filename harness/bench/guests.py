"""Figures of guests: how quickly they answer, whether they always do, what they need."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import proc
from harness.bench.figure import Figure, ratio
from harness.bench.plan import Plan
from harness.errors import HarnessError
from harness.guest import accelerator, usage, vng
from harness.guest.boot import start_guest
from harness.guest.qemu import Machine

ANSWER = "nsaudit-answers"
_LIMIT_S = 120.0
_BUSY = ("/bin/sh", "-c", "while :; do :; done")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Seconds from the start of a guest to its first answer, and to its end."""

    answer: float
    end: float


def boot(plan: Plan) -> Iterator[Figure]:
    """The first answer of a cold guest, and of virtme-ng's on the same kernel and root.

    They take turns. ``nsaudit exec`` and ``vng`` are compared as whole commands as well,
    because virtme-ng's answer is timed from the start of its Python and ours is not.
    """
    stack = f"vanilla-{plan.base}"
    kernel = plan.lab.kernel(stack, bzimage=True)
    machine = plan.lab.machine(kernel)
    host = plan.lab.host_for(kernel)
    program = vng.require()
    theirs = vng.answer_command(program, kernel, plan.lab.image, host, ANSWER)
    command = [sys.executable, "-m", "harness", "exec", stack, "--", "echo", ANSWER]
    ours: list[Timed] = []
    vngs: list[Timed] = []
    execs: list[Timed] = []
    times = plan.times or 5
    for number in range(1, times + 1):
        plan.on_step(f"booting {number} of {times}, by QEMU, virtme-ng and nsaudit exec")
        ours.append(_boot(plan, machine, accelerator.scale_of(host)))
        vngs.append(time_command(theirs, {**vng.environment(program)}))
        execs.append(time_command(command, {"NSAUDIT_STATE": str(plan.lab.workspace.root)}))
    mine = Figure(
        name="boot",
        what="start of QEMU to the first command answered",
        samples=tuple(one.answer for one in ours),
        unit="s",
        bar=2.0,
    )
    other = Figure(
        name="boot-vng",
        what="the same by vng --exec",
        samples=tuple(one.answer for one in vngs),
        unit="s",
    )
    yield from (mine, other, ratio("boot-ratio", "boot to boot-vng", mine, other, bar=0.5))
    mine = Figure(
        name="exec",
        what="nsaudit exec as a whole, to its exit",
        samples=tuple(one.end for one in execs),
        unit="s",
    )
    other = Figure(
        name="exec-vng",
        what="vng --exec as a whole, to its exit",
        samples=tuple(one.end for one in vngs),
        unit="s",
    )
    yield from (mine, other, ratio("exec-ratio", "exec to exec-vng", mine, other))


def boots(plan: Plan) -> Iterator[Figure]:
    """Boots in a row that failed, with an idle machine and with every core busy."""
    kernel = plan.lab.kernel(f"vanilla-{plan.base}")
    machine = plan.lab.machine(kernel)
    host = plan.lab.host_for(kernel)
    times = plan.times or 100
    for name, what, loops in (("idle", "else idle", 0), ("busy", "every core busy", host.cores)):
        with _busy(loops):
            yield from _count_failures(
                plan, machine, accelerator.scale_of(host), times, f"boots-{name}", what
            )


def memory(plan: Plan) -> Iterator[Figure]:
    """The memory that a guest has, and that its QEMU had at most."""
    kernel = plan.lab.kernel(f"vanilla-{plan.base}")
    with plan.lab.workspace.scratch() as folder, plan.lab.guest(kernel, folder) as guest:
        # What is read of the root stays in the guest's page cache: fill it.
        guest.run(["find", "/usr", "-type", "f", "-exec", "cat", "{}", "+"], deadline_s=_LIMIT_S)
        peak = usage.peak_memory_kib(guest) / 1024
        total = guest.get("/proc/meminfo").decode().split()[1]
        guest.end()
    yield Figure(
        name="memory",
        what="a guest's memory",
        samples=(float(guest.machine.memory_mib),),
        unit="MiB",
        bar=512,
    )
    yield Figure(
        name="memory-kernel",
        what="of it, what its kernel leaves to programs (MemTotal)",
        samples=(int(total) / 1024,),
        unit="MiB",
    )
    yield Figure(
        name="memory-qemu",
        what="QEMU's peak on the host, the whole root read (VmHWM)",
        samples=(peak,),
        unit="MiB",
    )


def _boot(plan: Plan, machine: Machine, scale: float) -> Timed:
    with plan.lab.workspace.scratch() as folder:
        began = time.monotonic()
        with start_guest(machine, folder, scale=scale) as guest:
            guest.run(["echo", ANSWER]).require()
            answer = time.monotonic() - began
            guest.end()
        return Timed(answer=answer, end=time.monotonic() - began)


def time_command(argv: Sequence[str | Path], env: dict[str, str]) -> Timed:
    """Times a command that prints the answer on a line; raises HarnessError if it does not."""
    seen: list[float] = []
    began = time.monotonic()

    def on_line(line: str) -> None:
        if ANSWER in line:
            seen.append(time.monotonic() - began)

    done = proc.run(argv, env=env, check=False, on_line=on_line, deadline_s=_LIMIT_S)
    if not seen:
        said = done.stdout.strip().splitlines()
        raise HarnessError(
            f"{Path(str(argv[0])).name} did not answer: {said[-1] if said else 'not a word'}",
            hint=f"try it by hand: {proc.pasteable(argv)}",
        )
    return Timed(answer=seen[0], end=done.seconds)


def _count_failures(
    plan: Plan, machine: Machine, scale: float, times: int, name: str, what: str
) -> Iterator[Figure]:
    seconds: list[float] = []
    failures: list[str] = []
    for number in range(1, times + 1):
        plan.on_step(f"{name}: boot {number} of {times}, {len(failures)} failed")
        try:
            seconds.append(_boot(plan, machine, scale).answer)
        except HarnessError as error:
            failures.append(error.message.partition("\n")[0])
    yield Figure(
        name=name,
        what=f"of {times} boots in a row these failed, {what}",
        samples=(float(len(failures)),),
        bar=0,
        fault=failures[0] if failures else "",
    )
    if seconds:
        yield Figure(name=f"{name}-s", what="seconds of each", samples=tuple(seconds), unit="s")


@contextlib.contextmanager
def _busy(loops: int) -> Iterator[None]:
    """Keeps so many cores busy for the length of the block."""
    with contextlib.ExitStack() as stack:
        for _ in range(loops):
            stack.enter_context(proc.start(_BUSY))
        yield
