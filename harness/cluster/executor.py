"""Hands the jobs of a run to an existing Dask cluster and brings the answers home.

A worker says with Dask's resources what it is for: ``build`` compiles kernels and makes the
image, ``guest`` runs guests, each as many at a time as it says; ``kvm`` marks those where KVM
works. A job whose worker dies is done again by another one (Dask's ``allowed-failures``): what
an arm came to counts only when it has arrived whole.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import distributed

from harness import scenario
from harness.cluster import worker
from harness.cluster.address import Cluster
from harness.cluster.store import Store
from harness.errors import HarnessError, HostMissing, explain
from harness.jobs import Lab
from harness.model import Arm, ArmResult, Host, Outcome
from harness.plugin import fixtures

_CONNECT_S = 10.0
_POLL_S = 5.0
# How long nobody may be there who could do what is left.
_DESERTED_S = 60.0


@dataclass(slots=True)
class _Run:
    """A run in progress: the jobs that are out, and what each arm waits for."""

    client: distributed.Client
    cluster: Cluster
    order: worker.Order
    words: Sequence[str]
    folder: Path
    waiting: dict[str, Arm]
    kernels: dict[str, Any] = field(default_factory=dict)
    image: Any = None
    out: dict[distributed.Future[Any], tuple[str, str]] = field(default_factory=dict)

    def submit(
        self,
        kind: str,
        name: str,
        job: Callable[..., Any],
        *given: Any,
        label: str = "",
        guests: int = 1,
    ) -> None:
        """Sends a job; ``kind`` is ``build``, ``image`` or ``arm``, ``label`` for Dask's eyes."""
        needs = self.cluster.guest if kind == "arm" else {"build": 1.0}
        if guests > 1:
            # Who takes fewer at a time than an arm needs runs that arm alone.
            needs = {**needs, "guest": min(float(guests), self._most_guests())}
        key = f"nsaudit-{self.folder.name}-{kind}-{label or name}"
        future = self.client.submit(
            job, self.order, *given, key=key, resources=dict(needs), pure=False
        )
        self.out[future] = (kind, name)

    def submit_ready(self) -> None:
        """Sends each arm whose kernel and image are there."""
        if self.image is None:
            return
        for node, arm in list(self.waiting.items()):
            if kernel := self.kernels.get(arm.stack):
                del self.waiting[node]
                given = (node, arm.folder, self.words, kernel, self.image)
                self.submit("arm", node, worker.ask, *given, label=arm.folder, guests=arm.guests)

    def _most_guests(self) -> float:
        """How many guests the worker that takes the most has at a time."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return max((one["resources"].get("guest", 0.0) for one in workers), default=1.0) or 1.0

    def require_workers(self, needs: Mapping[str, float]) -> None:
        """Raises HostMissing when no worker offers all of this: Dask would wait for ever."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        if not any(all(w["resources"].get(n, 0) >= v for n, v in needs.items()) for w in workers):
            wanted = ",".join(f"{name}=1" for name in needs)
            words = " ".join(f"{name}=1" for name in needs)
            raise HostMissing(
                f"none of the {len(workers)} workers at {self.cluster.address} offers {wanted}",
                hint=f"dask worker {self.cluster.address} --nthreads 2 --resources '{words}'",
            )


def run(
    lab: Lab,
    arms: Mapping[str, Arm],
    words: Sequence[str],
    folder: Path,
    *,
    cluster: Cluster,
    store_url: str,
    on_step: Callable[[str], None],
    on_outcome: Callable[[str, Outcome], None],
) -> Host:
    """Asks all arms on a cluster, into a run's folder; the host of the first one that answered.

    ``arms`` are named as pytest does below the project, ``words`` pytest's options. Kernels that
    the lab has already, a developer's own among them, are put into the store from here. Raises
    HostMissing when there is no scheduler, or nobody who could do a job; BuildError and the like
    as the worker met them.
    """
    if "://" not in store_url:
        store_url = str(Path(store_url).absolute())
    # What it logs of a lost connection, tracebacks and all, is told in one line below.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    store = Store(store_url, lab.workspace)
    order = worker.Order(
        code=worker.code_digest(),
        store=store_url,
        config=lab.builder.config,
        launcher=str(lab.launcher),
        cold=lab.cold,
        bzimage=lab.launcher.bzimage,
    )
    own = {kernel["stack"]: store.share(kernel) for kernel in lab.describe()["kernels"]}
    with _connect(cluster) as client, client.as_current():
        going = _Run(client, cluster, order, words, folder, dict(arms), own)
        try:
            return _finish(going, lab, store, arms, on_step, on_outcome)
        except distributed.client.FuturesCancelledError as error:
            raise HostMissing(
                f"the scheduler at {cluster.address} has gone", hint="start it, and run again"
            ) from error
        finally:
            client.cancel(list(going.out))


def _connect(cluster: Cluster) -> distributed.Client:
    try:
        return distributed.Client(cluster.address, timeout=_CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise HostMissing(
            f"no scheduler answers at {cluster.address}", hint="dask scheduler    (there)"
        ) from error


def _finish(
    going: _Run,
    lab: Lab,
    store: Store,
    arms: Mapping[str, Arm],
    on_step: Callable[[str], None],
    on_outcome: Callable[[str, Outcome], None],
) -> Host:
    host: Host | None = None
    going.require_workers(going.cluster.guest)
    going.require_workers({"build": 1.0})
    going.submit("image", "root", worker.make_image)
    for stack in dict.fromkeys(arm.stack for arm in arms.values()):
        if stack not in going.kernels:
            going.submit("build", stack, worker.build, stack)
    deserted = time.monotonic()
    while going.out:
        try:
            done = distributed.wait(list(going.out), _POLL_S, "FIRST_COMPLETED").done  # type: ignore[no-untyped-call]
        except TimeoutError:
            try:
                for kind in {kind for kind, _ in going.out.values()}:
                    going.require_workers(going.cluster.guest if kind == "arm" else {"build": 1.0})
            except HostMissing:
                if time.monotonic() - deserted > _DESERTED_S:
                    raise
            else:
                deserted = time.monotonic()
            continue
        deserted = time.monotonic()
        for future in done:
            kind, name = going.out.pop(future)
            if kind == "arm":
                outcome, answered = _take_answer(future, going.folder, arms[name])
                host = host or answered
                fixtures.write_reproduce(going.folder / arms[name].folder, name, going.words, lab)
                on_outcome(name, outcome)
                continue
            facts = future.result()
            local = store.fetch(facts)
            if kind == "image":
                going.image = facts
                lab.adopt({**lab.describe(), "image": local})
            else:
                going.kernels[name] = facts
                lab.adopt({**lab.describe(), "kernels": [local]})
                on_step(f"{name} is built")
            lab.save(going.folder)
            going.submit_ready()
    if host is None:
        raise HarnessError("no worker has answered for any arm", hint=f"see {going.folder}")
    return host


def _take_answer(
    future: distributed.Future[Any], folder: Path, arm: Arm
) -> tuple[Outcome, Host | None]:
    """Unpacks an arm's folder, or writes down why there is none; and who answered."""
    try:
        answer: worker.Answer = future.result()
    except (HarnessError, distributed.scheduler.KilledWorker) as error:
        why = explain(error) if isinstance(error, HarnessError) else str(error)
        result = ArmResult(arm=arm, outcome=Outcome.ERROR, signature=why.splitlines()[0])
        scenario.store_result(folder, result)
        return result.outcome, None
    place = folder / arm.folder
    place.mkdir(exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(answer.folder), mode="r:gz") as archive:
        archive.extractall(place, filter="data")
    result = scenario.load_result(folder, arm)
    noted = {**result.evidence, "worker": answer.worker}
    scenario.store_result(folder, dataclasses.replace(result, evidence=noted))
    return result.outcome, Host(**answer.host)
