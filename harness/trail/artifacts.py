"""The page of what one arm of a run left behind: its guests' logs, followed as those of hosts.

Logs in a folder of the arm's are of the host that the folder is named after, those beside it of
its one guest. Where a host collected what others sent, these others' own logs are read: an event
that is told by two would look like two.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from harness.trail import page, questions
from harness.trail.engine import open_engine
from harness.trail.index import describe, read_logs
from harness.trail.model import Model
from harness.trail.questions import Asked
from harness.trail.sources import Found, Source, find_sources
from harness.workspace import Workspace

_GUEST = "guest"
_NODE = re.compile(rb"^node=(\S+) ", re.MULTILINE)


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
    own = {one.host for one in found.sources}
    kept: list[Source] = []
    for one in found.sources:
        nodes = {node.decode(errors="replace") for node in _NODE.findall(one.path.read_bytes())}
        others = nodes - {one.host}
        if others and others <= own:
            found.notes.append(
                f"{one.path} has what {', '.join(sorted(others))} sent, and is not read:"
                " their own logs are"
            )
        else:
            beside = one.path.parent == folder
            kept.append(replace(one, host=_GUEST) if beside else one)
    found.sources = kept
    return found
