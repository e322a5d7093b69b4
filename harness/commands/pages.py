"""The pages that other commands have of a run: the trail of each arm's logs, and a comparison."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from urllib.parse import quote

from harness.compare import kept
from harness.errors import HarnessError
from harness.model import RunResult
from harness.report.html import Link
from harness.trail.sources import names_containers
from harness.workspace import Workspace

_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)


def gather(result: RunResult, workspace: Workspace, report: Path) -> list[Link]:
    """Makes the pages of the arms, finds the others, and links all of them from a report.

    Raises HarnessError where a page cannot be written.
    """

    def link(page: Path, about: str, arm: str = "") -> Link:
        path = os.path.relpath(page.resolve(), report.absolute().parent.resolve())
        return Link(title=_title_of(page), href=quote(path, safe="/@"), about=about, arm=arm)

    return [*_trails(result, workspace, link), *_comparisons(result, workspace, link)]


def _trails(result: RunResult, workspace: Workspace, link: Callable[..., Link]) -> Iterator[Link]:
    for one in result.scenarios:
        for arm in one.arms:
            folder = Path(arm.artifacts)
            if not arm.artifacts or not folder.is_dir() or not names_containers(folder):
                continue
            # It takes a while to import, and most runs have nothing to follow.
            from harness.trail import artifacts

            try:
                page = artifacts.write_page(folder, workspace)
            except OSError as error:
                raise HarnessError(f"cannot write {error.filename}: {error.strerror}") from error
            if page:
                yield link(page, f"{one.name} on {arm.arm.stack}", arm.arm.folder)


def _comparisons(
    result: RunResult, workspace: Workspace, link: Callable[..., Link]
) -> Iterator[Link]:
    kernels = [(kernel.base, frozenset(kernel.series)) for kernel in result.kernels]
    for one in kept.find_comparisons(workspace.root / "runs", kernels):
        when = one.started[:16].replace("T", " ")
        yield link(one.page, f"compared on {one.base}, {when} UTC, in {one.page.parent.name}")


def _title_of(page: Path) -> str:
    found = _TITLE.search(page.read_text(encoding="utf-8"))
    return " ".join(unescape(found[1]).split()) if found else page.name
