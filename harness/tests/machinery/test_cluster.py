"""A run on a cluster of this machine's own, one of whose two workers is killed in the middle."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import distributed
import pytest

from harness import proc
from harness.workspace import PROJECT, Workspace

pytestmark = pytest.mark.machinery
_SCENARIOS = ("pid-translation", "netns-unreachable", "auditd-in-netns")
_START_S = 60.0
_DASK = Path(sys.executable).with_name("dask")


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
            [_DASK, *words],
            cwd=folder,
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


def test_a_worker_that_dies_costs_a_repeat_and_no_verdict(tmp_path: Path) -> None:
    ours, theirs = Workspace.default().root, tmp_path / "state"
    file = tmp_path / "scheduler.json"
    common = ("--no-dashboard", "--scheduler-file", str(file))
    worker = ("worker", *common, "--no-nanny", "--nthreads", "2")
    with contextlib.ExitStack() as stack:

        def start(name: str, *words: str, state: Path = ours) -> subprocess.Popen[bytes]:
            return stack.enter_context(started(tmp_path, name, *words, state=state))

        start("scheduler", "scheduler", *common, "--host", "127.0.0.1", "--port", "0")
        wait_for("scheduler", file.is_file)
        lasting = ("--name", "lasting", "--resources", "build=1 guest=1")
        start("lasting", *worker, *lasting)
        # What this one needs comes by the store: its own state is empty.
        doomed = start(
            "doomed", *worker, "--name", "doomed", "--resources", "guest=1", state=theirs
        )
        address = json.loads(file.read_text())["address"]
        client = stack.enter_context(distributed.Client(address, set_as_default=False))  # type: ignore[no-untyped-call]

        def names() -> dict[str, str]:
            known = client.scheduler_info(n_workers=-1)["workers"]
            return {str(one["name"]): at for at, one in known.items()}

        wait_for("workers", lambda: len(names()) == 2)
        at = names()["doomed"]
        report = tmp_path / "result.json"
        argv: list[str | Path] = [
            sys.executable,
            "-m",
            "harness",
            "run",
            *_SCENARIOS,
            "--json",
            report,
        ]
        argv += ["--executor", address.replace("tcp://", "dask://")]
        argv += ["--store", tmp_path / "store"]
        with (tmp_path / "run.log").open("wb") as log:
            run = stack.enter_context(
                proc.start(
                    argv,
                    cwd=PROJECT,
                    env={"NSAUDIT_STATE": str(ours)},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
        wait_for("guest of the doomed worker", lambda: processes_of(theirs))
        taken = [key.partition("-arm-")[2] for key in client.processing()[at]]
        assert taken
        os.killpg(doomed.pid, signal.SIGKILL)
        assert run.wait(_START_S * 3) == 0, (tmp_path / "run.log").read_text()
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
