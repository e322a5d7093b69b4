"""Arrow arrays from numbers and texts, without what ``pyarrow.array`` does for pandas' sake.

It imports pandas to find out whether it was given something of pandas', which takes a third of a
second: as long as to read 100 MB of logs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from harness.trail.lines import Array


def numbers(values: Array) -> pa.Array:
    """An array of numbers, in the same memory."""
    values = np.ascontiguousarray(values)
    buffers = [None, pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def texts(values: Sequence[str]) -> pa.Array:
    """An array of strings. Raises UnicodeEncodeError for what is not UTF-8."""
    raw = [value.encode() for value in values]
    offsets = np.zeros(len(raw) + 1, dtype=np.int32)
    np.cumsum([len(one) for one in raw], out=offsets[1:])
    return pa.StringArray.from_buffers(len(raw), pa.py_buffer(offsets), pa.py_buffer(b"".join(raw)))


def table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table of rows, in which nothing is missing."""
    columns = []
    for field in schema:
        values = [row[field.name] for row in rows]
        if field.type == pa.string():
            columns.append(texts(values))
        else:
            columns.append(numbers(np.array(values, dtype=np.int64)).cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)
