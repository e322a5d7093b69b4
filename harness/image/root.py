"""The guest's root: what is in it, and the image that a guest boots with its layers.

The files beside this module say it: ``packages.txt``, ``files/`` (configuration that replaces
Debian's) and ``customize.sh`` (users, and what is left out). The same packages give the same
bytes, whoever makes them, and nothing of the host is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.image.bootstrap import Recipe, make
from harness.image.layer import LAYERS
from harness.model import Image
from harness.workspace import Workspace, digest

_HERE = Path(__file__).parent


def parse_packages(text: str) -> tuple[str, ...]:
    """The package names of ``packages.txt``: one a line, ``#`` begins a comment."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line)


def recipe() -> Recipe:
    """What makes ``root.erofs`` and ``packages.list`` (name, tab, version, a line each)."""
    return Recipe(
        kind="root",
        name="root",
        packages=parse_packages((_HERE / "packages.txt").read_text()),
        given=(_HERE / "customize.sh", _HERE / "files"),
        outputs=("root.erofs", "packages.list"),
    )


def build_image(
    workspace: Workspace, *, on_line: Callable[[str], None] | None = None, fresh: bool = False
) -> Image:
    """The image: its root and its layers, made where they are missing.

    ``fresh`` makes them again, of the packages that the archive has now. ``on_line`` is told
    what is done, how long it took and how big it got. Raises HostMissing for what the host
    lacks, HarnessError when mmdebstrap fails.
    """
    tell = on_line or (lambda _line: None)
    root = make(workspace, recipe(), fresh=fresh, on_line=tell)
    layers = {layer.name: make(workspace, layer, fresh=fresh, on_line=tell) for layer in LAYERS}
    parts = [part for name, path in layers.items() for part in (name, workspace.content_of(path))]
    return Image(root=root, layers=layers, digest=digest(workspace.content_of(root), *parts))
