"""What the workload said that it did: containers, deeds, and whose each deed is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.audit.namespaces import NS_DEL, NS_INIT
from harness.audit.records import Record, parse_log
from harness.compare.designs import Design
from harness.errors import HarnessError
from harness.trail.names import Names
from harness.trail.spaces import Namespaces

RULE = "deeds"
_FOLDER = "/run/deeds/"
_KILL = "62"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container as its orchestrator knows it: ``mark`` is what was done once it had started."""

    host: str
    name: str
    contid: str
    namespaces: Mapping[str, str]
    mark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something that was done, in one ``role``, by or to the containers in ``truth``."""

    host: str
    key: str
    case: str
    by: str
    role: str
    truth: tuple[str, ...]


@dataclass(slots=True)
class Facts:
    """What was said on all hosts. ``work`` has counts by the orchestrator's steps."""

    containers: list[Container] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)
    work: dict[str, dict[str, int]] = field(default_factory=dict)
    reused: tuple[str, ...] = ()


def read_facts(lines: Iterable[str]) -> Facts:
    """The facts in what the workload printed. Raises HarnessError for anything else."""
    facts = Facts()
    for line in lines:
        try:
            _take(facts, json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HarnessError(f"the workload says what is no fact: {line.strip()!r}") from error
    return facts


def _take(facts: Facts, one: dict[str, Any]) -> None:
    match one.pop("fact"):
        case "container":
            facts.containers.append(Container(**one))
        case "deed":
            facts.deeds.append(Deed(**{**one, "truth": tuple(one["truth"])}))
        case "work":
            for step, counts in one["steps"].items():
                known = facts.work.setdefault(step, {})
                for name, number in counts.items():
                    known[name] = known.get(name, 0) + number
        case "reused":
            facts.reused = tuple(one["kinds"])
        case other:
            raise ValueError(other)


class Log:
    """What is in one host's log: which event each deed is, and the lives of namespaces."""

    def __init__(self, data: bytes) -> None:
        self.records: Sequence[Record] = parse_log(data)
        self.places: dict[tuple[str, str], int] = {}
        lives = []
        for one in self.records:
            if key := _key_of(one):
                self.places[key] = one.serial
            if one.type in (NS_INIT, NS_DEL):
                lives.append(one)
        self.namespaces = Namespaces(lives)

    def serial(self, by: str, key: str) -> int:
        """The event of a deed. Raises HarnessError where the log has it not."""
        if (by, key) not in self.places:
            raise HarnessError(f"the log has no event of {by} {key}", hint="were records lost?")
        return self.places[by, key]


def _key_of(record: Record) -> tuple[str, str] | None:
    fields = record.fields
    if record.type == "PATH" and fields.get("name", "").startswith(_FOLDER):
        name = fields["name"].removeprefix(_FOLDER)
        return ("path", name) if name else None
    if record.type == "NETFILTER_PKT":
        return "packet", fields.get("mark", "")
    if record.type == "SYSCALL" and fields.get("syscall") == _KILL and fields.get("key") == RULE:
        return "signal", str(int(fields["a1"], 16))
    return None


def names_for(design: Design, facts: Facts, logs: Mapping[str, Log]) -> Names:
    """What orchestrators know with a design, as ``nsaudit trail --names`` takes it.

    With ids, what each id is called. With namespaces, what those are called that only one
    container had when it was registered: a number alone would be another's soon.
    """
    if design.numbers:
        return Names({one.contid: one.name for one in facts.containers if one.contid})
    known: dict[str, set[str]] = {}
    for one in facts.containers:
        log = logs[one.host]
        serial = log.serial("path", one.mark)
        for kind in log.namespaces.own(one.namespaces):
            name = log.namespaces.name(kind, one.namespaces[kind], serial)
            known.setdefault(f"{one.host}/{name}", set()).add(one.name)
    return Names({space: names.copy().pop() for space, names in known.items() if len(names) == 1})
