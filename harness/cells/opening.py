"""What a command needs before it asks cells: the scenarios' names, and who asks them."""

from __future__ import annotations

from collections.abc import Sequence

from harness import questions
from harness.cells.asking import Asker, LabGuests
from harness.cells.store import Store
from harness.errors import UsageError
from harness.jobs import Lab
from harness.model import Kernel, Stack
from harness.plugin import session


def require_names(lab: Lab, stack: Stack, wanted: Sequence[str]) -> list[str]:
    """The scenarios that were asked for, or those that the last series says it proves.

    Raises UsageError for unknown ones, and where there is nothing to ask.
    """
    last = stack.series[-1]
    names = list(dict.fromkeys(wanted or last.proves))
    if not names:
        raise UsageError(f"series {last.name} does not say what it proves", hint="name a scenario")
    asked = require_scenarios(lab, stack.base.name, names if wanted else ())
    return [name for name in names if name in asked]


def require_scenarios(lab: Lab, base: str, names: Sequence[str]) -> set[str]:
    """The scenarios that this configuration lets ask. Raises UsageError for one that is not."""
    config = lab.builder.config
    words = ["--exactly", f"vanilla-{base}", "--kernel-config", config]
    asked = {arm.scenario for arm in session.collect(names, words).values()}
    if left := [name for name in names if name not in asked]:
        raise UsageError("; ".join(questions.elsewhere(left, config)))
    return asked


def open_asker(lab: Lab, base: str, *, workers: int = 0, probe: Kernel | None = None) -> Asker:
    """Who asks scenarios with this lab's image, on this host; builds the image if need be.

    The host is found out about with the base's own kernel, or with ``probe``.
    """
    store = open_store(lab, probe or lab.kernel(f"vanilla-{base}"))
    return Asker(builder=lab.builder, store=store, guests=LabGuests(lab, workers=workers))


def open_store(lab: Lab, kernel: Kernel) -> Store:
    """The answers that hold for this lab's image, on this host; ``kernel`` probes it."""
    host = lab.host_for(kernel)
    how = (host.accelerator, host.cpu_model, host.qemu, str(lab.launcher), str(lab.cold))
    store = Store(lab.workspace, [lab.image.digest, *how])
    store.prune()
    return store
