"""Which scenarios run a hunk's lines at all: nobody else can miss it.

What was counted under one configuration holds for another only where both kernels do the same:
``coverage`` is ``default`` and counters. Lines without code, as declarations are, say nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.cells.asking import Asker
from harness.errors import UsageError
from harness.kernel import coverage
from harness.kernel.coverage import Counts
from harness.kernel.hunks import Hunk
from harness.kernel.tree import Revision
from harness.model import Outcome

CONFIG = "coverage"
OF = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """By scenario, how often each line of a file was run; of the others nothing is known."""

    counts: Mapping[str, Counts] = field(default_factory=dict)

    def among(self, names: Iterable[str], hunk: Hunk) -> Mapping[str, int]:
        """Those of the scenarios that run a hunk's lines, or of which that is not known.

        Each with how many scenarios run that line of those that it runs which fewest run: who is
        there nearly alone is the likeliest to miss it. Of whom nothing is known that is all.
        """
        ran = {name: self._ran(name, hunk) for name in names}
        runners = Counter(line for lines in ran.values() for line in lines or ())
        return {
            name: min(runners[line] for line in lines) if lines else len(ran)
            for name, lines in ran.items()
            if lines is None or lines
        }

    def _ran(self, name: str, hunk: Hunk) -> Sequence[int] | None:
        """The lines of a hunk that a scenario runs; None where none has code, or nobody knows."""
        file = self.counts.get(name, {}).get(hunk.file, {})
        known = [n for n in range(hunk.line, hunk.line + len(hunk.added)) if n in file]
        return [line for line in known if file[line]] if known else None


def measure(asker: Asker, whole: Revision, names: Sequence[str]) -> Reach:
    """Asks scenarios of a kernel that counts, and what it counted.

    Of one that does not pass there nothing is known. Raises UsageError when it does not run.
    """
    answers = asker.ask(whole, names)
    if not answers.runs:
        raise UsageError(f"the kernel that counts does not run: {answers.complaint}")
    kernel = asker.builder.build_revision(whole).vmlinux.parent
    found: dict[str, Counts] = {}
    for name, arm in answers.arms.items():
        if arm.outcome is Outcome.PASS:
            found[name] = _sum(
                coverage.read_counts(asker.store.workspace, kernel, path)
                for path in Path(arm.artifacts).rglob(coverage.COUNTS)
            )
    return Reach(counts=found)


def _sum(of_guests: Iterable[Counts]) -> Counts:
    """What several guests did together."""
    total: dict[str, Counter[int]] = {}
    for counts in of_guests:
        for file, lines in counts.items():
            total.setdefault(file, Counter()).update(lines)
    return total
