"""The designs, and how a log of a kernel that has several is made one of a single design."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.errors import UsageError

_TYPE = re.compile(rb"(?:node=\S+ )?type=(\S+) ")
_NUMBERED = re.compile(rb" record=\d+(?=\x1d|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A series that says whose an event is.

    ``types`` are its records, by the number that a daemon writes that does not know them.
    ``numbers`` is set when it puts a number at the end of others' records, too. ``aux`` is the
    record that an event has more, ``kind`` the task of ``harness.bench.cost`` that causes it.
    """

    name: str
    title: str
    types: Mapping[str, str]
    aux: str
    kind: str
    numbers: bool = False

    def owns(self, kind: str) -> bool:
        """Whether a record of this type, as it stands in a log, is this design's."""
        return (
            kind in self.types.values() or kind.removeprefix("UNKNOWN[").rstrip("]") in self.types
        )


DESIGNS: Mapping[str, Design] = {
    "contid": Design(
        name="contid",
        title="an id in the task, set by the orchestrator",
        types={"1340": "CONTAINER_ID", "1344": "CONTAINER_OP", "1345": "SET_CAPCONTID"},
        aux="CONTAINER_ID",
        kind="contained",
        numbers=True,
    ),
    "nsid": Design(
        name="nsid",
        title="the list of the task's namespaces",
        types={"1341": "NS_INFO", "1342": "NS_INIT", "1343": "NS_DEL"},
        aux="NS_INFO",
        kind="foreign",
    ),
}


def require_designs(names: Sequence[str]) -> tuple[Design, ...]:
    """The designs of these names. Raises UsageError for an unknown one, and for less than two."""
    for name in names:
        if name not in DESIGNS:
            raise UsageError(f"there is no design {name!r}", hint=f"known: {', '.join(DESIGNS)}")
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise UsageError("it takes two designs to compare", hint="nsaudit compare contid nsid")
    return tuple(DESIGNS[name] for name in names)


def strip(log: bytes, design: Design) -> bytes:
    """The lines of a log that a kernel with this design alone would have caused."""
    foreign = [one for one in DESIGNS.values() if one is not design]
    numbered = any(one.numbers for one in foreign)
    kept = []
    for line in log.splitlines(keepends=True):
        # Not splitlines() of text: that would take auditd's separator for the end of a line.
        found = _TYPE.match(line)
        kind = found[1].decode(errors="replace") if found else ""
        if any(one.owns(kind) for one in foreign):
            continue
        kept.append(_NUMBERED.sub(b"", line) if numbered else line)
    return b"".join(kept)
