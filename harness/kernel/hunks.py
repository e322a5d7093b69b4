"""The hunks of a series as pieces that can be taken away, one at a time.

A hunk is a run of lines that the whole series changes. Long additions, like a new file, are taken
paragraph by paragraph: that is how kernel code groups statements that belong together.
"""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.errors import SeriesError
from harness.kernel.tables import checked, read_toml
from harness.kernel.tree import Tree, git
from harness.workspace import digest

UNMISSED = "unmissed.toml"
_PLACE = re.compile(r"^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@", re.MULTILINE)
_FILE = re.compile(r"^\+\+\+ b/(.+?)\t?$", re.MULTILINE)
_CODE = ("*.c", "*.h", "*.S")
# What is compiled into a test, or into nothing, and why nobody can miss it there.
_NO_CODE = {
    "Documentation/*": "documentation",
    **dict.fromkeys(("tools/*", "samples/*"), "a program of user space"),
    **dict.fromkeys(("*_test.c", "*_kunit.c", "*/tests/*"), "a KUnit test"),
}
_PROSE = "comments and white space"
_WORD = re.compile(
    r"//[^\n]*|/\*.*?\*/|^#line \d+$"
    r"|(\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|\w+|[^\s\w])",
    re.DOTALL | re.MULTILINE,
)
_PAIRS = {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunk:
    """Lines that a series adds from ``line`` on in the file as it leaves it, and those it takes.

    ``no_code`` says why no kernel has them in it; it is empty where one has. ``before`` counts
    the hunks of the file that change the same lines further up.
    """

    file: str
    line: int
    added: tuple[str, ...]
    removed: tuple[str, ...] = ()
    no_code: str = ""
    before: int = 0

    @property
    def starts(self) -> str:
        """The first line that says something; of one that only takes lines, with a minus."""
        for sign, lines in (("", self.added), ("-", self.removed)):
            for line in lines:
                if line.strip():
                    return sign + line.strip()
        return ""

    @property
    def place(self) -> str:
        """Where it is, as compilers write it."""
        return f"{self.file}:{self.line}"

    @property
    def key(self) -> str:
        """A short name for it, by what it changes: the same when others move it."""
        return digest(self.file, str(self.before), *self.added, "", *self.removed)[:12]

    @property
    def text(self) -> str:
        """Its lines, as a diff has them."""
        lines = [f"-{line}" for line in self.removed] + [f"+{line}" for line in self.added]
        return "\n".join(lines)

    def taken_from(self, content: str) -> str:
        """The file's content without the hunk.

        Blank lines stand for what it adds, or a directive where it takes more, so that what follows
        keeps its line numbers, which are in a kernel wherever it may warn: it is seen to be the
        same without a hunk then.
        """
        lines = content.split("\n")
        first = self.line - 1
        end = first + len(self.added)
        assert tuple(lines[first:end]) == self.added
        # Within a macro, a blank line would be its end, and a directive no directive.
        changed = self.added or self.removed
        in_macro = bool(changed) and changed[-1].endswith("\\")
        more = len(self.added) - len(self.removed)
        keeps = ["\\" if in_macro else ""] * more
        if more < 0 and not in_macro:
            keeps = [f"#line {end + 1}"]
        return "\n".join([*lines[:first], *self.removed, *keeps, *lines[end:]])


def find_hunks(tree: Tree, below: str, whole: str) -> list[Hunk]:
    """The hunks between two commits. What is no code is in one piece."""
    same = Counter[tuple[str, tuple[str, ...], tuple[str, ...]]]()
    numbered = []
    for hunk in _find(tree, below, whole):
        change = hunk.file, hunk.added, hunk.removed
        numbered.append(replace(hunk, before=same[change]))
        same[change] += 1
    return numbered


def is_in(hunk: Hunk, patterns: Sequence[str]) -> bool:
    """Whether its file or its place matches one of the patterns, if there are any."""
    return not patterns or any(
        fnmatch.fnmatch(name, one) for one in patterns for name in (hunk.file, hunk.place)
    )


def _find(tree: Tree, below: str, whole: str) -> Iterator[Hunk]:
    form = ("--unified=0", "--no-color", "--no-renames", "--no-ext-diff", "--diff-filter=AM")
    said = git(tree.folder, "diff", *form, below, whole)
    for part in re.split(r"^diff --git .*$", said, flags=re.MULTILINE)[1:]:
        name = _FILE.search(part)
        if name is None:
            continue
        if why := why_no_code(name[1]):
            for hunk in parse_hunks(name[1], part, cut=False):
                yield replace(hunk, no_code=why)
            continue
        content = read_file(tree, whole, name[1])
        code = words_of(content)
        for hunk in parse_hunks(name[1], part):
            same = words_of(hunk.taken_from(content)) == code
            yield replace(hunk, no_code=_PROSE) if same else hunk


def read_file(tree: Tree, commit: str, name: str) -> str:
    """A file's content at a commit, whole."""
    return git(tree.folder, "show", f"{commit}:{name}") + "\n"


def why_no_code(name: str) -> str:
    """Why a file is not compiled into a kernel that is no test of itself; empty where it is."""
    for pattern, why in _NO_CODE.items():
        if fnmatch.fnmatch(name, pattern):
            return why
    return "" if any(fnmatch.fnmatch(name, one) for one in _CODE) else "neither C nor assembler"


def parse_hunks(name: str, diff: str, *, cut: bool = True) -> Iterator[Hunk]:
    """The pieces of one file's diff, which has no context."""
    places = list(_PLACE.finditer(diff))
    for place, after in zip(places, [*places[1:], None], strict=True):
        body = diff[place.end() : after.start() if after else len(diff)].split("\n")[1:]
        removed = tuple(line[1:] for line in body if line.startswith("-"))
        added = tuple(line[1:] for line in body if line.startswith("+"))
        line = int(place[1])
        if not added:
            # git names the line before then.
            yield Hunk(file=name, line=line + 1, added=(), removed=removed)
        for piece in _paragraphs(added) if cut or not added else [added]:
            yield Hunk(file=name, line=line, added=piece, removed=removed)
            line += len(piece)
            removed = ()


def _paragraphs(lines: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Lines up to the blank ones that end a paragraph, and with these.

    The first and the last of a function hold a bracket that the other closes or opens: there the
    statements are pieces of their own.
    """
    piece: list[str] = []
    for line in lines:
        if line.strip() and piece and not piece[-1].strip():
            yield from _cut(piece)
            piece = []
        piece.append(line)
    yield from _cut(piece)


def _cut(lines: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The lines, cut after each bracket that stays open and before each that was open already."""
    opened: list[tuple[str, int]] = []
    cuts = {0, len(lines)}
    # What a comment says in brackets is prose.
    code = _WORD.sub(lambda one: one[1] or "\n" * one[0].count("\n"), "\n".join(lines))
    for number, line in enumerate(code.split("\n")):
        for word in words_of(line):
            if word in _PAIRS.values():
                opened.append((word, number))
            elif word in _PAIRS:
                if opened and opened[-1][0] == _PAIRS[word]:
                    opened.pop()
                else:
                    cuts.add(number)
    cuts |= {number + 1 for _, number in opened}
    places = sorted(cuts)
    for start, end in itertools.pairwise(places):
        yield tuple(lines[start:end])


def words_of(text: str) -> list[str]:
    """What a compiler makes code of: no comments, no white space, no numbers of lines."""
    return [found for found in _WORD.findall(text) if found]


def is_balanced(hunk: Hunk) -> bool:
    """Whether what is left without the hunk still has its brackets in pairs."""
    return _left_open(hunk.added) == _left_open(hunk.removed)


def _left_open(lines: Sequence[str]) -> str:
    """The brackets that these lines close or open for others."""
    left = ""
    for word in words_of("\n".join(lines)):
        if word in _PAIRS.values():
            left += word
        elif word in _PAIRS:
            left = left[:-1] if left.endswith(_PAIRS[word]) else left + word
    return left


@dataclass(frozen=True, slots=True, kw_only=True)
class Excuses:
    """What ``unmissed.toml`` of a series says need not be as it should, each with its reason.

    ``hunks`` are hunks that nobody need miss, as tables with ``file`` and ``starts``, the first
    line of the hunk; each stands for one of them, and one that says how many ``times`` is here so
    often. Those that are for another ``base`` are not here. ``strays`` are scenarios that an unfix
    turns red besides its own.
    """

    hunks: Sequence[Mapping[str, str]] = ()
    strays: Mapping[str, str] = field(default_factory=dict)


def load_excuses(folder: Path, base: str) -> Excuses:
    """The tables ``[[hunk]]`` and ``[[stray]]``. Raises SeriesError for anything else."""
    file = folder / UNMISSED
    if not file.is_file():
        return Excuses()
    table = read_toml(file)
    where = f"{folder.name}/{UNMISSED}"
    if odd := sorted(set(table) - {"hunk", "stray"}):
        raise SeriesError(f"{where}: unknown key {odd[0]!r}", hint="known: [[hunk]], [[stray]]")
    hunk = {"file": str, "starts": str, "reason": str, "base": str, "times": int}
    stray = dict.fromkeys(("scenario", "reason"), str)
    strays = [checked(one, stray, f"{where}: [[stray]]", {}) for one in table.get("stray", [])]
    listed = [
        checked(one, hunk, f"{where}: [[hunk]]", {"base": base, "times": 1})
        for one in table.get("hunk", [])
    ]
    here = [one for one in listed if one.pop("base") == base]
    return Excuses(
        hunks=[one for one in here for _ in range(one.pop("times"))],
        strays={one["scenario"]: one["reason"] for one in strays},
    )
