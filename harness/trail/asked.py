"""What a question is narrowed to, and what answers it where nothing else is named.

It is known before any log is read, and before what answers is imported.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from harness.errors import UsageError
from harness.trail.names import Names

Key = tuple[int, int, int]
LAST = 1 << 62
DUCKDB = "duckdb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a question is narrowed to; empty is everything. Times are ms since 1970.

    ``inside`` leaves out the events that are of no container, ``most`` those after so many, and
    ``among`` those that are not among these, by boot, time and serial.
    """

    container: str = ""
    host: str = ""
    since_ms: int = 0
    until_ms: int = LAST
    auid: str = ""
    ses: str = ""
    inside: bool = False
    most: int = 0
    among: Collection[Key] | None = None
    names: Names = field(default_factory=Names)


def parse_time(text: str) -> int:
    """ms since 1970 of an ISO 8601 time (UTC if it names no zone) or of seconds since 1970."""
    try:
        if text.replace(".", "", 1).isdecimal() and len(text) > 8:
            return round(float(text) * 1000)
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a time", hint="2026-11-25T12:00:00") from error
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
