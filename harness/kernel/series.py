"""Reads ``kernel-patches/``: which series there are, and which stacks are built of them.

``stacks.toml`` has one table a family: ``series`` in the order in which they are applied, and
the ``bases`` it is kept for; the stack of family F on base B is called ``F-B``. The unpatched
stacks, ``vanilla-B``, need no entry. A series folder holds ``series.toml`` and one folder of
``git format-patch`` files for each base.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from harness.errors import SeriesError, UsageError
from harness.kernel.sources import load_bases
from harness.kernel.tables import checked, read_toml
from harness.model import Base, Series, Stack

_T = TypeVar("_T")

ORIGINS = ("ours", "unfix", "mutant", "upstream", "list", "revert")
_SERIES_DEFAULTS: Mapping[str, object] = {
    "needs": [],
    "proves": [],
    "without": [],
    "selftests": [],
}
_SERIES_KEYS = {"title": str, "origin": str, **dict.fromkeys(_SERIES_DEFAULTS, list)}
_STACK_KEYS = {"series": list, "bases": list}


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Everything that can be built, by name."""

    bases: Mapping[str, Base]
    series: Mapping[str, Series]
    stacks: Mapping[str, Stack]

    def require_stack(self, name: str) -> Stack:
        """The stack of that name; UsageError names near misses."""
        return _require(self.stacks, name, "stack", "nsaudit stacks lists them")

    def require_base(self, name: str) -> Base:
        """The base of that name; UsageError names near misses."""
        return _require(self.bases, name, "base", "nsaudit stacks lists them")

    def stack_of(self, name: str, base: str) -> Stack:
        """A series on a base, after all that it needs; it need not be in ``stacks.toml``.

        Raises UsageError for what there is not.
        """
        last = _require(self.series, name, "series", "they are the folders of kernel-patches/")
        chosen = self._with_needs(last, ())
        for one in chosen:
            if not one.patches.get(self.require_base(base).name):
                known = ", ".join(known for known, patches in one.patches.items() if patches)
                raise UsageError(
                    f"series {one.name} has no patches for base {base}",
                    hint=f"it has some for {known or 'none'}",
                )
        short = name.rpartition("/")[2]
        return Stack(name=f"{short}-{base}", base=self.bases[base], series=chosen)

    def base_of(self, stack: Stack) -> Stack:
        """What a stack is compared with: the stack of all that its series need.

        That is the unpatched one where they need nothing. Raises SeriesError where there is no
        such stack.
        """
        needed = {need for one in stack.series for need in one.needs}
        for other in self.stacks.values():
            if other.base == stack.base and {one.name for one in other.series} == needed:
                return other
        raise SeriesError(
            f"no stack on {stack.base.name} has {', '.join(sorted(needed))} and nothing else,"
            f" which {stack.name} needs",
            hint="name one in kernel-patches/stacks.toml",
        )

    def _with_needs(self, last: Series, above: tuple[str, ...]) -> tuple[Series, ...]:
        if last.name in above:
            raise SeriesError(f"series {last.name} needs itself: {' needs '.join(above)}")
        found: dict[str, Series] = {}
        for need in last.needs:
            if need not in self.series:
                raise SeriesError(f"series {last.name} needs {need!r}, which does not exist")
            below = self._with_needs(self.series[need], (*above, last.name))
            found |= {one.name: one for one in below}
        return (*found.values(), last)


def _require(known: Mapping[str, _T], name: str, kind: str, listing: str) -> _T:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    meant = f"did you mean {', '.join(near)}?    " if near else ""
    raise UsageError(f"there is no {kind} {name!r}", hint=f"{meant}{listing}")


def load(folder: Path) -> Catalogue:
    """Reads a whole ``kernel-patches`` folder. Raises SeriesError for what is malformed."""
    bases = load_bases(folder / "bases.toml")
    series = {
        str(path.parent.relative_to(folder)): _load_series(path, folder)
        for path in sorted(folder.rglob("series.toml"))
    }
    stacks = {
        f"vanilla-{name}": Stack(name=f"vanilla-{name}", base=base) for name, base in bases.items()
    }
    path = folder / "stacks.toml"
    for family, table in read_toml(path).items():
        where = f"{path.name}: [{family}]"
        entry = checked(table, _STACK_KEYS, where, {})
        for base in entry["bases"]:
            stack = _make_stack(f"{family}-{base}", base, entry["series"], bases, series, where)
            if stack.name in stacks:
                raise SeriesError(f"{where}: there are two stacks called {stack.name}")
            stacks[stack.name] = stack
    return Catalogue(bases=bases, series=series, stacks=stacks)


def _load_series(path: Path, folder: Path) -> Series:
    name = str(path.parent.relative_to(folder))
    entry = checked(read_toml(path), _SERIES_KEYS, f"{name}/series.toml", _SERIES_DEFAULTS)
    if entry["origin"] not in ORIGINS:
        raise SeriesError(
            f"{name}/series.toml: origin {entry['origin']!r} is unknown",
            hint=f"one of: {', '.join(ORIGINS)}",
        )
    patches = {
        base.name: tuple(sorted(p for p in base.glob("*.patch") if not p.name.startswith("0000-")))
        for base in sorted(path.parent.iterdir())
        if base.is_dir()
    }
    return Series(
        name=name,
        title=entry["title"],
        origin=entry["origin"],
        needs=tuple(entry["needs"]),
        proves=tuple(entry["proves"]),
        patches=patches,
        without=tuple(entry["without"]),
        selftests=tuple(entry["selftests"]),
    )


def _make_stack(
    name: str,
    base: str,
    wanted: list[str],
    bases: Mapping[str, Base],
    series: Mapping[str, Series],
    where: str,
) -> Stack:
    if base not in bases:
        raise SeriesError(f"{where}: there is no base {base!r}", hint="bases stand in bases.toml")
    chosen: list[Series] = []
    for one in wanted:
        if one not in series:
            raise SeriesError(f"{where}: there is no series {one!r}", hint=f"{one}/series.toml?")
        if not series[one].patches.get(base):
            raise SeriesError(
                f"{where}: series {one} has no patches for base {base}",
                hint=f"put them in {one}/{base}/",
            )
        missing = set(series[one].needs) - {done.name for done in chosen}
        if missing:
            raise SeriesError(f"{where}: series {one} needs {', '.join(sorted(missing))} before it")
        chosen.append(series[one])
    return Stack(name=name, base=bases[base], series=tuple(chosen))
