"""The figures that the harness must reach, measured on this machine.

Each is measured side by side with what it is compared to, in one run, so that a slow or a
busy machine changes both. Owns what is measured and against which bar; prints nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from harness.bench import builds, cost, delivery, edits, forks, guests, matrices, suites, trails
from harness.bench.figure import Figure, Machine, describe_machine
from harness.bench.plan import Plan
from harness.errors import UsageError

FIGURES: Mapping[str, Callable[[Plan], Iterator[Figure]]] = {
    "boot": guests.boot,
    "scenarios": suites.scenarios,
    "unfix": builds.unfix,
    "build": builds.build,
    "boots": guests.boots,
    "warm": forks.warm,
    "matrix": matrices.matrix,
    "edit": edits.edit,
    "memory": guests.memory,
    "units": suites.units,
    "migration": suites.migration,
    "cost": cost.cost,
    "delivery": delivery.delivery,
    "trail": trails.trail,
    "growth": trails.growth,
}
# A first build takes long, and one of virtme-ng's default configuration much longer; so does that
# of the lane of matrix, and of the tree of edit; migration has kernels of a configuration of its
# own. cost and delivery are about series, trail and growth about a tool: not about the harness.
_OTHERS = ("build", "cost", "delivery", "edit", "matrix", "migration", "trail", "growth")
DEFAULT = tuple(name for name in FIGURES if name not in _OTHERS)


def require_names(names: Sequence[str]) -> tuple[str, ...]:
    """The figures of these names, or the default ones. Raises UsageError for an unknown name."""
    for name in names:
        if name not in FIGURES:
            raise UsageError(f"there is no figure {name!r}", hint=f"known: {', '.join(FIGURES)}")
    return tuple(names) or DEFAULT


def measure(plan: Plan, names: Sequence[str]) -> tuple[Machine, list[Figure]]:
    """Measures the named figures, one after the other, and says on what machine."""
    load = os.getloadavg()[0]
    figures = [figure for name in names for figure in FIGURES[name](plan)]
    host = plan.lab.host_for(plan.lab.kernel(f"vanilla-{plan.base}"))
    return describe_machine(host, load), figures
