"""One HTML page of a run: a matrix of scenarios and stacks, and the evidence behind each cell.

Owns what the page shows and in which order; ``templates/`` owns how it looks. The page is one
file that loads nothing, works without JavaScript, and treats every artifact as hostile: Jinja
escapes it, and a content security policy lets only our own script run.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness import plain
from harness.model import ArmResult, Check, Expect, Kernel, Outcome, RunResult, ScenarioResult
from harness.report import evidence, terminal

CONSOLE_TAIL = 200
FILE_LIMIT = 200_000

_TEMPLATES = Path(__file__).parent / "templates"
_OURS = (Outcome.ERROR, Outcome.TIMEOUT, Outcome.MISS)
_COMMAND = "command.txt"
# Numbers, plain and hexadecimal: clocks, pids and addresses differ from boot to boot.
_NUMBER = re.compile(r"\b(?:0x)?[0-9a-f]*[0-9][0-9a-f]*\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Another page about the run; ``href`` is a relative URL.

    ``about`` tells it from others of that title; ``arm`` is the folder's name of the arm that it
    is about, if it is about one.
    """

    title: str
    href: str
    about: str
    arm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A check as the page shows it. ``reads`` says which kind of kernel it looks like."""

    check: Check
    wanted: str
    differs: bool
    reads: str


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """An artifact. ``same`` is the anchor of an earlier file with the same content, or nothing."""

    name: str
    anchor: str
    text: str
    left_off: int
    same: str = ""

    @property
    def lines(self) -> int:
        """How many lines of it are shown."""
        return len(self.text.splitlines())


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmView:
    """An arm and all that its folder holds."""

    result: ArmResult
    anchor: str
    tone: str
    rows: tuple[Row, ...]
    facts: tuple[tuple[str, str], ...]
    transcripts: tuple[File, ...]
    records: tuple[File, ...]
    others: tuple[File, ...]
    console: File | None
    command: str
    reproduce: str
    script: str

    @property
    def mark(self) -> str:
        """A sign for the tone, so that colour says nothing alone."""
        return {"good": "✓", "symptom": "✓", "bad": "✗", "ours": "!", "skip": "-"}[self.tone]

    @property
    def earlier(self) -> str:
        """The console before its tail."""
        return "\n".join(self.console.text.splitlines()[:-CONSOLE_TAIL]) if self.console else ""

    @property
    def tail(self) -> str:
        """The end of the console."""
        return "\n".join(self.console.text.splitlines()[-CONSOLE_TAIL:]) if self.console else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a record file; ``alone`` when another arm has none of its wording."""

    text: str
    alone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One arm's file in a comparison; None where the arm has no such file."""

    arm: ArmView
    file: File | None
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The files of one name, of all arms of a scenario."""

    name: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioView:
    """A scenario, its arms, and their records beside each other."""

    result: ScenarioResult
    anchor: str
    arms: tuple[ArmView, ...]
    records: tuple[Comparison, ...]

    def on(self, stack: str) -> ArmView | None:
        """The arm on a stack, where there is one."""
        return next((arm for arm in self.arms if arm.result.arm.stack == stack), None)


def open_templates(folder: Path) -> Environment:
    """The templates of a folder, for pages in which all that is said is escaped and clean."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        finalize=clean,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(result: RunResult, links: Sequence[Link] = ()) -> str:
    """The page. ``links`` lead to what other pages there are about the run, and about its arms."""
    names = Anchors()
    seen: dict[str, str] = {}
    views = [_view_scenario(one, names, seen) for one in result.scenarios]
    stacks = dict.fromkeys(kernel.stack for kernel in result.kernels)
    stacks |= dict.fromkeys(arm.arm.stack for one in result.scenarios for arm in one.arms)
    script = (_TEMPLATES / "run.js").read_text()
    return (
        open_templates(_TEMPLATES)
        .get_template("run.html.j2")
        .render(
            result=result,
            summary=terminal.summarise(result).partition("   (")[0],
            scenarios=views,
            stacks=[name for name in stacks if any(view.on(name) for view in views)],
            kernels=[(kernel, _release(kernel, result)) for kernel in result.kernels],
            odd=[arm for view in views for arm in view.arms if not arm.result.as_expected],
            links=links,
            # Both are files of ours, and escaping would break them.
            style=Markup((_TEMPLATES / "run.css").read_text()),
            script=Markup(script),
            script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            console_tail=CONSOLE_TAIL,
        )
    )


class Anchors:
    """Fragment identifiers: one for each thing, never the same twice."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def make(self, *parts: str) -> str:
        """An identifier that shows what it stands for."""
        wish = "-".join(re.sub(r"[^A-Za-z0-9._-]+", "-", part) for part in parts)
        name, number = wish, 1
        while name in self._used:
            number += 1
            name = f"{wish}-{number}"
        self._used.add(name)
        return name


def _release(kernel: Kernel, result: RunResult) -> str:
    """What the kernel calls itself; one that came ready-made says so only in a guest."""
    told = (
        str(arm.evidence["release"])
        for one in result.scenarios
        for arm in one.arms
        if arm.arm.stack == kernel.stack and "release" in arm.evidence
    )
    return kernel.release or next(told, "unknown")


def _view_scenario(one: ScenarioResult, names: Anchors, seen: dict[str, str]) -> ScenarioView:
    anchor = names.make("scenario", one.name)
    arms = tuple(_view_arm(arm, names, seen) for arm in one.arms)
    return ScenarioView(result=one, anchor=anchor, arms=arms, records=_compare(arms))


def _view_arm(arm: ArmResult, names: Anchors, seen: dict[str, str]) -> ArmView:
    anchor = names.make("arm", arm.arm.scenario, arm.arm.stack)
    files = {
        name: _view_file(path, name, anchor, names)
        for path in evidence.list_files(arm)
        for name in [evidence.name_of(path, arm)]
    }
    files = {name: file for name, file in files.items() if file.text.strip()}
    command = files.pop(_COMMAND, None)
    console = files.pop(evidence.CONSOLE, None)
    records = [f for f in files.values() if re.search(r"(^|/)records[^/]*\.log$", f.name)]
    transcripts = [f for f in files.values() if re.search(r"(^|/)transcript-[^/]*\.txt$", f.name)]
    others = [f for f in files.values() if f not in records and f not in transcripts]
    script = evidence.find_reproduce(arm)
    return ArmView(
        result=arm,
        anchor=anchor,
        tone=_tone(arm),
        rows=tuple(view_check(check, arm.arm.expect) for check in arm.checks),
        facts=tuple((_spell(name), _say(value)) for name, value in arm.evidence.items()),
        transcripts=tuple(transcripts),
        records=tuple(records),
        others=tuple(_once(file, seen) for file in others),
        console=console,
        command=command.text.strip() if command else "",
        reproduce=str(script) if script else "",
        script=evidence.read_end(script, FILE_LIMIT)[0] if script else "",
    )


def _tone(arm: ArmResult) -> str:
    if arm.as_expected:
        return "good" if arm.arm.expect is Expect.PASS else "symptom"
    if arm.outcome is Outcome.SKIP:
        return "skip"
    return "ours" if arm.outcome in _OURS else "bad"


def view_check(check: Check, expect: Expect) -> Row:
    """A check, and which kind of kernel it reads like."""
    if check.observed == check.good:
        reads = "either" if check.good == check.broken else "good"
    else:
        reads = "broken" if check.observed == check.broken else "neither"
    wanted = evidence.wanted(check, expect)
    return Row(check=check, wanted=wanted, differs=check.observed != wanted, reads=reads)


def _view_file(path: Path, name: str, arm: str, names: Anchors) -> File:
    text, left_off = evidence.read_end(path, FILE_LIMIT)
    return File(name=name, anchor=names.make(arm, name), text=text, left_off=left_off)


def _once(file: File, seen: dict[str, str]) -> File:
    """The file, or where its content stands already: arms of one kernel share much."""
    first = seen.setdefault(file.text, file.anchor)
    if first == file.anchor:
        return file
    return File(name=file.name, anchor=file.anchor, text="", left_off=0, same=first)


def _compare(arms: Sequence[ArmView]) -> tuple[Comparison, ...]:
    names = dict.fromkeys(file.name for arm in arms for file in arm.records)
    return tuple(_compare_file(name, arms) for name in names)


def _compare_file(name: str, arms: Sequence[ArmView]) -> Comparison:
    files = [next((f for f in arm.records if f.name == name), None) for arm in arms]
    worded = [{_NUMBER.sub("#", line) for line in file.text.splitlines()} for file in files if file]
    # What every arm has, numbers aside, tells none from another.
    common = set.intersection(*worded) if len(worded) > 1 else None
    columns = []
    for arm, file in zip(arms, files, strict=True):
        lines = tuple(
            Line(text=text, alone=common is not None and _NUMBER.sub("#", text) not in common)
            for text in (file.text.splitlines() if file else ())
        )
        columns.append(Column(arm=arm, file=file, lines=lines))
    return Comparison(name=name, columns=tuple(columns))


def clean(value: object) -> object:
    """What a template prints: text that a guest may have had a hand in is cleaned first."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else plain.clean(value)


def _spell(name: str) -> str:
    return name.removesuffix("_s").replace("_", " ") + (" (s)" if name.endswith("_s") else "")


def _say(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return str(value)
