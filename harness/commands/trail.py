"""Follow containers through the audit logs of many hosts.

What is asked of the logs is known to ``harness.trail``. What answers takes a while to import, so
that it happens here only when the command runs.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from harness.errors import HarnessError, UsageError
from harness.plain import clean
from harness.report import terminal
from harness.trail.asked import DUCKDB, LAST, Asked, parse_time
from harness.trail.names import read_names
from harness.trail.sources import Found, find_sources
from harness.workspace import Workspace

if TYPE_CHECKING:
    from harness.trail.engine import Engine
    from harness.trail.index import Index
    from harness.trail.questions import Answer, Row

_PAUSE_S = 0.5
_QUESTIONS = {
    "containers": "which containers ran, where and when",
    "events": "what was done, by whom, and why it is said to be of a container",
    "hosts": "which hosts and boots there are, and what their kernels tell",
    "unattributed": "which events have no place, and why",
    "shared-netns": "which containers were in one network namespace",
}


def add_words(parser: argparse.ArgumentParser) -> None:
    """The question, the logs, what to narrow it to, and the form of the answer."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Follow containers through the audit logs of many hosts.\n\n" + "\n".join(
        f"  {name:<14}{text}" for name, text in _QUESTIONS.items()
    )
    parser.add_argument("question", choices=_QUESTIONS)
    parser.add_argument(
        "place", nargs="+", help="a log, a folder of logs, or HOST=PATH to say whose they are"
    )
    parser.add_argument("--container", default="", metavar="X", help="its id or its name")
    parser.add_argument("--host", default="", metavar="H", help="only on this host")
    parser.add_argument("--since", default="", metavar="T", help="not before (ISO 8601, UTC)")
    parser.add_argument("--until", default="", metavar="T", help="not after")
    parser.add_argument("--auid", default="", metavar="A", help="events: only of this login")
    parser.add_argument("--ses", default="", metavar="N", help="events: only of this session")
    parser.add_argument(
        "--names",
        action="append",
        default=[],
        metavar="F",
        help="names of containers, as JSON, or HOST=F; again for each file",
    )
    parser.add_argument(
        "--engine",
        default=DUCKDB,
        metavar="E",
        help=f"{DUCKDB}, or spark://HOST:PORT[?read=workers]",
    )
    parser.add_argument(
        "--follow", action="store_true", help="events: go on as the logs grow, until Ctrl-C"
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for each row")
    parser.add_argument("--parquet", type=Path, metavar="F", help="write the rows as Parquet")
    parser.add_argument("--html", type=Path, metavar="F", help="write a page with a timeline")


def act(options: argparse.Namespace) -> int:
    """Reads, asks, prints. What could not be read is told, and does not change the status."""
    asked = Asked(
        container=options.container,
        host=options.host,
        since_ms=parse_time(options.since) if options.since else 0,
        until_ms=parse_time(options.until) if options.until else LAST,
        auid=options.auid,
        ses=options.ses,
        names=read_names(options.names),
    )
    if options.follow:
        return _follow(options, asked)
    index = _read(find_sources(options.place), options.engine)

    from harness.trail import questions
    from harness.trail.index import describe
    from harness.trail.model import Model

    model = Model(index)
    asked = questions.find_names(model, asked)
    answer = questions.QUESTIONS[options.question](model, asked)
    if options.parquet:
        _write(options.parquet, lambda: _write_parquet(answer, options.parquet))
    if options.html:
        from harness.trail import page

        _write(options.html, lambda: page.write_page(model, asked, describe(index), options.html))
    if options.json:
        for row in answer.rows:
            sys.stdout.write(json.dumps(row) + "\n")
    elif not (options.parquet or options.html):
        columns, rows = _table(options.question, answer)
        terminal.print_table(answer.title, columns, rows, Console())
    for line in describe(index):
        terminal.print_line(line, Console(stderr=options.json))
    return 0


def _read(found: Found, where: str) -> Index:
    """The logs, as an engine has them.

    Importing what answers, and connecting to DuckDB, takes half a second, in which logs are read.
    """
    workspace = Workspace.default()
    if where != DUCKDB:
        from harness.trail.index import read_logs

        return read_logs(found, workspace, _open(where))
    from harness.trail.intake import take_in
    from harness.trail.lines import keep_memory

    keep_memory(workspace)
    with ThreadPoolExecutor(1) as beside:
        opening = beside.submit(_open, where)
        intake = take_in(found, workspace)
        engine = opening.result()

    from harness.trail.index import make_index

    return make_index(found, intake, engine)


def _open(where: str) -> Engine:
    from harness.trail.engine import open_engine

    import_module("harness.trail.questions")
    # What was imported stays: to look for garbage in it, and to take it apart in the end, takes
    # longer than many an answer.
    gc.freeze()
    return open_engine(where)


def _follow(options: argparse.Namespace, asked: Asked) -> int:
    """Prints each event once it is whole; what is odd about the logs when it comes up."""
    from harness.trail import questions
    from harness.trail.tail import Tail

    if options.question != "events" or options.parquet or options.html:
        raise UsageError("only events can be followed, as lines", hint="events PATH… --follow")
    tail = Tail(options.place, Workspace.default(), _open(options.engine))
    shape = _SHAPES["events"].values()
    noted = 0
    try:
        while True:
            began = time.monotonic()
            model, whole = tail.poll()
            rows = []
            if whole:
                now = questions.find_names(model, replace(asked, among=whole))
                rows = questions.events(model, now).rows
            for row in rows:
                text = json.dumps(row) if options.json else "  ".join(show(row) for show in shape)
                sys.stdout.write(clean(text) + "\n")
            sys.stdout.flush()
            for note in tail.index.seen.notes[noted:]:
                terminal.print_line(note, Console(stderr=True))
            noted = len(tail.index.seen.notes)
            # A log that takes long to ask is asked less often.
            time.sleep(max(_PAUSE_S, time.monotonic() - began))
    finally:
        tail.close()


def _write(path: Path, write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        raise HarnessError(f"cannot write {path}: {error.strerror or error}") from error


def _write_parquet(answer: Answer, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return [clean(one) for one in value] if isinstance(value, list) else value

    rows = [{name: clean(value) for name, value in row.items()} for row in answer.rows]
    names = list(rows[0]) if rows else list(answer.columns)
    fields = [(name, _arrow_type(name)) for name in names]
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields))
    pyarrow.parquet.write_table(table, path)


def _arrow_type(name: str) -> Any:
    import pyarrow as pa

    numbers = ("boot", "serial", "events", "containers_", "inside_", "on host", "unknown")
    if name == "records":
        return pa.list_(pa.string())
    return pa.int64() if name in numbers else pa.string()


# -- tables ------------------------------------------------------------------------------


def _table(question: str, answer: Answer) -> tuple[Sequence[str], list[Sequence[str]]]:
    shape = _SHAPES[question]
    return tuple(shape), [tuple(show(row) for show in shape.values()) for row in answer.rows]


def _time(name: str) -> Callable[[Row], str]:
    return lambda row: str(row[name])[:19].replace("T", " ")


def _of(name: str) -> Callable[[Row], str]:
    return lambda row: str(row[name])


def _what(row: Row) -> str:
    """In full it stands in the other forms."""
    from harness.trail.questions import brief

    return brief(row["what"])


def _name(row: Row) -> str:
    return str(row["name"] or row["container"] or "-")


def _about(row: Row) -> str:
    inside = f"in {row['inside'].split(',')[0]}" if row["inside"] else ""
    by = f"by {row['by']}" if row["by"] else ""
    return "; ".join(part for part in (inside, row["moved"], by) if part)


def _ended(row: Row) -> str:
    begun, ended = str(row["first"]), str(row["ended"])
    return ended[11:19] if ended[:10] == begun[:10] else ended[:10] or "-"


def _why(row: Row) -> str:
    if row["reason"] in ("host", "unknown"):
        return str(row["reason"])
    return f"{row['role']}: {row['reason']}"


def _login(row: Row) -> str:
    return f"{row['auid']}/{row['ses']}" if row["auid"] else "-"


_SHAPES: Mapping[str, Mapping[str, Callable[[Row], str]]] = {
    "containers": {
        "container": _name,
        "host": _of("host"),
        "from": _time("first"),
        "to": _ended,
        "events": _of("events"),
        "about": _about,
    },
    "events": {
        "time": lambda row: str(row["time"])[5:19].replace("T", " "),
        "host": _of("host"),
        "container": _name,
        "as": _why,
        "login": _login,
        "what": _what,
    },
    "hosts": {
        "host": lambda row: f"{row['host']} #{row['boot']}",
        "from": _time("first"),
        "containers": _of("containers"),
        "inside": _of("inside"),
        "on host": _of("on host"),
        "unknown": _of("unknown"),
        "tells": _of("tells"),
    },
    "unattributed": {
        "time": _time("time"),
        "host": _of("host"),
        "what": _what,
        "why": _of("why"),
    },
    "shared-netns": {
        "host": lambda row: f"{row['host']} #{row['boot']}",
        "from": _time("first"),
        "events": _of("events"),
        "netns": _of("netns"),
        "containers": lambda row: str(row["containers"]).replace(",", ", "),
    },
}
