"""What all figures of one run are measured with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.jobs import Lab


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``times`` is how often a figure repeats what it measures, 0 for its own choice.

    ``stacks`` are compared with their base, where a figure does that; none for its own choice.
    ``megabytes`` is the size of a log that is made to be read, 0 for the figure's own choice.
    """

    lab: Lab
    base: str
    times: int
    on_step: Callable[[str], None]
    stacks: tuple[str, ...] = ()
    megabytes: int = 0
