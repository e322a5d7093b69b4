"""What an arm left behind, as text that is safe to show.

Owns the reading of artifact folders (``console.log``, ``records*.log``, ``transcript-*.txt``
and the like; where there were several hosts, a folder for each), and which checks of an arm are
worth a reader's eye. Knows no output format.
"""

from __future__ import annotations

from pathlib import Path

from harness.model import ArmResult, Check, Expect
from harness.plain import clean, one_line

CONSOLE = "console.log"
REPRODUCE = "reproduce"


def wanted(check: Check, expect: Expect) -> str:
    """What an arm with this expectation should have shown."""
    return check.good if expect is Expect.PASS else check.broken


def differing(arm: ArmResult) -> tuple[Check, ...]:
    """The checks that did not show what this arm should show."""
    return tuple(one for one in arm.checks if one.observed != wanted(one, arm.arm.expect))


def describe(arm: ArmResult) -> tuple[str, ...]:
    """Lines that explain an arm: why, the checks that differ, where to look, how to repeat."""
    lines = [one_line(arm.signature)]
    for check in differing(arm):
        seen, should = one_line(check.observed), one_line(wanted(check, arm.arm.expect))
        lines.append(f"{one_line(check.name)}: observed {seen}, wanted {should}")
    if arm.artifacts:
        lines.append(f"artifacts: {arm.artifacts}")
    if script := find_reproduce(arm):
        lines.append(f"reproduce: {script}")
    return tuple(lines)


def find_reproduce(arm: ArmResult) -> Path | None:
    """The script that repeats this one arm, where there is one."""
    path = Path(arm.artifacts, REPRODUCE)
    return path if arm.artifacts and path.is_file() else None


def list_files(arm: ArmResult) -> tuple[Path, ...]:
    """The plain text artifacts, by name; those of single hosts come last."""
    if not arm.artifacts:
        return ()
    # An arm that never ran has no folder, and a report must still be written.
    folder = Path(arm.artifacts)
    found = [*sorted(folder.glob("*")), *sorted(folder.glob("*/*"))]
    return tuple(one for one in found if one.suffix in (".log", ".txt") and one.is_file())


def name_of(path: Path, arm: ArmResult) -> str:
    """What a report calls an artifact: ``records.log``, or ``HOST/records.log``."""
    return str(path.relative_to(arm.artifacts))


def read_end(path: Path, limit: int) -> tuple[str, int]:
    """The last ``limit`` bytes of a file, clean, and how many bytes before them were left off.

    A file that is gone reads as an empty one.
    """
    try:
        with path.open("rb") as handle:
            size = handle.seek(0, 2)
            left_off = max(0, size - limit)
            handle.seek(left_off)
            return clean(handle.read().decode(errors="replace")), left_off
    except OSError:
        return "", 0


def read_console(arm: ArmResult, lines: int) -> str:
    """The last lines of the arm's console, without the empty ones at the end.

    Where there were several hosts, those of each, below its name.
    """
    if not arm.artifacts:
        return ""
    own = Path(arm.artifacts, CONSOLE)
    if own.is_file():
        return _last_lines(own, lines)
    hosts = sorted(Path(arm.artifacts).glob(f"*/{CONSOLE}"))
    return "\n".join(f"{one.parent.name}:\n{_last_lines(one, lines)}" for one in hosts)


def _last_lines(path: Path, lines: int) -> str:
    text, _ = read_end(path, lines * 400)
    return "\n".join(text.rstrip().splitlines()[-lines:])
