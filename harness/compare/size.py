"""How much longer a log becomes by a design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.audit.namespaces import NS_DEL, NS_INIT
from harness.audit.records import Record
from harness.compare.designs import Design
from harness.compare.truth import Container, Facts, Log
from harness.errors import HarnessError

# The workload's plainest case, and a container that does nothing but that.
CASE, ALONE = "plain", "plain-2"
DAY_S = 86_400
_NEWLINE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Bytes: more for each event of a container, of all that comes of its start and its end."""

    event: float
    life: int

    def day(self, events_s: float, starts_h: float) -> float:
        """Bytes a day at so many events a second and so many starts an hour."""
        return DAY_S * events_s * self.event + 24 * starts_h * self.life


def measure(design: Design, facts: Facts, logs: Mapping[str, Log]) -> Size:
    """From the log of one host. Raises HarnessError where it has not what is measured."""
    container = next((one for one in facts.containers if one.name == ALONE), None)
    deeds = [one for one in facts.deeds if one.case == CASE]
    if container is None or not deeds:
        raise HarnessError(f"the workload has no {ALONE} that does what is {CASE}")
    log = logs[container.host]
    serials = {log.serial(deed.by, deed.key) for deed in deeds}
    records = [one for one in log.records if one.serial in serials]
    more = sum(_more(design, one) for one in records)
    lives = _lives(design, container, log)
    return Size(event=more / len(serials), life=sum(_length(one) for one in lives))


def _length(record: Record) -> int:
    return len(record.text.encode("utf-8", "surrogateescape")) + _NEWLINE


def _more(design: Design, record: Record) -> int:
    """What a record is longer for a design: all of it, or the number at its end."""
    if design.owns(record.type):
        return _length(record)
    number = record.fields.get("record") if design.numbers else None
    return len(f" record={number}") if number else 0


def _lives(design: Design, container: Container, log: Log) -> Sequence[Record]:
    """The records of a container's birth and end, with what else is in those events."""
    if design.numbers:
        ops = {
            one.serial
            for one in log.records
            if one.type == "CONTAINER_OP"
            and container.contid in (one.fields.get("contid"), one.fields.get("old-contid"))
        }
        return [one for one in log.records if one.serial in ops]
    serial = log.serial("path", container.mark)
    found: list[Record] = []
    for kind in log.namespaces.own(container.namespaces):
        life = log.namespaces.life(kind, container.namespaces[kind], serial)
        found += [one for one in life if one]
    assert all(one.type in (NS_INIT, NS_DEL) for one in found)
    return found
