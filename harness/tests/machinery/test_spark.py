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

import pyspark
import pytest

from harness import proc
from harness.tests.test_trail import SCENES, write
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
from harness.trail.engine import open_engine
from harness.trail.index import read_logs
from harness.trail.model import Model
from harness.trail.sources import find_sources
from harness.workspace import Workspace

engine = open_engine(sys.argv[1])
model = Model(read_logs(find_sources([sys.argv[2]]), Workspace.default(), engine))
asked = [(name, questions.Asked()) for name in questions.QUESTIONS]
asked.append(("events", questions.Asked(container="4711", host="alpha", most=2)))
for name, narrowed in asked:
    answer = questions.QUESTIONS[name](model, narrowed)
    print(json.dumps([name, answer.left_off, answer.rows]))
"""


def answers(engine: str, logs: Path, state: Path) -> list[list[object]]:
    """Each question's answer, asked by a process of its own: a JVM knows one cluster."""
    env = {**os.environ, "NSAUDIT_STATE": str(state), "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", ASK, engine, str(logs)],
        cwd=PROJECT,
        env=env,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_cluster_answers_as_one_process_does(cluster: str, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for host, texts in SCENES.items():
        write(logs, *texts, host=host)
    here = answers("duckdb", logs, tmp_path)
    there = answers(cluster, logs, tmp_path)
    assert {name for name, _, _ in here} == set(questions.QUESTIONS)
    assert all(rows for _, _, rows in here)
    assert [left for _, left, _ in here if left] == [1]
    for one, other in zip(here, there, strict=True):
        assert other == one
