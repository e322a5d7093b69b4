"""Where a scenario turned: git chooses the commits, and cells tell what each is like.

Both ends are proved before anything else is asked. Whichever is the older one, what is looked for
is the first commit that is like the newer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.cells.asking import Answers, Asker
from harness.errors import UsageError
from harness.kernel import history
from harness.kernel.history import Answer
from harness.kernel.tree import Revision
from harness.model import BisectResult, Outcome, Tried

GOOD, BAD, SKIP = "good", "bad", "skip"
_BROKEN = (Outcome.SYMPTOM, Outcome.FAIL, Outcome.CRASH)
# Without the thing that is looked for a scenario may fail in any way, but not crash.
_NOT_YET = (Outcome.SYMPTOM, Outcome.FAIL)


@dataclass(kw_only=True)
class Search:
    """A search in the commits of one repository.

    ``folder`` is that repository, ``revision_of`` makes a commit buildable, ``name_of`` is what
    people call it, and ``on_tried`` hears of each that was asked.
    """

    asker: Asker
    scenario: str
    folder: Path
    where: str
    revision_of: Callable[[str], Revision]
    name_of: Callable[[str], str]
    on_tried: Callable[[Tried], None]
    _tried: dict[str, Tried] = field(default_factory=dict)

    def find(self, good: str, bad: str) -> BisectResult:
        """Where it turned. Raises UsageError when an end is not what it is said to be."""
        began = time.monotonic()
        old, new, turns = good, bad, BAD
        if good != bad and history.is_ancestor(self.folder, bad, good):
            old, new, turns = bad, good, GOOD
        broken = self._prove(good, bad)
        like = {GOOD: Answer.NEW, BAD: Answer.OLD, SKIP: Answer.SKIP}
        if turns == BAD:
            like = {GOOD: Answer.OLD, BAD: Answer.NEW, SKIP: Answer.SKIP}
        bad_ones = (broken,) if turns == BAD else _NOT_YET

        def ask(commit: str) -> Answer:
            return like[self._try(commit, bad_ones).like]

        found = history.bisect(self.asker.store.workspace, self.folder, old, new, ask)
        first = self._tried.get(found.first)
        below = history.resolve(self.folder, f"{found.first}^") if first else ""
        return BisectResult(
            scenario=self.scenario,
            where=self.where,
            turns=turns,
            seconds=round(time.monotonic() - began, 1),
            tried=tuple(self._tried.values()),
            first=first,
            before=self._tried.get(below),
            candidates=tuple(
                (self.name_of(one), history.describe(self.folder, one)) for one in found.candidates
            ),
        )

    def _prove(self, good: str, bad: str) -> Outcome:
        """How the bad end fails, after both ends were asked."""
        for commit, wanted, outcomes in ((good, GOOD, ()), (bad, BAD, _BROKEN)):
            tried = self._try(commit, outcomes or _BROKEN)
            if tried.like != wanted:
                raise UsageError(
                    f"--{wanted} {tried.name} is not {wanted}: {tried.outcome}, {tried.why}",
                    hint="name another commit: a search needs two ends that differ",
                )
        arm = self._tried[bad].arm
        assert arm
        return arm.outcome

    def _try(self, commit: str, bad_ones: tuple[Outcome, ...]) -> Tried:
        if known := self._tried.get(commit):
            return known
        answers = self.asker.ask(self.revision_of(commit), [self.scenario])
        arm = answers.arms.get(self.scenario)
        like, why = SKIP, _why_not(answers)
        if arm:
            why = arm.signature
            if arm.outcome is Outcome.PASS:
                like = GOOD
            elif arm.outcome in bad_ones:
                like = BAD
        tried = self._tried[commit] = Tried(
            name=self.name_of(commit),
            commit=commit,
            subject=history.describe(self.folder, commit),
            like=like,
            why=why,
            arm=arm,
            known=self.scenario in answers.known or (arm is None and bool(answers.known)),
        )
        self.on_tried(tried)
        return tried


def _why_not(answers: Answers) -> str:
    """Why the scenario was not asked, or nothing."""
    return "; ".join(f"{gate}: {lines[0]}" for gate, lines in answers.gates.items() if lines)
