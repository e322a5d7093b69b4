"""Runs on a cluster of this machine's own, one of whose workers is killed in the middle."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import distributed
import pytest

from harness import proc
from harness.workspace import PROJECT, Workspace

pytestmark = pytest.mark.machinery
_SCENARIOS = ("pid-translation", "netns-unreachable", "auditd-in-netns")
_START_S = 60.0
# From the project, so that workers have what is tested, wherever another one is installed.
_DASK = (sys.executable, "-m", "dask")
OURS = Workspace.default().root


def wait_for(what: str, seen: Callable[[], object]) -> None:
    """Calls ``seen`` until it returns something; a cluster tells nobody when it is ready."""
    deadline = time.monotonic() + _START_S
    while not seen():
        assert time.monotonic() < deadline, f"no {what} within {_START_S:.0f} s"
        time.sleep(0.05)


@contextlib.contextmanager
def started(folder: Path, name: str, *words: str, state: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (
        (folder / f"{name}.log").open("wb") as log,
        proc.start(
            [*_DASK, *words],
            cwd=PROJECT,
            env={"NSAUDIT_STATE": str(state)},
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as child,
    ):
        yield child


def processes_of(state: Path) -> list[str]:
    """The command lines that name a state folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(state) in line:
                found.append(line)
    return found


@dataclass(slots=True)
class Cluster:
    """A scheduler of its own, its workers, and runs that are handed to it."""

    folder: Path
    stack: contextlib.ExitStack
    client: distributed.Client = field(init=False)
    address: str = field(init=False)

    def __post_init__(self) -> None:
        self.start("scheduler", "scheduler", "--host", "127.0.0.1", "--port", "0", state=OURS)
        wait_for("scheduler", self.file.is_file)
        self.address = json.loads(self.file.read_text())["address"]
        client = distributed.Client(self.address, set_as_default=False)  # type: ignore[no-untyped-call]
        self.client = self.stack.enter_context(client)

    @property
    def file(self) -> Path:
        """Where the scheduler says where it is."""
        return self.folder / "scheduler.json"

    def start(self, name: str, kind: str, *words: str, state: Path) -> subprocess.Popen[bytes]:
        common = (kind, "--no-dashboard", "--scheduler-file", str(self.file))
        return self.stack.enter_context(started(self.folder, name, *common, *words, state=state))

    def work(self, name: str, resources: str, state: Path) -> subprocess.Popen[bytes]:
        """A worker that offers these."""
        words = ("--no-nanny", "--nthreads", "2", "--name", name, "--resources", resources)
        child = self.start(name, "worker", *words, state=state)
        wait_for(f"worker {name}", lambda: name in self.names())
        return child

    def names(self) -> dict[str, str]:
        """The address of each worker."""
        known = self.client.scheduler_info(n_workers=-1)["workers"]
        return {str(one["name"]): at for at, one in known.items()}

    def run(self, report: Path, *words: str) -> subprocess.Popen[bytes]:
        """A run of some scenarios, which writes a report."""
        argv: list[str | Path] = [sys.executable, "-m", "harness", "run", *words]
        argv += ["--executor", self.address.replace("tcp://", "dask://")]
        argv += ["--store", self.folder / "store", "--json", report]
        log = self.stack.enter_context((self.folder / "run.log").open("wb"))
        child = proc.start(
            argv,
            cwd=PROJECT,
            env={"NSAUDIT_STATE": str(OURS)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        return self.stack.enter_context(child)

    @property
    def said(self) -> str:
        """What the run said."""
        return (self.folder / "run.log").read_text()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with contextlib.ExitStack() as stack:
        yield Cluster(tmp_path, stack)


def test_a_worker_that_dies_costs_a_repeat_and_no_verdict(cluster: Cluster, tmp_path: Path) -> None:
    theirs = tmp_path / "state"
    cluster.work("lasting", "build=1 guest=1", OURS)
    # What this one needs comes by the store: its own state is empty.
    doomed = cluster.work("doomed", "guest=1", theirs)
    at = cluster.names()["doomed"]
    report = tmp_path / "result.json"
    run = cluster.run(report, *_SCENARIOS)
    wait_for("guest of the doomed worker", lambda: processes_of(theirs))
    taken = [key.partition("-arm-")[2] for key in cluster.client.processing()[at]]  # type: ignore[no-untyped-call]
    assert taken
    os.killpg(doomed.pid, signal.SIGKILL)
    assert run.wait(_START_S * 3) == 0, cluster.said
    result = json.loads(report.read_text())
    assert {one["name"]: one["verdict"] for one in result["scenarios"]} == dict.fromkeys(
        sorted(_SCENARIOS), "CONFIRMED"
    )
    arms = [arm for one in result["scenarios"] for arm in one["arms"]]
    # Nothing was taken from the dead but what had arrived before, and nothing of it lives on.
    repeated = [arm for arm in arms if Path(arm["artifacts"]).name in taken]
    assert len(repeated) == len(taken)
    assert at not in {arm["evidence"]["worker"] for arm in repeated}
    assert all(Path(arm["artifacts"], "console.log").is_file() for arm in arms)
    assert processes_of(theirs) == []


def test_hosts_on_a_network_are_guests_of_one_worker(cluster: Cluster, tmp_path: Path) -> None:
    """One that takes as many at a time as the arm needs; another waits for what fits it."""
    cluster.work("small", "guest=1", tmp_path / "state")
    cluster.work("large", "build=1 guest=3", OURS)
    report = tmp_path / "result.json"
    run = cluster.run(report, "shipping", "--stack", "prototype-6.12")
    assert run.wait(_START_S * 5) == 0, cluster.said
    (shipping,) = json.loads(report.read_text())["scenarios"]
    assert (shipping["name"], shipping["verdict"]) == ("shipping", "WORKS")
    for arm in shipping["arms"]:
        assert arm["evidence"]["worker"] == cluster.names()["large"]
        for host in ("keeper", "forgetter", "collector"):
            assert Path(arm["artifacts"], host, "console.log").is_file()
