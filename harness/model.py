"""The words that all other modules speak: frozen values, no behaviour beyond themselves.

This module imports nothing of the project. ``Base``, ``Series`` and ``Stack`` say what is
built, ``Kernel`` and ``Image`` what came of it, ``Outcome`` and ``Verdict`` what was seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianSource:
    """A ``linux-source-X.Y`` binary package of a Debian suite.

    ``version`` is the package version that the patches were written for. When the archive
    has dropped it, the newest one is taken and the difference is reported.
    """

    suite: str
    package: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSource:
    """A commit of a git repository: a local path or any URL that git can fetch."""

    repository: str
    ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySource:
    """An unpacked kernel tree, taken as it stands."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TarballSource:
    """A tarball by URL (http, https or file) with the SHA-256 of the file, in hex."""

    url: str
    sha256: str


Source = DebianSource | GitSource | DirectorySource | TarballSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """An unpatched kernel. ``objects`` is about how many files its first build compiles."""

    name: str
    source: Source
    objects: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One story of patches; ``patches`` maps a base name to its ordered patch files.

    ``without`` names configurations that must build too, at every patch: those without what
    the series is about. ``selftests`` are those that it adds, below tools/testing/selftests.
    """

    name: str
    title: str
    origin: str
    needs: tuple[str, ...]
    proves: tuple[str, ...]
    patches: Mapping[str, tuple[Path, ...]]
    without: tuple[str, ...] = ()
    selftests: tuple[str, ...] = ()

    @property
    def has_lane(self) -> bool:
        """True for what changes so much that it is built beside the base and not in its place."""
        return self.origin not in ("unfix", "mutant", "revert")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What is built: a base and an ordered list of series."""

    name: str
    base: Base
    series: tuple[Series, ...] = ()

    @property
    def patches(self) -> tuple[Path, ...]:
        """Every patch file in the order in which it is applied."""
        return tuple(patch for one in self.series for patch in one.patches[self.base.name])


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchCheck:
    """What the gates said of one patch: for each gate, in their order, what is wrong.

    No complaint means that the patch passed; a gate that is missing was not reached.
    ``subject`` is the first line of the commit message.
    """

    series: str
    patch: str
    subject: str
    gates: Mapping[str, tuple[str, ...]]

    @property
    def passed(self) -> bool:
        """True when at least one gate was reached and none of them complains."""
        return bool(self.gates) and not any(self.gates.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A built kernel. ``tree`` is the git tree id of its source, ``config_digest`` hex SHA-256."""

    stack: str
    base: str
    release: str
    series: tuple[str, ...]
    tree: str
    config: Path
    config_digest: str
    vmlinux: Path
    bzimage: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The guest's root: an erofs file, layers by name, and a digest over all of them."""

    root: Path
    layers: Mapping[str, Path]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """How guests run on this machine, and why that way.

    ``boot_s`` is what the probe boot took, in seconds; limits are scaled by it.
    """

    accelerator: str
    why: str
    cpu_model: str
    qemu: str
    cores: int
    boot_s: float


class Expect(StrEnum):
    """What an arm is expected to end with.

    ``FAIL`` is for the stack without the feature that a scenario is about: it must fail too
    in the way that the scenario says, which is its symptom.
    """

    PASS = "PASS"
    SYMPTOM = "SYMPTOM"
    FAIL = "FAIL"


class Outcome(StrEnum):
    """How one arm ended. It starts as MISS, on disk, before anything runs."""

    PASS = "PASS"
    SYMPTOM = "SYMPTOM"
    FAIL = "FAIL"
    CRASH = "CRASH"
    TIMEOUT = "TIMEOUT"
    ERROR = "ERROR"
    SKIP = "SKIP"
    MISS = "MISS"


class Verdict(StrEnum):
    """What the arms of one scenario say together."""

    CONFIRMED = "CONFIRMED"
    NOT_REPRODUCED = "NOT REPRODUCED"
    STILL_BROKEN = "STILL BROKEN"
    VACUOUS = "VACUOUS"
    BROKEN_TEST = "BROKEN TEST"
    WORKS = "WORKS"
    FAILS = "FAILS"

    @property
    def as_expected(self) -> bool:
        """True for the two verdicts that leave a run green."""
        return self in (Verdict.CONFIRMED, Verdict.WORKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at: what was seen, and what each kind of arm should show."""

    name: str
    observed: str
    good: str
    broken: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One stack on which a scenario is asked, with what is expected there.

    ``guests`` is how many guests it takes at a time; plans and results do not keep it.
    """

    scenario: str
    stack: str
    expect: Expect
    guests: int = field(default=1, compare=False)

    @property
    def folder(self) -> str:
        """The name of the arm's folder below the run's; one stack may be in both slots."""
        return f"{self.scenario}@{self.stack}.{self.expect.lower()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """What an arm came to, with its evidence.

    ``signature`` is one line that tells why the outcome is what it is. ``evidence`` holds
    ``errno``, ``records`` and ``lost`` where the scenario has them, and anything else that
    JSON can say. ``artifacts`` is the folder with the console, the records and the rest.
    ``known`` says that it was answered by an earlier run, of the same kernel.
    """

    arm: Arm
    outcome: Outcome = Outcome.MISS
    signature: str = "planned, never ran"
    seconds: float = 0.0
    boot: str = "cold"
    known: bool = False
    checks: tuple[Check, ...] = ()
    evidence: Mapping[str, object] = field(default_factory=dict)
    artifacts: str = ""

    @property
    def as_expected(self) -> bool:
        """True when the outcome is the one that the arm was planned with."""
        passes = self.arm.expect is Expect.PASS
        return self.outcome is (Outcome.PASS if passes else Outcome.SYMPTOM)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """All arms of one scenario and what they say together."""

    name: str
    verdict: Verdict
    arms: tuple[ArmResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """One whole run. ``started`` is UTC, ISO 8601 with a final Z; ``seconds`` wall time."""

    started: str
    seconds: float
    host: Host
    kernels: tuple[Kernel, ...]
    scenarios: tuple[ScenarioResult, ...]
    launcher: str = "qemu"
    folder: str = ""

    @property
    def as_expected(self) -> bool:
        """True when every verdict is green and there is at least one."""
        return bool(self.scenarios) and all(one.verdict.as_expected for one in self.scenarios)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """A patch with everything below it, and what was asked of that kernel.

    ``number`` counts the patches of the series; 0 is what the series stands on, and there the
    patch of ``check`` is empty. ``kernel`` is the name under which it was built, ``tree`` a git
    tree id, ``arms`` what each scenario came to, by name. ``known`` names the scenarios that
    were answered before.
    """

    number: int
    kernel: str
    tree: str
    check: PatchCheck
    arms: Mapping[str, ArmResult] = field(default_factory=dict)
    known: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixResult:
    """A series, patch by patch. ``started`` and ``seconds`` are as those of a run.

    ``stories`` tell for each scenario from which patch on it works, and ``faults`` are lines
    that say what is not as it should be.
    """

    started: str
    seconds: float
    series: str
    base: str
    config: str
    rows: tuple[MatrixRow, ...]
    stories: Mapping[str, str]
    faults: tuple[str, ...]

    @property
    def scenarios(self) -> tuple[str, ...]:
        """Their names, in the order of the columns."""
        return tuple(self.stories)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A commit that a bisection asked.

    ``like`` is ``good``, ``bad`` or ``skip``, and ``why`` a line that tells why it is that.
    ``name`` is what people call the commit: a patch's number, or the beginning of its id.
    """

    name: str
    commit: str
    subject: str
    like: str
    why: str
    arm: ArmResult | None = None
    known: bool = False

    @property
    def outcome(self) -> str:
        """What the scenario came to, or a dash where it could not be asked."""
        return self.arm.outcome.value if self.arm else "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class BisectResult:
    """Where a scenario turns ``turns`` (good or bad).

    ``tried`` are all commits that were asked, in that order. ``first`` is the first that turned
    and ``before`` the one below it; where commits had to be skipped there may be no ``first``,
    and ``candidates`` are those that it is among, as names with subjects.
    """

    scenario: str
    where: str
    turns: str
    seconds: float
    tried: tuple[Tried, ...]
    first: Tried | None
    before: Tried | None
    candidates: tuple[tuple[str, str], ...]


class Fate(StrEnum):
    """What became of a kernel without one hunk, in the words of mutation testing.

    ``KILLED`` by a scenario that shows something else without the hunk; ``STILLBORN`` as it does
    not build; ``EQUIVALENT`` as it is the same kernel; ``NO CODE`` as no kernel has the hunk in
    it; ``RECORDED`` as it is written down who missed it, and it was not asked again; ``SURVIVED``
    as nobody misses the hunk, or ``LISTED`` where it is written down why nobody need.
    """

    KILLED = "KILLED"
    STILLBORN = "STILLBORN"
    EQUIVALENT = "EQUIVALENT"
    NO_CODE = "NO CODE"
    RECORDED = "RECORDED"
    LISTED = "LISTED"
    SURVIVED = "SURVIVED"

    @property
    def may_change(self) -> bool:
        """Whether another configuration, with other code and scenarios, may tell otherwise."""
        return self in (Fate.EQUIVALENT, Fate.SURVIVED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A hunk that was taken away, and what became of the kernel without it.

    ``place`` is file and line in the whole series, ``text`` the hunk as a diff has it. ``by``
    names the scenario that killed it under the configuration ``config``, ``why`` is one line.
    """

    place: str
    text: str
    fate: Fate
    config: str = ""
    by: str = ""
    why: str = ""
    artifacts: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MutationResult:
    """All hunks of a series. ``whole`` is what each scenario shows with all of them.

    The configurations are the keys of ``whole``, in the order in which they were asked.
    ``faults`` are lines about the series as a whole, and about what is listed and need not be.
    """

    series: str
    base: str
    seconds: float
    whole: Mapping[str, Mapping[str, Outcome]]
    mutants: tuple[Mutant, ...]
    faults: tuple[str, ...]

    @property
    def survivors(self) -> tuple[Mutant, ...]:
        """The hunks that nobody misses, and of which nobody says why."""
        return tuple(one for one in self.mutants if one.fate is Fate.SURVIVED)
