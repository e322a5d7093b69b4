"""Figures of builds: an unfix after its base, and a first build beside virtme-ng's."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.bench.figure import Figure, ratio
from harness.bench.plan import Plan
from harness.errors import HarnessError, UsageError
from harness.guest import vng
from harness.model import Stack

# "Fewer than 1,200".
_MOST_OBJECTS = 1199


def unfix(plan: Plan) -> Iterator[Figure]:
    """Builds of unfix stacks, each right after its base was built in the same folder."""
    vanilla = plan.lab.catalogue.require_stack(f"vanilla-{plan.base}")
    unfixes = _unfixes(plan)
    builder = plan.lab.builder
    seconds: list[float] = []
    for number in range(plan.times or 3):
        stack = unfixes[number % len(unfixes)]
        plan.on_step(f"building {vanilla.name}, before {stack.name}")
        builder.compile_anew(vanilla)
        plan.on_step(f"building {stack.name}")
        began = time.monotonic()
        if not builder.compile_anew(stack):
            raise HarnessError(f"{stack.name} compiles nothing that {vanilla.name} does not")
        seconds.append(time.monotonic() - began)
    yield Figure(
        name="unfix",
        what="an unfix after its base: check-out, configuration, compilation, link",
        samples=tuple(seconds),
        unit="s",
        bar=30.0,
    )


def _unfixes(plan: Plan) -> list[Stack]:
    found = [
        stack
        for stack in plan.lab.catalogue.stacks.values()
        if stack.base.name == plan.base
        and stack.series
        and all(one.origin == "unfix" for one in stack.series)
    ]
    if not found:
        raise UsageError(f"base {plan.base} has no unfix", hint="nsaudit stacks lists them")
    return found


def build(plan: Plan) -> Iterator[Figure]:
    """The first build of ``vmlinux``, with our configuration and with virtme-ng's default.

    Both in an empty folder, without ccache, on all cores that this process may use.
    """
    ours = list(_first_build(plan, "build", "our configuration", None))
    theirs = list(_first_build(plan, "build-vng", "virtme-ng's default", vng.configure))
    yield from (*ours, *theirs)
    yield ratio("build-ratio", "CPU seconds, ours to virtme-ng's", ours[1], theirs[1])


def _first_build(
    plan: Plan, name: str, what: str, configure: Callable[[Path, Path], None] | None
) -> Iterator[Figure]:
    stack = plan.lab.catalogue.require_stack(f"vanilla-{plan.base}")
    plan.on_step(f"building {stack.name} from nothing, {what}")
    with plan.lab.workspace.scratch() as objects:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        count = plan.lab.builder.compile_anew(stack, objects=objects, configure=configure)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    yield Figure(
        name=name,
        what=f"objects of a first build, {what}",
        samples=(float(count),),
        bar=None if configure else _MOST_OBJECTS,
    )
    yield Figure(name=f"{name}-cpu", what="CPU seconds of it", samples=(seconds,), unit="s")
    yield Figure(
        name=f"{name}-object",
        what="CPU seconds for each object",
        samples=(seconds / max(count, 1),),
        unit="s",
    )
