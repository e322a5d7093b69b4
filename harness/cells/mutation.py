"""Takes the hunks of a series away, one at a time, until some scenario shows something else.

The scenario that missed the hunk before, as the series' record has it, is asked first; then those
that no earlier configuration let ask, those that are nearly alone in running some line of it, the
one that missed the last hunk, those that missed most, and among these the quickest. The kernels
without a hunk are not kept, the answers are: what was broken off goes on where it stopped. Where
it is known who runs the lines of a hunk, only these are asked. What nobody missed under one
configuration is asked of the next. While guests run, the kernel without the next hunk is built.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.cells.asking import BOOTS, BUILDS, Answers, Asker, is_proven
from harness.cells.reach import Reach
from harness.cells.record import Record
from harness.errors import UsageError
from harness.kernel import hunks
from harness.kernel.hunks import Hunk
from harness.kernel.tree import Revision
from harness.model import ArmResult, Fate, Mutant, Outcome, Stack
from harness.questions import Ends
from harness.workspace import Workspace, digest, file_digest

_OURS = (Outcome.ERROR, Outcome.SKIP, Outcome.MISS)


@dataclass(kw_only=True)
class Findings:
    """What the configurations that were asked so far show of the hunks of a series.

    ``whole`` is by configuration what each scenario shows of the whole series, ``reach`` who
    runs what of it under ``reach.OF``.
    """

    mutants: dict[Hunk, Mutant] = field(default_factory=dict)
    whole: dict[str, Mapping[str, Outcome]] = field(default_factory=dict)
    reach: Reach = field(default_factory=Reach)

    def take(self, record: Record, found: Iterable[Hunk]) -> None:
        """Takes over what is written down of hunks, so that nobody is asked about them."""
        self.mutants |= {one: known for one in found if (known := record.recall(one))}

    def left_of(self, found: Iterable[Hunk]) -> list[Hunk]:
        """The hunks of which another configuration may say something else."""
        return [
            one for one in found if one not in self.mutants or self.mutants[one].fate.may_change
        ]

    def excuse(self, unmissed: Sequence[Mapping[str, str]], *, certain: bool = False) -> list[str]:
        """Writes down why nobody need miss these hunks; what is listed in vain, as lines.

        No further configuration is asked about them. Each entry stands for one hunk: another
        that starts alike nobody has looked at. Where it is to be ``certain`` which one that is,
        what starts like more than there are entries is left for later.
        """
        left = list(unmissed)
        unsaid = [
            (hunk, mutant)
            for hunk, mutant in self.mutants.items()
            if mutant.fate in (Fate.SURVIVED, Fate.LISTED)
        ]
        alike = Counter((hunk.file, hunk.starts) for hunk, _ in unsaid)
        alike.subtract((one["file"], one["starts"]) for one in unmissed)
        for hunk, mutant in unsaid:
            names = {"file": hunk.file, "starts": hunk.starts}
            entry = next((one for one in left if names.items() <= one.items()), None)
            if entry and not (certain and alike[hunk.file, hunk.starts] > 0):
                left.remove(entry)
                self.mutants[hunk] = replace(mutant, fate=Fate.LISTED, why=entry["reason"])
        return [
            f"{hunks.UNMISSED}: no hunk of {one['file']} survives that starts with"
            f" {one['starts']!r}"
            for one in left
        ]


@dataclass(kw_only=True)
class Mutation:
    """One series, what is expected of its scenarios, and who asks them, under one configuration.

    ``at_a_time`` is how many guests run. ``record`` is read, and told who misses what; ``reach``
    is who can. Whoever is ``new`` with this configuration has not said anything before.
    """

    asker: Asker
    whole: Revision
    ends: Mapping[str, Ends]
    at_a_time: int = 1
    record: Record = field(default_factory=Record)
    reach: Reach = field(default_factory=Reach)
    new: frozenset[str] = frozenset()
    _seconds: dict[str, float] = field(default_factory=dict)
    _missed: Counter[str] = field(default_factory=Counter)
    _last: str = ""
    _whole: str = ""
    _ours: set[str] = field(default_factory=set)

    @property
    def _config(self) -> str:
        return self.asker.builder.config

    @property
    def _workspace(self) -> Workspace:
        return self.asker.store.workspace

    def require_whole(self) -> Mapping[str, Outcome]:
        """What the scenarios show of the whole series. Raises UsageError unless it is expected."""
        answers = self.asker.ask(self.whole, list(self.ends))
        if not answers.runs:
            raise UsageError(f"the whole series does not run: {answers.complaint}")
        for name, arm in answers.arms.items():
            if arm.outcome is not self.ends[name].whole:
                raise UsageError(
                    f"{name} is {arm.outcome} with the whole series and not"
                    f" {self.ends[name].whole}: {arm.signature}",
                    hint="what is red already misses nothing; leave the scenario out, or mend it",
                )
        self._seconds = {name: arm.seconds for name, arm in answers.arms.items()}
        return {name: arm.outcome for name, arm in answers.arms.items()}

    def run(self, found: Iterable[Hunk], findings: Findings) -> Iterator[Mutant]:
        """What became of each hunk, as soon as it is known; it is among the findings then."""
        try:
            with ThreadPoolExecutor(1) as ahead:
                left = deque(found)
                coming = ahead.submit(self._prepare, left[0]) if left else None
                while coming:
                    hunk, ready = left.popleft(), coming.result()
                    coming = ahead.submit(self._prepare, left[0]) if left else None
                    mutant = ready if isinstance(ready, Mutant) else self._ask(hunk, ready)
                    self._drop(ready)
                    findings.mutants[hunk] = replace(mutant, config=self._config)
                    yield findings.mutants[hunk]
        finally:
            for key in self._ours:
                self._workspace.drop("kernel", key)

    def _prepare(self, hunk: Hunk) -> Revision | Mutant:
        """What there is to ask without a hunk, built unless it was asked; or the hunk's fate."""
        if hunk.no_code:
            return _mutant(hunk, Fate.NO_CODE, why=hunk.no_code)
        if not hunks.is_balanced(hunk):
            return _mutant(hunk, Fate.STILLBORN, why="it opens or closes what others do not")
        revision = self._without(hunk)
        known = self.asker.recall(revision, list(self.ends))
        if not self._find_red(known) and not self._is_asked(revision, self._order(hunk), known):
            key = self.asker.builder.key_of(revision)
            if self._workspace.find("kernel", key) is None:
                self._ours.add(key)
            self.asker.build(revision)
        return revision

    def _without(self, hunk: Hunk) -> Revision:
        tree, stack = self.whole.source, self.whole.stack
        content = hunks.read_file(tree, self.whole.commit, hunk.file)
        commit = tree.commit_with(self.whole.commit, hunk.file, hunk.taken_from(content))
        name = f"{stack.name}-without-{hunk.key}"
        return tree.revision(commit, Stack(name=name, base=stack.base, series=stack.series))

    def _ask(self, hunk: Hunk, revision: Revision) -> Mutant:
        order = self._order(hunk)
        # Whoever was asked first then: one that missed it is enough.
        known = self.asker.recall(revision, list(self.ends))
        if red := self._find_red(known):
            return self._kill(hunk, red)
        built = None if self._is_asked(revision, order, known) else self.asker.build(revision)
        if isinstance(built, Answers):
            (said, *_) = built.gates[BUILDS]
            if is_proven(said):
                self.record.note(hunk, self._config, BUILDS)
            return _mutant(hunk, Fate.STILLBORN, why=said)
        if self._is_same(revision):
            return _mutant(hunk, Fate.EQUIVALENT, why="the kernel is the same without it")
        if not order:
            return _mutant(hunk, Fate.SURVIVED, why="no scenario runs it")
        if self.record.who(hunk, self._config) == BOOTS and (dead := self._boot(hunk, revision)):
            return dead
        odd: ArmResult | None = None
        for names in self._batches(order):
            # Nearly all boot, and who is asked sees those that do not.
            arms = dict(self.asker.ask(revision, names, straight=True).arms)
            red = self._find_red(arms)
            # A host that is busy is late, too: it counts if it is late again.
            if red and red.outcome is Outcome.TIMEOUT:
                late = [name for name, arm in arms.items() if arm.outcome is Outcome.TIMEOUT]
                arms |= self.asker.ask(revision, late, straight=True).arms
                red = self._find_red(arms)
            # A guest that was lost tells less than one that answers.
            if red and red.outcome not in _OURS:
                return self._kill(hunk, red)
            if red and not odd:
                if dead := self._boot(hunk, revision):
                    return dead
                odd = red
        if odd:
            return self._kill(hunk, odd)
        return _mutant(hunk, Fate.SURVIVED, why="no scenario shows anything else without it")

    def _boot(self, hunk: Hunk, revision: Revision) -> Mutant | None:
        """What became of a hunk without which the kernel does not boot."""
        gates = self.asker.ask(revision, ())
        if gates.runs:
            return None
        self.record.note(hunk, self._config, BOOTS)
        return _mutant(hunk, Fate.KILLED, by=BOOTS, why=gates.complaint)

    def _drop(self, ready: Revision | Mutant) -> None:
        """Has the cache forget a kernel that nobody else is going to boot."""
        if isinstance(ready, Revision) and (key := self.asker.builder.key_of(ready)) in self._ours:
            self._workspace.drop("kernel", key)

    def _find_red(self, arms: Mapping[str, ArmResult]) -> ArmResult | None:
        """One that shows something else than the whole series does, rather one that answers."""
        red = [arm for name, arm in arms.items() if arm.outcome is not self.ends[name].whole]

        def doubt(arm: ArmResult) -> tuple[bool, bool]:
            return arm.outcome in _OURS, arm.outcome is Outcome.TIMEOUT

        return min(red, key=doubt, default=None)

    def _kill(self, hunk: Hunk, arm: ArmResult) -> Mutant:
        name = arm.arm.scenario
        if arm.outcome not in _OURS:
            self._last = name
            self._missed[name] += 1
            self.record.note(hunk, self._config, name)
        why = f"{arm.outcome}: {arm.signature}"
        return _mutant(hunk, Fate.KILLED, by=name, why=why, artifacts=arm.artifacts)

    def _order(self, hunk: Hunk) -> Sequence[str]:
        """The scenarios, the likeliest to miss a hunk first."""
        who = self.record.who(hunk, self._config)
        rarity = self.reach.among(self.ends, hunk)

        def rank(name: str) -> tuple[bool, bool, int, bool, int, float]:
            return (
                name != who,
                name not in self.new,
                rarity.get(name, 0),
                name != self._last,
                -self._missed[name],
                self._seconds[name],
            )

        # What is on record, of this base or another, was seen, whoever ran what when counted.
        return sorted((name for name in self.ends if name in rarity or name == who), key=rank)

    def _is_asked(self, revision: Revision, order: Iterable[str], known: Container[str]) -> bool:
        """Whether there is nothing left to ask of a kernel without a hunk."""
        is_compared = self._workspace.find("same", self._pair(revision)) is not None
        return is_compared and all(name in known for name in order)

    def _batches(self, order: Sequence[str]) -> Iterator[Sequence[str]]:
        """The likeliest scenario alone, and then as many as run at a time."""
        yield order[:1]
        for start in range(1, len(order), self.at_a_time):
            yield order[start : start + self.at_a_time]

    def _is_same(self, revision: Revision) -> bool:
        """Whether a kernel that was built is the whole series' own."""
        builder = self.asker.builder

        def fill(folder: Path) -> None:
            kernel = builder.build_revision(revision)
            if not self._whole:
                self._whole = builder.digest_of(self.whole)
            same = file_digest(kernel.vmlinux) == self._whole
            (folder / "same.json").write_text(json.dumps(same))

        entry = self._workspace.make("same", self._pair(revision), fill)
        return bool(json.loads((entry / "same.json").read_text()))

    def _pair(self, revision: Revision) -> str:
        """What the comparison with the whole series' kernel is called in the cache."""
        builder = self.asker.builder
        return digest(builder.key_of(revision), builder.key_of(self.whole))


def find_strays(
    asker: Asker,
    below: Revision,
    whole: Revision,
    ends: Mapping[str, Ends],
    excused: Mapping[str, str],
) -> Iterator[str]:
    """What an unfix turns red and should not, or should and does not, as lines.

    ``excused`` are scenarios that may be red with it, though they are not its own.
    """
    for revision, side in ((below, "below"), (whole, "whole")):
        answers = asker.ask(revision, list(ends))
        if not answers.runs:
            yield f"{revision.stack.name}: {answers.complaint}"
        for name, arm in answers.arms.items():
            wanted = getattr(ends[name], side)
            where = "without the series" if side == "below" else "with the series"
            odd = arm.outcome is not wanted
            if side == "whole" and name in excused:
                if not odd:
                    yield f"{hunks.UNMISSED}: {name} is {wanted} {where}, as it should be"
            elif odd:
                yield f"{name} is {arm.outcome} {where} and not {wanted}: {arm.signature}"


def _mutant(hunk: Hunk, fate: Fate, *, by: str = "", why: str = "", artifacts: str = "") -> Mutant:
    return Mutant(place=hunk.place, text=hunk.text, fate=fate, by=by, why=why, artifacts=artifacts)
