"""Reads logs on the workers of a Spark cluster, each stream by one of them.

A stream is read in its order, because that tells its host's boots; who asks gets no lines, but
what was found out about each stream, and numbers its boots and types as if all had been read
in one place. Texts of events that are asked for are fetched from the files, as ever.
"""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from harness.errors import HarnessError
from harness.trail.boots import Boot
from harness.trail.engine import Spreading
from harness.trail.index import Index
from harness.trail.intake import LINES, TEXTS, Intake, Seen
from harness.trail.lines import Numbers
from harness.trail.sources import Found, Source
from harness.workspace import Workspace

# A line with its text, if that is kept; or, once for each stream, what was found out about it.
_SCHEMA = pa.schema([*LINES, ("stream", pa.int32()), ("text", pa.string()), ("about", pa.string())])


def read_logs(found: Found, engine: Spreading) -> Index:
    """Has the workers read all logs. Raises HarnessError where they cannot."""
    seen = Seen(notes=list(found.notes))
    index = Index(engine=engine, sources=found.sources, kinds=Numbers(), seen=seen)
    # A worker is elsewhere; what people call a log stays what they called it.
    sources = [replace(one, path=one.path.absolute(), found=one.name) for one in found.sources]
    numbered = groupby(enumerate(sources), key=lambda one: one[1].stream)
    items = [pickle.dumps(list(group)) for _, group in numbered]
    raw = engine.spread("raw", read_streams, items, _SCHEMA)
    try:
        about = engine.rows(raw.filter(raw.file < 0).order_by("stream").select("about"))
    except Exception as error:
        # It has the stack of the other side in it, of which the end says what it was.
        why = [line for line in str(error).splitlines() if ": " in line and "Error" in line]
        raise HarnessError(
            f"the workers cannot read the logs: {(why or [type(error).__name__])[0].strip()}",
            hint="they need this project, and the logs under these paths; see --engine",
        ) from error
    boots, names = _take_reports(index, [json.loads(row["about"]) for row in about])
    _make_tables(index, raw, boots, names)
    index.unite(index.boots)
    return index


def _take_reports(
    index: Index, reports: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What boots and types of each stream are called: tables' rows."""
    orders: Counter[str] = Counter()
    boots, names = [], []
    known: list[Boot] = []
    kinds = Numbers()
    for report in reports:
        index.seen.records += report["records"]
        index.seen.damage.update(report["damage"])
        index.seen.notes += report["notes"]
        for reason, where in report["examples"].items():
            index.seen.examples.setdefault(reason, where)
        for row in report["boots"]:
            one = Boot(**row)
            orders[one.host] += 1
            boots.append({"stream": one.stream, "boot": one.number, "now": len(known)})
            known.append(replace(one, number=len(known), order=orders[one.host]))
        for number, name in enumerate(report["kinds"]):
            raw = name.encode(errors="surrogateescape")
            names.append(
                {
                    **{"stream": report["stream"], "kind": number, "number": kinds[raw]},
                    "name": raw.decode(errors="replace"),
                }
            )
    index.kinds, index.boots = kinds, known
    return boots, names


def _make_tables(
    index: Index, raw: Any, boots: Sequence[dict[str, Any]], names: Sequence[dict[str, Any]]
) -> None:
    """``lines`` and ``texts``, of what the workers keep."""
    engine = index.engine
    numbers = engine.make(boots, {"stream": "int32", "boot": "int32", "now": "int32"})
    types = {"stream": "int32", "kind": "int32", "number": "int32", "name": "string"}
    kinds = engine.make(names, types).rename(type="number")
    rows = raw.filter(raw.file >= 0)
    rows = rows.left_join(numbers, ["stream", "boot"], rname="{name}_of_boot")
    rows = rows.left_join(kinds, ["stream", "kind"], rname="{name}_of_kind")
    rows = rows.mutate(boot=rows.now.fill_null(-1).cast("int32"))
    lines = rows.mutate(kind=rows.type.fill_null(-1).cast("int32"))
    texts = rows.filter(rows.text.notnull()).mutate(kind=rows["name"].fill_null(""))
    for table, expression, schema in (("lines", lines, LINES), ("texts", texts, TEXTS)):
        index.tables[table] = engine.keep(table, expression.select(*schema.names))


# -- what workers do ---------------------------------------------------------------------


def read_streams(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows of each stream of which the sources are an item."""
    for batch in batches:
        for item in batch.column("item").to_pylist():
            yield from _read_stream(pickle.loads(item))


def _read_stream(sources: Sequence[tuple[int, Source]]) -> Iterator[pa.RecordBatch]:
    intake = Intake(Workspace.default())
    stream = sources[0][1].stream
    for number, source in sources:
        for _ in intake.step(number, source):
            yield from _take(intake, stream)
    seen = intake.seen
    report = {
        **{"stream": stream, "boots": [asdict(one) for one in intake.boots.all]},
        "kinds": [kind.decode(errors="surrogateescape") for kind in intake.reader.kinds],
        **{"records": seen.records, "damage": dict(seen.damage)},
        **{"notes": seen.notes, "examples": seen.examples},
    }
    row: dict[str, Any] = {**dict.fromkeys(LINES.names, -1), "stream": stream}
    yield pa.RecordBatch.from_pylist([{**row, "about": json.dumps(report)}], schema=_SCHEMA)


def _take(intake: Intake, stream: int) -> Iterator[pa.RecordBatch]:
    """What a block came to, with its texts beside its lines."""
    for lines in intake.lines:
        text = np.full(len(lines), None, dtype=object)
        for kept in intake.texts:
            rows = kept.column("number").to_numpy() - lines.column("number")[0].as_py()
            text[rows] = kept.column("text").to_pylist()
        columns = [
            *lines.columns,
            pa.array(np.full(len(lines), stream, dtype=np.int32)),
            pa.array(text, pa.string()),
            pa.nulls(len(lines), pa.string()),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=_SCHEMA)
    intake.lines.clear()
    intake.texts.clear()
