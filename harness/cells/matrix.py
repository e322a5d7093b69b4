"""The matrix of a series: every patch, with all below it, against every scenario.

The ends come first, so that a hopeless series is known early; from the whole series it goes down
patch by patch. To begin again at the first patch would compile once more all that any header of
the series is included by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.cells.asking import Asker
from harness.kernel import gates
from harness.kernel.gates import Inspector
from harness.kernel.prefixes import Prefix
from harness.model import MatrixRow, PatchCheck

WARNINGS = gates.BUILDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """How a matrix is asked. With ``warnings`` what the gates do not know of W=1 is built."""

    asker: Asker
    inspector: Inspector
    names: Sequence[str]
    warnings: bool = False
    on_step: Callable[[str], None]

    def rows(self, prefixes: Sequence[Prefix]) -> Iterator[MatrixRow]:
        """The rows, as soon as each is known: both ends, and then downwards."""
        for number in order(len(prefixes)):
            one = prefixes[number]
            self.on_step(f"{number:04} {one.subject}")
            yield self._row(one, prefixes[number - 1] if number else None)

    def _row(self, one: Prefix, before: Prefix | None) -> MatrixRow:
        found: dict[str, tuple[str, ...]] = {}
        check = PatchCheck(
            series=one.series,
            patch=one.patch.name if one.patch else "",
            subject=one.subject,
            gates=found,
        )
        if one.revision is None:
            if one.refused:
                found[gates.APPLIES] = one.refused
            return MatrixRow(number=one.number, kernel=one.stack.name, tree="", check=check)
        found[gates.APPLIES] = ()
        answers = self.asker.ask(one.revision, self.names)
        found |= answers.gates
        if before and before.revision and answers.runs:
            said = self.inspector.new_warnings(before.revision, one.revision, build=self.warnings)
            if said is not None:
                found[WARNINGS] = said
        return MatrixRow(
            number=one.number,
            kernel=one.stack.name,
            tree=one.revision.content,
            check=check,
            arms=answers.arms,
            known=answers.known & set(self.names),
        )


def order(count: int) -> Sequence[int]:
    """In which order ``count`` rows are asked: the first, the last, and down from there."""
    return [0, *range(count - 1, 0, -1)]
