"""Asks scenarios of a revision: builds it, boots it, asks what was not answered before.

How guests are started, and how a scenario is run, is behind ``Guests``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness import scenario
from harness.cells.store import Store, arm_of
from harness.errors import (
    BuildError,
    ConfigError,
    DeadlineExceeded,
    GuestCrashed,
    GuestLost,
)
from harness.guest import capacity
from harness.jobs import Lab
from harness.kernel.build import Builder
from harness.kernel.tree import Revision
from harness.model import ArmResult, Kernel, Outcome
from harness.plugin import session
from harness.plugin.turns import Turns

BUILDS, BOOTS = "builds", "boots"
# Only a compiler or a linker that names what is wrong says the same again.
_PROVEN = re.compile(r":\d+(?::\d+)?: (?:fatal )?error: |undefined reference to")
_PLACE = re.compile(r"(?:/\S*/work|\.\./\.\.)/trees/[^/\s]+/")
_OURS = (GuestLost, DeadlineExceeded)

OnOutcome = Callable[[str, Outcome], None]


def is_proven(said: str) -> bool:
    """Whether a build that fails with this will fail again: the source is to blame for it."""
    return bool(_PROVEN.search(said))


class Guests(Protocol):
    """Starts guests for an ``Asker``."""

    def boot(self, kernel: Kernel, folder: Path) -> None:
        """Boots a kernel up to a first command and ends it; raises what is wrong with that."""

    def ask(
        self, kernel: Kernel, names: Sequence[str], folder: Path, on_outcome: OnOutcome
    ) -> None:
        """Asks scenarios, whose results go into ``folder``, and tells of each that has ended."""


class LabGuests:
    """The guests of a lab, several at a time."""

    def __init__(self, lab: Lab, *, workers: int = 0) -> None:
        self._lab = lab
        self._workers = workers

    def boot(self, kernel: Kernel, folder: Path) -> None:
        """Boots it, and keeps the guest for the scenarios to fork from."""
        self._lab.try_boot(kernel, folder, warm=True)

    def ask(
        self, kernel: Kernel, names: Sequence[str], folder: Path, on_outcome: OnOutcome
    ) -> None:
        """Runs pytest on them."""
        lab = self._lab
        lab.forget()
        lab.take(kernel)
        host = lab.host_for(kernel)
        lab.save(folder)
        workers = self._workers or capacity.count_guests(host.cores, len(names))
        words = ["--exactly", kernel.stack, "--kernel-config", lab.builder.config]

        def tell(node: str, outcome: Outcome) -> None:
            on_outcome(Path(node.partition("::")[0]).parent.name, outcome)

        turns = Turns(lab.workspace, lab.builder.config)
        session.run(names, words, folder, workers, turns, tell)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What came of asking one revision.

    ``gates`` are those that were reached, ``BUILDS`` and ``BOOTS``, each with what is wrong;
    ``arms`` is empty unless all of these were passed. ``known`` names what was answered before.
    """

    gates: Mapping[str, tuple[str, ...]]
    arms: Mapping[str, ArmResult] = field(default_factory=dict)
    known: frozenset[str] = frozenset()

    @property
    def runs(self) -> bool:
        """True for a kernel that builds and boots."""
        return not any(self.gates.values())

    @property
    def complaint(self) -> str:
        """What is wrong with one that does not, in a line."""
        return "; ".join(f"{gate}: {lines[0]}" for gate, lines in self.gates.items() if lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Asks, and keeps what is answered as soon as it is."""

    builder: Builder
    store: Store
    guests: Guests

    def recall(self, revision: Revision, names: Sequence[str]) -> dict[str, ArmResult]:
        """What was answered before."""
        key = self.builder.key_of(revision)
        wanted = [arm_of(name, revision.stack.name) for name in names]
        return {arm.scenario: found for arm in wanted if (found := self.store.find(key, arm))}

    def build(self, revision: Revision) -> Kernel | Answers:
        """Its kernel, or what is wrong with the build; that is kept if it will be again."""
        stack = revision.stack.name
        if failed := self.recall(revision, (BUILDS,)):
            why = (failed[BUILDS].signature,)
            return Answers(gates={BUILDS: why}, known=frozenset({BUILDS}))
        try:
            return self.builder.build_revision(revision)
        except (BuildError, ConfigError) as error:
            # The cache knows a kernel by its content, wherever and as what it is built next.
            said = error.message.removeprefix(f"{stack} does not build: ")
            said = _PLACE.sub("", said)
            if is_proven(said):
                self._keep_failure(self.builder.key_of(revision), stack, said)
            return Answers(gates={BUILDS: (said, error.hint)})

    def ask(self, revision: Revision, names: Sequence[str], *, straight: bool = False) -> Answers:
        """What these scenarios say of a revision. Raises what is the host's fault.

        With ``straight`` it is not booted before, to see whether it can be: one that cannot has
        crashed, or was waited for, in every scenario.
        """
        key = self.builder.key_of(revision)
        known = self.recall(revision, (BOOTS, *names))
        before = frozenset(known)
        left = [name for name in names if name not in known]
        boots_first = not straight and BOOTS not in known
        if boots_first or (left and _may_boot(known)):
            kernel = self.build(revision)
            if isinstance(kernel, Answers):
                return kernel
            folder = self.store.workspace.new_run()
            if boots_first:
                known[BOOTS] = self._boot(key, kernel, folder)
            if left and _may_boot(known):
                known |= self._ask(key, kernel, left, folder)
        boots = known.pop(BOOTS, None)
        if boots and boots.outcome is not Outcome.PASS:
            why = (boots.signature, f"its console: {boots.artifacts}/console.log")
            return Answers(gates={BUILDS: (), BOOTS: why}, known=before)
        arms = {name: known[name] for name in names}
        reached = (BUILDS, BOOTS) if boots else (BUILDS,)
        return Answers(gates=dict.fromkeys(reached, ()), arms=arms, known=before)

    def _boot(self, key: str, kernel: Kernel, run: Path) -> ArmResult:
        arm = arm_of(BOOTS, kernel.stack)
        outcome, why = Outcome.PASS, "it boots"
        try:
            self.guests.boot(kernel, run / arm.folder)
        except GuestCrashed as error:
            outcome, why = Outcome.CRASH, error.message
        except _OURS as error:
            late = isinstance(error, DeadlineExceeded)
            outcome, why = Outcome.TIMEOUT if late else Outcome.ERROR, error.message
        place = run / arm.folder
        result = ArmResult(arm=arm, outcome=outcome, signature=why, artifacts=str(place))
        scenario.store_result(run, result)
        return self.store.keep(key, run, result)

    def _ask(
        self, key: str, kernel: Kernel, names: Sequence[str], run: Path
    ) -> Mapping[str, ArmResult]:
        scenario.plan_run(run, [arm_of(name, kernel.stack) for name in names])
        found: dict[str, ArmResult] = {}

        def on_outcome(name: str, _outcome: Outcome) -> None:
            result = scenario.load_result(run, arm_of(name, kernel.stack))
            found[name] = self.store.keep(key, run, result)

        self.guests.ask(kernel, names, run, on_outcome)
        left = {one.arm.scenario: one for one in scenario.load_results(run)}
        return {**left, **found}

    def _keep_failure(self, key: str, stack: str, said: str) -> None:
        run = self.store.workspace.new_run()
        result = ArmResult(arm=arm_of(BUILDS, stack), outcome=Outcome.FAIL, signature=said)
        scenario.store_result(run, result)
        self.store.keep(key, run, result)


def _may_boot(known: Mapping[str, ArmResult]) -> bool:
    """Whether the kernel booted, or nobody has seen yet whether it does."""
    return BOOTS not in known or known[BOOTS].outcome is Outcome.PASS
