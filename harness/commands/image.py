"""Make the guest's root."""

from __future__ import annotations

import argparse

from rich.console import Console

from harness.commands import output
from harness.commands.opening import open_lab
from harness.report import terminal


def add_words(parser: argparse.ArgumentParser) -> None:
    """Whether a root that is there will do."""
    parser.add_argument("--fresh", action="store_true", help="make it again, with today's packages")
    parser.add_argument("--json", action="store_true")


def act(options: argparse.Namespace) -> int:
    """Makes it, and tells where its parts are."""
    with open_lab() as (lab, screen):
        screen.step("making the guest's root")
        image = lab.make_image(fresh=options.fresh)
    if options.json:
        layers = {name: str(path) for name, path in image.layers.items()}
        output.print_json({"root": str(image.root), "layers": layers, "digest": image.digest})
    else:
        rows = [("root", str(image.root)), *((n, str(p)) for n, p in image.layers.items())]
        terminal.print_table(f"image {image.digest[:12]}", ("part", "file"), rows, Console())
    return 0
