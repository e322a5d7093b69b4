"""The page of what one arm of a run left behind: its guests' logs, followed as those of hosts.

Logs in a folder of the arm's are of the host that the folder is named after, those beside it of
its one guest.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.trail import page, questions
from harness.trail.asked import Asked
from harness.trail.engine import open_engine
from harness.trail.index import describe, read_logs
from harness.trail.model import Model
from harness.trail.sources import Found, find_sources
from harness.workspace import Workspace

_GUEST = "guest"


def write_page(folder: Path, workspace: Workspace) -> Path | None:
    """Writes ``trail.html`` into a folder of logs; None where what they name is no container.

    Raises UsageError for a folder without logs, and OSError where the page cannot be written.
    """
    model = Model(read_logs(_find(folder), workspace, open_engine()))
    if not questions.containers(model, Asked()).rows:
        return None
    page.write_page(model, Asked(), describe(model.index), folder / page.NAME)
    return folder / page.NAME


def _find(folder: Path) -> Found:
    found = find_sources([str(folder)])
    found.sources = [
        replace(one, host=_GUEST) if one.path.parent == folder else one for one in found.sources
    ]
    return found
