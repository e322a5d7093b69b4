"""The rooms of the house: an import points left or down, never back."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import harness

ROOT = Path(harness.__file__).parent
# Left to right; a module may import its own room and those before it.
ROOMS = (
    ("model", "errors", "plain"),
    ("workspace", "proc", "slots"),
    ("debian", "cc"),
    ("kernel",),
    ("image",),
    ("guest",),
    ("audit",),
    ("trail",),
    ("scenario",),
    ("jobs",),
    ("questions",),
    ("report",),
    ("doctor",),
    ("plugin",),
    ("cluster",),
    ("cells",),
    ("bench",),
    ("compare",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
ORDER = {name: number for number, names in enumerate(ROOMS) for name in names}
# Rooms that are beside each other know nothing of each other.
STRANGERS = {
    ("image", "kernel"),
    ("guest", "kernel"),
    ("guest", "image"),
    ("audit", "kernel"),
    ("audit", "image"),
    ("audit", "guest"),
    ("trail", "kernel"),
    ("trail", "image"),
    ("trail", "guest"),
    ("report", "jobs"),
    ("report", "guest"),
    ("report", "kernel"),
    ("scenario", "guest"),
    ("scenario", "audit"),
}
MODULES = sorted(path for path in ROOT.rglob("*.py") if "tests" not in path.parts)
# Below 400 lines a module can be read in one go.
LONGEST = 450


def room_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(text: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "harness":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.removeprefix("harness.") if "harness" in node.module else "")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def mistakes_in(room: str, text: str) -> list[str]:
    wrong = []
    for name in imports_of(text):
        other = name.removeprefix("harness.").partition(".")[0]
        if other in ORDER and (ORDER[other] > ORDER[room] or (room, other) in STRANGERS):
            wrong.append(f"{room} imports {name}")
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_left(path: Path) -> None:
    if path == ROOT / "__init__.py":
        return
    assert mistakes_in(room_of(path), path.read_text()) == []
    assert len(path.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize(
    ("room", "text"),
    [
        ("model", "from harness.proc import run"),
        ("kernel", "from harness.guest import qemu"),
        ("audit", "import harness.guest.machine"),
        ("guest", "from harness import cli"),
    ],
)
def test_an_import_that_points_back_is_seen(room: str, text: str) -> None:
    assert mistakes_in(room, text)


def test_only_the_plugin_knows_pytest_and_only_the_command_line_exits() -> None:
    for path in MODULES:
        text = path.read_text()
        assert ("import pytest" not in text) or room_of(path) == "plugin", path
        assert ("sys.exit(" not in text) or path.name == "cli.py", path
        # What runs in a guest has no door of ours.
        assert "subprocess.run(" not in text or "payload" in path.parts, path


def test_the_generic_rooms_do_not_speak_of_audit() -> None:
    for room in ("kernel", "guest", "image", "report"):
        for path in (ROOT / room).rglob("*.py"):
            names = {
                node.id.lower()
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Name)
            }
            assert not {name for name in names if "audit" in name and "nsaudit" not in name}, path
