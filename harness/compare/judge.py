"""Holds what the trail says of each deed against the truth.

A container that has no name is what it is inside of, as far as that has one: who was inside of
a container that somebody knows is known to be that one's. What is of no container is the host's
only where the trail says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from harness.compare.designs import Design
from harness.compare.truth import Deed, Facts, Log, names_for
from harness.trail import page
from harness.trail.asked import Asked
from harness.trail.index import describe, read_logs
from harness.trail.model import HOST, KEY, Model
from harness.trail.names import Names
from harness.trail.sources import find_sources
from harness.workspace import Workspace


class Outcome(Enum):
    """How the truth was met."""

    RIGHT = "rightly"
    WRONG = "wrongly"
    NONE = "not at all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a trail says of an event: each container with its role, or why there is none."""

    named: tuple[tuple[str, str], ...] = ()
    reason: str = HOST
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A deed, the outcome, and what was said, in words."""

    deed: Deed
    outcome: Outcome
    words: str


def judge_log(
    design: Design, facts: Facts, folder: Path, logs: Mapping[str, Log], workspace: Workspace
) -> list[Judged]:
    """All deeds, judged by what the trail says of the logs in ``folder/HOST``.

    What it says is kept as ``folder/trail.html``.
    """
    names = names_for(design, facts, logs)
    model = Model(read_logs(find_sources([str(folder)]), workspace))
    page.write_page(model, Asked(names=names), describe(model.index), folder / page.NAME)
    said = read_trail(model, names)
    return [
        judge(deed, said.get((deed.host, logs[deed.host].serial(deed.by, deed.key)), Said()))
        for deed in facts.deeds
    ]


def read_trail(model: Model, names: Names) -> dict[tuple[str, int], Said]:
    """What the trail says of each event, by its host and serial."""
    hosts = {boot.number: boot.host for boot in model.index.boots}
    named: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for row in model.rows(model.attributed.select(*KEY, "container", "parents", "role")):
        host = hosts[row["boot"]]
        who = resolve([row["container"], *row["parents"].split(",")], host, names)
        named.setdefault((host, row["serial"]), []).append((row["role"], who))
    found = {key: Said(named=tuple(sorted(ones))) for key, ones in named.items()}
    for row in model.rows(model.others):
        found[hosts[row["boot"]], row["serial"]] = Said(reason=row["reason"], why=row["why"])
    return found


def resolve(chain: Iterable[str], host: str, names: Names) -> str:
    """The name of the first in a chain from the inside outwards that has one, or nothing."""
    return next(filter(None, (names.name_of(one, host) for one in chain)), "")


def judge(deed: Deed, said: Said) -> Judged:
    """The outcome of one deed."""
    who: Sequence[str] = [name for role, name in said.named if role == deed.role]
    truth = set(deed.truth)
    if not who and deed.role != "subject":
        words = said.why or f"nothing of the {deed.role}"
        return Judged(deed=deed, outcome=Outcome.NONE, words=words)
    if not who and not said.named and said.reason != HOST:
        return Judged(deed=deed, outcome=Outcome.NONE, words=said.why)
    if "" in who and truth:
        words = "a container that nobody named"
        return Judged(deed=deed, outcome=Outcome.NONE, words=words)
    outcome = Outcome.RIGHT if set(who) == truth else Outcome.WRONG
    return Judged(deed=deed, outcome=outcome, words=_words(who))


def _words(who: Iterable[str]) -> str:
    return " and ".join(sorted(one or "a container that nobody named" for one in set(who))) or (
        "the host"
    )
