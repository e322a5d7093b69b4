"""Comparisons that were made before and are kept: in the folder of a run of ``nsaudit compare``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ABOUT, RESULT, PAGE = "about.json", "compare.json", "compare.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A comparison of some designs on a base. ``started`` is UTC, ISO 8601."""

    page: Path
    base: str
    designs: frozenset[str]
    started: str


def find_comparisons(runs: Path, kernels: Iterable[tuple[str, frozenset[str]]]) -> list[Kept]:
    """The newest comparison of each set of designs that a kernel has all of, on that base.

    ``kernels`` are bases with series.
    """
    wanted = set(kernels)
    return [
        one
        for one in find_newest(runs)
        if any(base == one.base and one.designs <= has for base, has in wanted)
    ]


def find_newest(runs: Path) -> list[Kept]:
    """The newest comparison of each set of designs on each base.

    What cannot be read is no comparison.
    """
    found: dict[tuple[str, frozenset[str]], Kept] = {}
    for page in sorted(runs.glob(f"*/{PAGE}")):
        if one := _read(page):
            before = found.get((one.base, one.designs))
            if not before or before.started <= one.started:
                found[one.base, one.designs] = one
    return list(found.values())


def _read(page: Path) -> Kept | None:
    try:
        about = json.loads(page.with_name(ABOUT).read_text(encoding="utf-8"))
        result = json.loads(page.with_name(RESULT).read_text(encoding="utf-8"))
        return Kept(
            page=page,
            base=about["base"],
            designs=frozenset(result["designs"]),
            started=about["started"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
