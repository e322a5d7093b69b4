"""One HTML page: a lane for each container, across hosts, with what it did and when.

The page is one file that loads nothing. What came from logs is hostile: Jinja escapes it, the
script takes it from JSON in which no ``<`` is left and only ever sets it as text, and a
content security policy lets no other script run. What would reorder or hide what is shown is
removed, as it is on a terminal. Without a script there is still the table.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.plain import clean
from harness.trail import questions
from harness.trail.asked import Asked
from harness.trail.model import Model

# What it is called beside the logs that it is about.
NAME = "trail.html"
# A page with more than this is no longer pleasant to open.
MOST_EVENTS = 20_000
MOST_UNATTRIBUTED = 500
_MOST_RECORDS = 2_000
_TEMPLATES = Path(__file__).parent / "templates"


def write_page(model: Model, asked: Asked, remarks: Sequence[str], path: Path) -> None:
    """Writes the page to a file. Raises OSError."""
    path.write_text(render(model, asked, remarks), encoding="utf-8")


def render(model: Model, asked: Asked, remarks: Sequence[str]) -> str:
    """The page: containers and events as they were asked for. ``remarks`` stand below.

    Which containers shared a network namespace, and what belongs to none that is known, are tables.
    """
    containers = questions.containers(model, asked).rows
    events = questions.events(model, replace(asked, inside=True, most=MOST_EVENTS))
    unattributed = questions.unattributed(model, replace(asked, most=MOST_UNATTRIBUTED))
    style = (_TEMPLATES / "trail.css").read_text(encoding="utf-8")
    script = (_TEMPLATES / "trail.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("trail.html").render(
        containers=_clean(containers),
        shared=_clean([_sharing(row, asked) for row in questions.shared_netns(model, asked).rows]),
        unattributed=_clean([_unattributed(row) for row in unattributed.rows]),
        unattributed_left_off=unattributed.left_off,
        whys=_clean(questions.why_unattributed(model, asked).rows),
        remarks=_clean(remarks),
        data=_clean(
            {
                "stays": containers,
                "events": [_event(row) for row in events.rows],
            }
        ),
        left_off=events.left_off,
        count=len(events.rows),
        hosts=sorted({row["host"] for row in containers}),
        style=Markup(style),
        script=Markup(script),
        digest=digest,
    )


def _event(row: Mapping[str, Any]) -> Mapping[str, Any]:
    names = ("time", "host", "boot", "container", "name", "role", "reason")
    shown = {name: row[name] for name in names}
    who = {name: row[name] for name in ("what", "auid", "ses", "success")}
    who["what"] = questions.brief(who["what"])
    return {**shown, **who, "records": [text[:_MOST_RECORDS] for text in row["records"]]}


def _sharing(row: Mapping[str, Any], asked: Asked) -> Mapping[str, Any]:
    ids = row["containers"].split(",")
    return {**row, "containers": [asked.names.name_of(one, row["host"]) or one for one in ids]}


def _unattributed(row: Mapping[str, Any]) -> Mapping[str, Any]:
    shown = {name: row[name] for name in ("time", "host", "boot", "serial", "why")}
    return {**shown, "what": questions.brief(row["what"])}


def _clean(value: Any) -> Any:
    """Each text as it is safe to show; bytes that are not UTF-8 as \\xNN."""
    if isinstance(value, str):
        return clean(value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
    if isinstance(value, Mapping):
        return {name: _clean(one) for name, one in value.items()}
    if isinstance(value, Sequence):
        return [_clean(one) for one in value]
    return value
