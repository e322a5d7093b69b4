"""What checkers and compilers complain of, as values that two versions can be compared by.

Owns the reading of three texts: checkpatch.pl's (``--terse --showfile --show-types``),
kernel-doc's and that of a build. Line numbers shift from patch to patch, so a complaint is the
same when its file and its words are; how often it stands there counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_STYLE = re.compile(r"(?P<file>[^:\s]*):(?P<line>\d+): (?P<text>(?:ERROR|WARNING|CHECK):\w+: .+)")
# gcc, kernel-doc and objtool; the last names no line.
_WARNING = re.compile(r"(?P<file>[^:\s]+):(?:(?P<line>\d+):)?(?:\d+:)? [Ww]arning: (?P<text>.+)")
# kernel-doc since it is written in Python.
_DOCUMENT = re.compile(r"Warning: (?P<file>[^:\s]+):(?P<line>\d+) (?P<text>.+)")
_LINK = re.compile(r"WARNING: (modpost: .+)")
_COMPILED = re.compile(r"  (?:CC|AS)(?: \[M\])? +(?P<stem>\S+)\.o")


@dataclass(frozen=True, slots=True, order=True)
class Complaint:
    """One complaint; ``line`` is 0 where none is named, ``file`` empty for the message."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        where = self.file or "commit message"
        return f"{where}:{self.line}: {self.text}" if self.line else f"{where}: {self.text}"


def parse_checkpatch(text: str) -> tuple[Complaint, ...]:
    """What checkpatch says. Lines of a commit message it does not number in a useful way."""
    return tuple(
        Complaint(found["file"], int(found["line"]) if found["file"] else 0, found["text"])
        for found in map(_STYLE.fullmatch, text.splitlines())
        if found
    )


def parse_warnings(text: str, source: str = "") -> tuple[Complaint, ...]:
    """The warnings of a build or of kernel-doc, sorted, each place once.

    A header's warnings come again with each file that includes it. ``source`` is the name of
    the folder that holds the tree: what stands before it in a path is not part of the file.
    """
    found = set()
    for line in text.splitlines():
        if link := _LINK.match(line):
            found.add(Complaint("vmlinux.o", 0, link[1]))
        elif one := _WARNING.match(line) or _DOCUMENT.match(line):
            # Objects are built outside of the tree, whose files are named from there.
            file = one["file"].rpartition(f"/{source}/")[2].removeprefix("./")
            found.add(Complaint(file, int(one["line"] or 0), one["text"]))
    return tuple(sorted(found))


def parse_compiled(text: str) -> frozenset[str]:
    """The objects that a build compiled, as paths in the tree without their suffix."""
    return frozenset(one["stem"] for one in map(_COMPILED.match, text.splitlines()) if one)


def find_new(before: Iterable[Complaint], after: Iterable[Complaint]) -> tuple[Complaint, ...]:
    """What is in ``after`` more often than in ``before``, at whatever line.

    Of several that are alike nobody can say which is the new one: the last are taken.
    """
    known = Counter((one.file, one.text) for one in before)
    new = []
    for one in sorted(after):
        known[one.file, one.text] -= 1
        if known[one.file, one.text] < 0:
            new.append(one)
    return tuple(new)


def merge(
    known: Iterable[Complaint], seen: Sequence[Complaint], compiled: frozenset[str]
) -> tuple[Complaint, ...]:
    """The complaints of a whole tree after a build that compiled a part of it again.

    What was compiled has said everything anew, and with it what was linked of it. A header's
    complaints cannot be attributed: they stay, unless they were said again at another line.
    """
    done = compiled | {"vmlinux"} if compiled else compiled
    again = {(one.file, one.text) for one in seen}
    kept = {
        one
        for one in known
        if one.file.rpartition(".")[0] not in done and (one.file, one.text) not in again
    }
    return tuple(sorted(kept | set(seen)))
