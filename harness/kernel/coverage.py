"""Which lines of the files that a stack's series change a kernel has run, as gcov counts them.

Only these files are counted, and others of the same name, and only where the configuration has
GCOV_KERNEL: a kernel that counts everything is much larger and slower
(Documentation/dev-tools/gcov.rst).
"""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import proc
from harness.kernel import kconfig
from harness.kernel.kconfig import Kconfig
from harness.model import Stack
from harness.workspace import Workspace

OPTION = "CONFIG_GCOV_KERNEL"
# What a guest had counted in the end, among an arm's artifacts.
COUNTS = "gcov.tar"
# Beside a kernel in the cache: what its compiler noted of each file, to read the counts with.
_NOTES = "gcov"
_CHANGED = re.compile(r"^\+\+\+ b/(\S+\.c)$", re.MULTILINE)

Counts = Mapping[str, Mapping[int, int]]


def make_words(stack: Stack, actual: Kconfig) -> Sequence[str]:
    """What make is told: to count each C file that the stack's series change."""
    if actual.options.get(OPTION) != "y":
        return ()
    changed = (_CHANGED.findall(path.read_text(errors="replace")) for path in stack.patches)
    stems = {Path(name).stem for names in changed for name in names}
    return [f"GCOV_PROFILE_{stem}.o=y" for stem in sorted(stems)]


def keep_notes(objects: Path, folder: Path) -> None:
    """Keeps the notes of a build whose kernel counts."""
    if not kconfig.is_built_in(objects / ".config", OPTION):
        return
    for note in objects.rglob("*.gcno"):
        kept = folder / _NOTES / note.relative_to(objects)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(note, kept)


def read_counts(workspace: Workspace, kernel: Path, counts: Path) -> Counts:
    """How often a guest ran each line that there is code for: by file of the source, and line.

    ``kernel`` is a kernel's folder in the cache, ``counts`` a tar file of what its guest had in
    debugfs below ``gcov``. What an inlined function of a header did is left out, and so is a file
    whose counts are of another build than its notes.
    """
    found: dict[str, Counter[int]] = {}
    with workspace.scratch() as scratch, tarfile.open(counts) as archive:
        members = {member.name: member for member in archive if member.isfile()}
        for note in sorted((kernel / _NOTES).rglob("*.gcno")):
            source = str(note.relative_to(kernel / _NOTES).with_suffix(".c"))
            data = source.removesuffix(".c") + ".gcda"
            name = next((one for one in members if one.endswith(f"/{data}")), None)
            content = archive.extractfile(members[name]) if name else None
            if content is None:
                continue
            (scratch / "it.gcda").write_bytes(content.read())
            shutil.copy(note, scratch / "it.gcno")
            words = ["gcov", "--json-format", "--stdout", "it.gcda"]
            said = proc.run(words, cwd=scratch, check=False)
            if said.status != 0:
                continue
            lines = found.setdefault(source, Counter())
            for one in json.loads(said.stdout)["files"]:
                if one["file"].endswith(f"/{source}") or one["file"] == source:
                    for line in one["lines"]:
                        lines[line["line_number"]] += line["count"]
    return found
