"""What else has to be compiled when a header of the user-space interface has other macros.

Nearly every file of a kernel includes such a header, and few know a number that a patch adds to
it. To ``make`` all of them are out of date. A macro means something only to a file that names it:
where nothing else in the header differs, it keeps its time, and the files that name the macro
get a new one.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# Its macros are numbers; headers of the kernel have functions too, with line numbers in them.
HEADERS = "include/uapi"
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_CONTINUED = re.compile(r"\\\n")
_DIRECTIVE = re.compile(r"\s*#\s*(\w+)\s*(.*)")
_DEFINED = re.compile(r"(\w+)(.*)")
_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class _Header:
    """``macros``: each name with its text and the conditions around it; ``rest``: other lines."""

    macros: Mapping[str, tuple[str, ...]]
    rest: tuple[str, ...]


def _parse(text: str) -> _Header:
    macros: dict[str, tuple[str, ...]] = {}
    rest: list[str] = []
    around: list[str] = []
    plain = _CONTINUED.sub(" ", _COMMENT.sub(" ", text))
    for line in filter(None, (" ".join(one.split()) for one in plain.splitlines())):
        word, said = found.groups() if (found := _DIRECTIVE.fullmatch(line)) else ("", "")
        if word == "define" and (named := _DEFINED.match(said)):
            # Defined twice, it is what its conditions say.
            macros[named[1]] = (*macros.get(named[1], ()), named[2], *around)
            continue
        rest.append(line)
        if word in ("if", "ifdef", "ifndef"):
            around.append(line)
        elif word in ("elif", "else") and around:
            around[-1] += f" {line}"
        elif word == "endif" and around:
            around.pop()
    return _Header(macros, tuple(rest))


def find_changed(before: str, after: str) -> frozenset[str] | None:
    """The macros that mean something else after a change of a header; None for any other change.

    Those that are defined by means of one count, too.
    """
    old, new = _parse(before), _parse(after)
    if old.rest != new.rest:
        return None
    names = {
        name
        for name in old.macros.keys() | new.macros.keys()
        if old.macros.get(name) != new.macros.get(name)
    }
    uses = [
        (name, frozenset(_WORD.findall(" ".join(texts))))
        for header in (old, new)
        for name, texts in header.macros.items()
    ]
    while more := {name for name, words in uses if words & names} - names:
        names |= more
    if any(names.intersection(_WORD.findall(line)) for line in new.rest):
        return None
    return frozenset(names)


@dataclass(frozen=True, slots=True)
class Before:
    """A header before it changed: its text, and its time in nanoseconds."""

    path: Path
    text: str
    changed_ns: int


def note(paths: Iterable[Path]) -> Iterator[Before]:
    """What there is of these headers now."""
    for path in paths:
        if path.is_file():
            yield Before(path, path.read_text(errors="replace"), path.stat().st_mtime_ns)


def keep_times(
    before: Iterable[Before], find_users: Callable[[frozenset[str]], Iterable[Path]]
) -> Iterator[Path]:
    """Gives headers their time back in which only macros have changed since ``note``.

    ``find_users`` finds the files that name one of some macros: they get a new time, and first,
    so that whoever is killed in between has too much compiled and not too little. Tells of each
    file that has another time now than git gave it.
    """
    for one in before:
        after = one.path.read_text(errors="replace") if one.path.is_file() else ""
        names = find_changed(one.text, after)
        if names is None:
            continue
        now = time.time_ns()
        for path in find_users(names) if names else ():
            if path != one.path:
                os.utime(path, ns=(now, now))
                yield path
        os.utime(one.path, ns=(one.changed_ns, one.changed_ns))
        yield one.path
