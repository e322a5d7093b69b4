"""What works out the answers: DuckDB in this process, or a Spark cluster that there is.

Questions are Ibis expressions, and none is written twice: an engine takes tables, keeps what an
expression comes to, and gives rows. ``spark://HOST:PORT`` is the master of a cluster, and what
follows a ``?`` is Spark's configuration (``?spark.executor.memory=4g&spark.cores.max=8``).

The logs are read here, and the workers need neither them nor Python. With ``read=workers`` after
the ``?`` these read them, which is for logs that are too many for one machine: they have to
have the logs under the same paths, and this project; ``$PYSPARK_PYTHON`` is its Python there
(the one that runs here, if it is not set).
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import parse_qsl

import ibis
import pyarrow as pa

from harness.errors import HarnessError, HostMissing, UsageError
from harness.trail import arrow
from harness.trail.asked import DUCKDB

_SPARK = "spark://"
_READER, _DRIVER, _WORKERS = "read", "driver", "workers"
_MEMORY = "1GB"
_PROBE_S = 10.0
_LOGGING = Path(__file__).with_name("log4j2.properties")
# What a driver says of itself is not for who asked.
_SETTINGS: Mapping[str, str] = {
    "spark.app.name": "nsaudit trail",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={_LOGGING.as_uri()}",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}


# What workers do: batches with a column ``item`` in, batches of some schema out.
Work = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]


class Engine(Protocol):
    """Tables in, expressions over them, rows out."""

    def load(self, name: str, table: pa.Table) -> None:
        """Makes a table known by a name."""

    def table(self, name: str) -> Any:
        """A table that was loaded, as Ibis has it."""

    def make(self, rows: Sequence[Mapping[str, Any]], schema: Mapping[str, str]) -> Any:
        """A table of rows without missing values; types as Ibis names them."""

    def keep(self, name: str, expression: Any) -> Any:
        """What an expression comes to, worked out once."""

    def rows(self, expression: Any) -> list[dict[str, Any]]:
        """What an expression comes to, here."""

    def arrays(self, expression: Any) -> pa.Table:
        """The same, where there is too much of it for rows."""


@runtime_checkable
class Spreading(Engine, Protocol):
    """An engine whose workers do more than expressions."""

    def spread(self, name: str, work: Work, items: Sequence[bytes], schema: pa.Schema) -> Any:
        """A table of what workers make of items, each of them by itself and once.

        ``work`` is a function of a module that they have, too, and makes batches of ``schema``.
        """


def open_engine(where: str = DUCKDB) -> Engine:
    """The engine at a place. Raises UsageError for what is none, HostMissing without Spark."""
    if where == DUCKDB:
        return DuckDB()
    if where.startswith(_SPARK):
        master, _, words = where.partition("?")
        settings = dict(parse_qsl(words))
        reader = settings.pop(_READER, _DRIVER)
        if reader not in (_DRIVER, _WORKERS):
            raise UsageError(f"no {reader!r} reads logs", hint=f"{_READER}={_DRIVER}|{_WORKERS}")
        return (SpreadSpark if reader == _WORKERS else Spark)(master, settings)
    raise UsageError(f"there is no engine {where!r}", hint=f"{DUCKDB}, or {_SPARK}HOST:PORT")


class DuckDB:
    """In this process, in bounded memory."""

    def __init__(self) -> None:
        self._backend = ibis.duckdb.connect(memory_limit=_MEMORY)

    def load(self, name: str, table: pa.Table) -> None:
        """Where it is: a copy into a table of its own took longer than the reading."""
        self._backend.con.register(name, table)

    def table(self, name: str) -> Any:
        """The table of that name."""
        return self._backend.table(name)

    def make(self, rows: Sequence[Mapping[str, Any]], schema: Mapping[str, str]) -> Any:
        """In memory."""
        return _make(self, rows, schema)

    def keep(self, name: str, expression: Any) -> Any:
        """As a table of its own."""
        return self._backend.create_table(name, expression, overwrite=True)

    def rows(self, expression: Any) -> list[dict[str, Any]]:
        """As a list of ``arrays``."""
        return list(self.arrays(expression).to_pylist())

    def arrays(self, expression: Any) -> pa.Table:
        """By Arrow, and not by ``to_pyarrow``, which imports pandas."""
        shape = expression.as_table()
        found = self._backend.con.sql(self._backend.compile(shape)).to_arrow_table()
        # A sum of whole numbers is a decimal one to DuckDB.
        return found.cast(shape.schema().to_pyarrow())


class Spark:
    """A session of ours on the cluster of a master; it ends with this process."""

    def __init__(self, master: str, settings: Mapping[str, str]) -> None:
        _require_master(master)
        if not shutil.which("java"):
            raise HostMissing("Spark needs Java", hint="apt-get install openjdk-17-jre-headless")
        try:
            from pyspark.sql import SparkSession
        except ImportError as error:
            raise HostMissing("pyspark is not installed", hint="pip install '.[spark]'") from error
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        builder = SparkSession.builder.master(master)
        for name, value in {**_SETTINGS, **settings}.items():
            builder = builder.config(name, value)
        try:
            self._session = builder.getOrCreate()
        except Exception as error:
            # What py4j raises has the stack of the other side in it, on many lines.
            raise HarnessError(f"no session at {master}: {_first_line(error)}") from error
        self._backend = ibis.pyspark.connect(self._session)
        self._kept: dict[str, Any] = {}

    def load(self, name: str, table: pa.Table) -> None:
        """By Arrow, in as many parts as the cluster has cores."""
        self._session.createDataFrame(table).createOrReplaceTempView(name)

    def table(self, name: str) -> Any:
        """The view of that name."""
        return self._backend.table(name)

    def make(self, rows: Sequence[Mapping[str, Any]], schema: Mapping[str, str]) -> Any:
        """As a view."""
        return _make(self, rows, schema)

    def keep(self, name: str, expression: Any) -> Any:
        """In the memory of the workers: a table would need a place that all of them write to."""
        # What had the name before is dropped, as nobody holds it any more.
        self._kept[name] = expression.cache()
        return self._kept[name]

    def rows(self, expression: Any) -> list[dict[str, Any]]:
        """As a list of ``arrays``."""
        return list(self.arrays(expression).to_pylist())

    def arrays(self, expression: Any) -> pa.Table:
        """By Arrow, past pandas, which has no whole numbers beside missing ones."""
        return self._session.sql(self._backend.compile(expression.as_table())).toArrow()


class SpreadSpark(Spark):
    """One whose workers read the logs."""

    def spread(self, name: str, work: Work, items: Sequence[bytes], schema: pa.Schema) -> Any:
        """A table of what workers make of items: see ``Spreading``."""
        from pyspark.sql.pandas.types import from_arrow_schema

        given = self._session.sparkContext.parallelize([(one,) for one in items], len(items))
        rows = self._session.createDataFrame(given, "item binary")
        made = rows.mapInArrow(work, from_arrow_schema(schema)).persist()
        made.createOrReplaceTempView(name)
        return self.table(name)


def _make(engine: Engine, rows: Sequence[Mapping[str, Any]], schema: Mapping[str, str]) -> Any:
    """A table by a name that nobody else uses."""
    name = f"rows_{uuid.uuid4().hex}"
    engine.load(name, arrow.table(rows, ibis.schema(dict(schema)).to_pyarrow()))
    return engine.table(name)


def _require_master(master: str) -> None:
    """Raises HarnessError if nobody listens at a master: Spark itself takes a minute to say so."""
    why = ""
    for place in master.removeprefix(_SPARK).split(","):
        host, _, port = place.rpartition(":")
        if not host or not port.isdecimal():
            raise UsageError(f"{master} is no master", hint=f"{_SPARK}HOST:PORT")
        try:
            socket.create_connection((host, int(port)), _PROBE_S).close()
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
        else:
            return
    raise HarnessError(f"nobody answers at {master}: {why}", hint="is the cluster running?")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
