"""The trail on a Spark cluster that is there: the same answers as DuckDB's, row by row.

The cluster is a master and two workers on loopback, of one core each.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyspark
import pytest

from harness import proc
from harness.tests.machinery.logs import write_logs
from harness.trail import questions
from harness.workspace import PROJECT

pytestmark = pytest.mark.machinery

LIMIT_S = 600.0
HOME = Path(pyspark.__file__).parent
MASTER = "org.apache.spark.deploy.master.Master"
WORKER = "org.apache.spark.deploy.worker.Worker"
# Small data, where compiling each plan to Java takes longer than to work it out.
SETTINGS = "&".join(
    (
        "spark.driver.host=127.0.0.1",
        "spark.driver.bindAddress=127.0.0.1",
        "spark.executor.memory=512m",
        "spark.default.parallelism=2",
        "spark.sql.shuffle.partitions=2",
        "spark.sql.adaptive.enabled=false",
        "spark.sql.codegen.wholeStage=false",
        "spark.sql.codegen.factoryMode=NO_CODEGEN",
    )
)


@contextlib.contextmanager
def daemon(log: Path, *words: str) -> Iterator[None]:
    """One of Spark's own processes, and its log; it is gone with the block."""
    command = [str(HOME / "bin/spark-class"), *words]
    env = {**os.environ, "SPARK_HOME": str(HOME), "SPARK_LOCAL_IP": "127.0.0.1"}
    # What workers have is what is tested, wherever another one is installed.
    env |= {"PYTHONPATH": str(PROJECT), "NSAUDIT_STATE": str(log.parent / "state")}
    with log.open("wb") as sink:
        child = subprocess.Popen(command, stdout=sink, stderr=sink, env=env, start_new_session=True)
    try:
        yield
    finally:
        proc.end(child, grace_s=10.0)


def find(log: Path, pattern: str, times: int = 1) -> str:
    """What a daemon said, once it has said it so often."""
    end = time.monotonic() + LIMIT_S
    while len(found := re.findall(pattern, log.read_text(errors="replace"))) < times:
        assert time.monotonic() < end, f"no {pattern} in {log.read_text(errors='replace')}"
        time.sleep(0.2)
    return str(found[0])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("spark")
    with contextlib.ExitStack() as stack:
        log = folder / "master.log"
        where = ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        stack.enter_context(daemon(log, MASTER, *where))
        master = find(log, r"Starting Spark master at (spark://\S+)")
        for number in (1, 2):
            work = ("--cores", "1", "--memory", "1g", "--work-dir", str(folder / f"work-{number}"))
            stack.enter_context(daemon(folder / f"{number}.log", WORKER, *where, *work, master))
        find(log, "Registering worker", times=2)
        yield f"{master}?{SETTINGS}"


ASK = """
import json, sys
from harness.trail import questions
from harness.trail.asked import Asked
from harness.trail.engine import open_engine
from harness.trail.index import describe, read_logs
from harness.trail.model import Model
from harness.trail.sources import find_sources
from harness.workspace import Workspace

engine = open_engine(sys.argv[1])
index = read_logs(find_sources([sys.argv[2]]), Workspace.default(), engine)
model = Model(index)
print(json.dumps(["about", 0, list(describe(index))]))
asked = [(name, Asked()) for name in questions.QUESTIONS]
asked.append(("events", Asked(container="4711", host="alpha", most=2)))
for name, narrowed in asked[slice(*map(int, sys.argv[3:]))]:
    answer = questions.QUESTIONS[name](model, narrowed)
    print(json.dumps([name, answer.left_off, answer.rows]))
"""


def answers(
    engine: str, logs: Path, state: Path, code: str = ASK, most: int = 100
) -> list[list[Any]]:
    """The first questions' answers, asked by a process of its own: a JVM knows one cluster."""
    env = {**os.environ, "NSAUDIT_STATE": str(state), "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", code, engine, str(logs), str(most)],
        cwd=PROJECT,
        env=env,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_logs(tmp_path_factory.mktemp("spark") / "logs")


@pytest.fixture(scope="module")
def here(logs: Path) -> list[list[Any]]:
    """What DuckDB answers."""
    return answers("duckdb", logs, logs.parent)


# Each question takes Spark seconds; what comes after the reading is the same for both.
@pytest.mark.parametrize(("reader", "most"), [("driver", 100), ("workers", 1)])
def test_a_cluster_answers_as_one_process_does(
    cluster: str, logs: Path, here: list[list[Any]], reader: str, most: int
) -> None:
    there = answers(f"{cluster}&read={reader}", logs, logs.parent, most=most)
    assert len(there) == min(len(here), 1 + most)
    assert {name for name, _, _ in here} == {"about", *questions.QUESTIONS}
    assert all(rows for _, _, rows in here)
    assert [left for _, left, _ in here if left] == [1]
    about = "\n".join(here[0][2])
    for part in ("of UNKNOWN[1999]", "not a record", "cut at the end", "records of beta that"):
        assert part in about
    for one, other in zip(here, there, strict=False):
        assert other == one


def test_what_workers_cannot_see_is_told(cluster: str, logs: Path) -> None:
    hide = """
import dataclasses, harness.trail.sources as sources
def find_sources(places, find=sources.find_sources):
    found = find(places)
    gone = [dataclasses.replace(one, path=one.path.with_name("gone")) for one in found.sources]
    found.sources = gone[:1] + found.sources[1:]
    return found
sources.find_sources = find_sources
"""
    about, *_ = answers(f"{cluster}&read=workers", logs / "alpha", logs.parent, hide + ASK, 0)
    assert any("gone ends in the middle, after 0 lines: " in line for line in about[2])
