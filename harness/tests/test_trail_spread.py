"""Logs that workers read, each stream by one of them, are what one process makes of them.

The workers are this process here; ``machinery/test_spark.py`` has real ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from harness.tests.machinery.logs import write_logs
from harness.tests.test_trail import ask
from harness.trail.engine import DuckDB, Work
from harness.trail.index import describe, read_logs
from harness.trail.model import Model
from harness.trail.questions import QUESTIONS
from harness.trail.sources import find_sources
from harness.workspace import Workspace

pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("engine")]


class Workers(DuckDB):
    """Those of a cluster that is this process; the last of them is done first."""

    def spread(self, name: str, work: Work, items: Sequence[bytes], schema: pa.Schema) -> Any:
        made: list[pa.RecordBatch] = []
        for item in reversed(items):
            made += work([pa.record_batch({"item": pa.array([item], pa.binary())})])
        self.load(name, pa.Table.from_batches(made, schema))
        return self.table(name)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSAUDIT_STATE", str(tmp_path_factory.mktemp("state")))
        yield write_logs(tmp_path_factory.mktemp("logs"))


def test_workers_find_what_one_process_finds(logs: Path) -> None:
    here = Model(read_logs(find_sources([str(logs)]), Workspace.default()))
    there = Model(read_logs(find_sources([str(logs)]), Workspace.default(), Workers()))
    assert describe(there.index) == describe(here.index)
    assert there.index.boots == here.index.boots
    for question in QUESTIONS:
        rows = ask(question, here)
        assert rows
        assert ask(question, there) == rows


def test_workers_are_elsewhere(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(logs)
    found = find_sources(["alpha"])
    assert not any(one.path.is_absolute() for one in found.sources)

    class Elsewhere(Workers):
        def spread(self, *given: Any) -> Any:
            monkeypatch.chdir("/")
            return super().spread(*given)

    index = read_logs(found, Workspace.default(), Elsewhere())
    assert index.seen.records == 11
    assert {str(boot.place) for boot in index.boots} == {"alpha"}
