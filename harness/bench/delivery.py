"""Figure of a series: whether a container can hold up the machine's records by a flood of its own.

A container's daemon is stopped, its queue is full and nobody waits for room, so that each
message of a program that floods it is lost. Meanwhile a program outside sends messages one by
one, and waits for each where the kernel's thread delivers it. What that takes is compared with
what it takes when nobody floods, in turns in one guest.

A flood is also a program that is always busy, in the kernel. So a third state is measured, in
which the container has one that is as busy and never talks to audit. The two programs are on
different processors of the guest, as those of two users are; the kernel's own threads and the
machine's daemon are where the scheduler has them.

Times are those of the time-stamp counter, since of the guest's own clock a tick is 4 ms. Under
emulation it is the host's, which goes on while something else has the host's processors. That
makes most of a guest whose own ones sleep: with every core busy the flood was seen to make all
quicker. So what the guest waits for the host is told, and where it is much, nothing holds.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.audit import records
from harness.bench.figure import Figure
from harness.bench.plan import Plan
from harness.errors import HarnessError, UsageError
from harness.guest.container import Container, start_container
from harness.guest.polling import poll
from harness.guest.usage import waited_s
from harness.model import Kernel
from harness.workspace import PROJECT

_SERIES = "auditns"
_PAYLOADS = tuple(PROJECT / "harness/audit/payload" / name for name in ("delivery.c", "flood.c"))
# Of a container that may have a daemon: see kernel-patches/auditns/DESIGN.md.
_CONTAINED = ("user", "pid", "net", "mount", "uts", "ipc")
# "The host's 99th percentile delivery time stays within 2x of the quiet run."
_MOST = 2.0
# Where a guest waits longer for the host, in seconds a second, that is what is measured.
_MOST_WAITED = 0.1
_ROUNDS = 9
_MESSAGES = 1000
_LIMIT = 32
# Losses after which the queue is full, whatever the worker does meanwhile.
_FULL = 10_000
_LIMIT_S = 120.0
_OUTSIDE = ("taskset", "--cpu-list", "0")
_INSIDE = ("taskset", "--cpu-list", "1")
# More than it sends in hours.
_FLOOD = ("flood", "1000000000", "a-flood")
_BUSY = ("dd", "if=/dev/zero", "of=/dev/null", "bs=64k", "status=none")

QUIET, BUSY, FLOODED = "quiet", "busy", "flooded"
# What runs in the container meanwhile, and how that is said.
STATES: Mapping[str, tuple[tuple[str, ...], str]] = {
    QUIET: ((), "nothing runs in the container"),
    BUSY: (_BUSY, "a program in the container is busy"),
    FLOODED: (_FLOOD, "a container floods its stopped daemon"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What each message took, in microseconds, and what the guest waited for the host.

    The latter in seconds a second, of all of its processors together.
    """

    took: Sequence[float]
    waited: float


# By state.
Round = Mapping[str, Seen]


def delivery(plan: Plan) -> Iterator[Figure]:
    """Percentiles of each state, and how they compare, of each stack."""
    for name in plan.stacks or (f"prototype-{plan.base}",):
        stack = plan.lab.catalogue.require_stack(name)
        if _SERIES not in {one.name for one in stack.series}:
            raise UsageError(f"no container on {name} has a daemon", hint="--stack prototype-6.12")
        yield from compare(name, measure(plan, plan.lab.kernel(name)))


def measure(plan: Plan, kernel: Kernel) -> list[Round]:
    """What each message took in each round, states taking turns."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(plan.lab.workspace.scratch())
        guest = stack.enter_context(plan.lab.guest(kernel, folder, payloads=_PAYLOADS))
        if not guest.machine.tsc_khz:
            raise HarnessError("the rate of this host's time-stamp counter is not known")
        guest.run(["auditd"]).require()
        box = stack.enter_context(start_container(guest, _CONTAINED))
        _fill(box)
        rounds: list[Round] = []
        times = plan.times or _ROUNDS
        for number in range(1, times + 1):
            seen = {}
            for state in STATES:
                plan.on_step(f"{kernel.stack}, {state}, round {number} of {times}")
                seen[state] = _observe(box, state)
            rounds.append(seen)
        guest.end()
    return rounds


def _fill(box: Container) -> None:
    """Has a container's daemon stand still, and its queue be full."""
    box.run(["mount", "-t", "tmpfs", "tmpfs", "/var/log/audit"]).require()
    box.run(["auditd"]).require()
    box.run(["auditctl", "-b", str(_LIMIT), "--backlog_wait_time", "0"]).require()
    box.run(["kill", "-STOP", str(_status(box).pid)]).require()
    with _running(box, _FLOOD):
        _await_loss(box, _FULL)


def _observe(box: Container, state: str) -> Seen:
    guest, (program, _) = box.guest, STATES[state]
    before = _status(box).lost
    with _running(box, program):
        if state == FLOODED:
            _await_loss(box, before)
            before = _status(box).lost
        began, waited = time.monotonic(), waited_s(guest)
        argv = [*_OUTSIDE, "delivery", str(_MESSAGES)]
        said = guest.run(argv, deadline_s=_LIMIT_S).require().stdout
        waited = (waited_s(guest) - waited) / (time.monotonic() - began)
        lost = _status(box).lost - before
    if (lost > 0) != (state == FLOODED):
        raise HarnessError(f"the container lost {lost} messages, {state}")
    took = [1000 * ticks / guest.machine.tsc_khz for ticks in parse(said, _MESSAGES)]
    return Seen(took=took, waited=waited)


@contextlib.contextmanager
def _running(box: Container, program: Sequence[str]) -> Iterator[None]:
    """Has a program run in the container all the time; nothing where there are no words."""
    if not program:
        yield
        return
    job = box.spawn([*_INSIDE, *program])
    _poll(box, lambda: box.run(["pgrep", "--exact", program[0]]).status == 0, program[0])
    yield
    if job.status is not None:
        raise HarnessError(f"{program[0]} ended in the container: {bytes(job.err).decode()}")
    job.kill(signal.SIGKILL)
    job.wait()


def _await_loss(box: Container, known: int) -> None:
    _poll(box, lambda: _status(box).lost > known, f"a loss after {known}")


def _poll(box: Container, look: Callable[[], bool], what: str) -> None:
    poll(look, bool, limit_s=_LIMIT_S * box.guest.scale, what=what)


def _status(box: Container) -> records.Status:
    return records.parse_status(box.run(["auditctl", "-s"]).require().stdout)


def parse(text: str, count: int) -> list[int]:
    """What the payload prints, one number a line; HarnessError unless there are so many."""
    numbers = [int(line) for line in text.split()]
    if len(numbers) != count:
        raise HarnessError(f"{len(numbers)} of {count} messages were delivered")
    return numbers


# -- figures ------------------------------------------------------------------------


def percentile(samples: Sequence[float], percent: int) -> float:
    """The least of the samples that so many percent of them do not exceed (nearest rank)."""
    return sorted(samples)[math.ceil(len(samples) * percent / 100) - 1]


def compare(stack: str, rounds: Sequence[Round]) -> Iterator[Figure]:
    """Ratios of each round, of which the bar is for the first, and what they are made of."""
    waited = Figure(
        name=f"delivery-waited {stack}",
        what="of each second the guest waited so long for the host's processors",
        samples=tuple(max(seen.waited for seen in one.values()) for one in rounds),
        unit="s",
    )
    busy = waited.value > _MOST_WAITED
    last = {state: [percentile(one[state].took, 99) for one in rounds] for state in STATES}
    for name, state, bar in (("delivery", QUIET, _MOST), ("delivery-busy", BUSY, None)):
        yield Figure(
            name=f"{name} {stack}",
            what=f"99th percentile, {FLOODED} to {state}",
            samples=tuple(a / b for a, b in zip(last[FLOODED], last[state], strict=True)),
            bar=bar,
            fault="the host is too busy to tell" if busy else "",
        )
    for percent, (state, (_, what)) in itertools.product((99, 50), STATES.items()):
        yield Figure(
            name=f"delivery-{state}-p{percent} {stack}",
            what=f"a message of the machine's to its group, {what}",
            samples=tuple(percentile(one[state].took, percent) for one in rounds),
            unit="us",
        )
    yield waited
