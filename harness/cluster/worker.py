"""The jobs that a worker of the cluster does: build a kernel, make the image, ask an arm.

Each takes and gives facts in which ``store.Shared`` stands for files. The worker has a state
folder of its own (``$NSAUDIT_STATE``) and a checkout of the same project; where that differs
from the client's, a job is refused: its verdict would be about something else.
"""

from __future__ import annotations

import functools
import io
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import distributed
from distributed.core import Status

from harness import proc
from harness.cluster.store import Store
from harness.errors import GuestLost, HarnessError
from harness.jobs import Lab
from harness.workspace import PROJECT, Workspace, content_digest

_CODE = ("harness", "kernel-patches", "kconfigs", "scenarios")
_POLL_S = 0.5
_ENDING = (Status.closing, Status.closed, Status.failed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What all jobs of a run have in common; ``code`` is the client's ``code_digest``."""

    code: str
    store: str
    config: str
    launcher: str
    cold: bool
    bzimage: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an arm left: its folder as tar.gz, the host's facts, and the worker's address."""

    folder: bytes
    host: Mapping[str, Any]
    worker: str


@functools.cache
def code_digest() -> str:
    """A name for what decides about verdicts: harness, patches, configurations, scenarios."""
    return content_digest((PROJECT / top for top in _CODE), without=("tests",))


def build(order: Order, stack: str) -> Any:
    """The facts of a stack's kernel, built where this worker's cache has it not."""
    lab, store = _open(order)
    lab.kernel(stack, bzimage=order.bzimage)
    return store.share(lab.describe()["kernels"][0])


def make_image(order: Order) -> Any:
    """The facts of the guest's root and its layers."""
    lab, store = _open(order)
    lab.make_image()
    return store.share(lab.describe()["image"])


def ask(
    order: Order, node: str, arm_folder: str, words: Sequence[str], kernel: Any, image: Any
) -> Answer:
    """Asks one arm, in a process of its own: an arm ends by a signal when its time is over.

    ``node`` is pytest's name of it, below the project. Raises GuestLost when pytest leaves no
    result, or when the client wants none any more.
    """
    lab, store = _open(order)
    facts = store.fetch({"kernels": [kernel], "image": image})
    for one in facts["kernels"]:
        # A kernel that somebody built has a configuration only inside the guest.
        one["config"] = one["config"] or Path(one["vmlinux"]).with_name("config")
    lab.adopt({"launcher": order.launcher, "cold": order.cold, "host": None, **facts})
    lab.host_for(lab.kernels[0])
    with lab.workspace.scratch() as folder:
        lab.save(folder)
        said = folder / "pytest.log"
        argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--rootdir={PROJECT}"]
        argv += [node, "--run-folder", str(folder), *words]
        with (
            said.open("wb") as log,
            proc.start(
                argv,
                cwd=PROJECT,
                env={"NSAUDIT_STATE": str(lab.workspace.root)},
                stdout=log,
                stderr=subprocess.STDOUT,
            ) as child,
        ):
            _wait(child)
        place = folder / arm_folder
        if not (place / "result.json").is_file():
            lines = said.read_text(errors="replace").strip().splitlines() or ["nothing"]
            raise GuestLost(f"pytest left no result on a worker; it said: {lines[-1]}")
        return Answer(
            folder=_pack(place),
            host=lab.describe()["host"],
            worker=distributed.get_worker().address,
        )


def _open(order: Order) -> tuple[Lab, Store]:
    if code_digest() != order.code:
        raise HarnessError(
            f"the worker {distributed.get_worker().address} has another nsaudit in {PROJECT}",
            hint="check out the same commit there, and start the worker again",
        )
    workspace = Workspace.default()
    return Lab(workspace, config=order.config, cold=order.cold), Store(order.store, workspace)


def _wait(child: subprocess.Popen[bytes]) -> None:
    """Waits for a child's end. It is noticed when nobody wants it: Dask ends no thread."""
    worker = distributed.get_worker()
    tasks, key = worker.state.tasks, worker.get_current_task()
    while child.poll() is None:
        cancelled = key not in tasks or tasks[key].state == "cancelled"
        if cancelled or worker.status in _ENDING:
            raise GuestLost("nobody wants an answer any more")
        try:
            child.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            continue


def _pack(folder: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path in sorted(folder.rglob("*")):
            # Sockets and the like are of no use elsewhere.
            if path.is_file() and not path.is_symlink():
                archive.add(path, arcname=str(path.relative_to(folder)))
    return packed.getvalue()
