"""Containers as their ids are in records: CONTAINER_ID, and CONTAINER_OP, which gives one."""

from __future__ import annotations

from dataclasses import dataclass

from harness.audit.records import Record


@dataclass(slots=True)
class Birth:
    """Who put which task into a container. ``refused`` when the kernel did not let it."""

    boot: int
    time_ms: int
    serial: int
    container: str
    parents: str
    opid: str
    call: Record | None = None

    @property
    def refused(self) -> bool:
        """Whether the write that this is about failed."""
        return bool(self.call and self.call.fields.get("success") == "no")


def split_list(text: str) -> list[tuple[str, str]]:
    """The containers in a list as records have it, each with what it is inside of, outwards.

    ``4713,^4712,^4711`` is one container and its two ancestors; ``-1`` and 2**64 - 1 are none.
    """
    found: list[tuple[str, list[str]]] = []
    for part in text.split(","):
        if part.startswith("^") and found:
            found[-1][1].append(part[1:])
        elif part.isdecimal() and part != "18446744073709551615":
            found.append((part, []))
    return [(own, ",".join(parents)) for own, parents in found]
