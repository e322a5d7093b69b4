"""Names for containers, from what orchestrators keep about them.

A file is JSON, and one of these::

    {"4711": "web", "HOST/ns:mnt4026532174": "web"}      ids, of one host or of all
    runc's state.json                                      id, init_process_pid, created, config
    containerd's list (ctr container info)                 ID, Labels
    kubectl get pods -o json                               items[].metadata and .status

Kernels know no names: a foreign file is of use where the orchestrator put the audit container
id into the label or annotation ``nsaudit.contid`` (runc: ``config.labels``). Without it, a state
of runc's is of the container into which its init was put, if records tell: by its pid on the
host, when it was made, and on the host that is said with ``HOST=`` before the file. Two ids with
one name are one container, which is how a restore that forgot its id is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.trail.sources import split_place

LABEL = "nsaudit.contid"


# A container is named when it is made; later its pid may be another task's.
_SOON_MS = 600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The init of a container of which a file has no id. ``host`` is empty if it may be any.

    ``made_ms`` is when the container was made, in ms since 1970; None if that is not known.
    """

    name: str
    pid: str
    made_ms: int | None
    path: Path = Path()
    host: str = ""

    def is_of(self, birth: Birth) -> bool:
        """Whether it was put into a container then."""
        soon = self.made_ms is None or abs(birth.time_ms - self.made_ms) < _SOON_MS
        return self.pid == birth.pid and self.host in ("", birth.host) and soon


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """Which task was put into which container, and when, in ms since 1970."""

    host: str
    pid: str
    time_ms: int
    container: str


@dataclass(frozen=True, slots=True)
class Names:
    """Names by id, or by ``HOST/id``, and of tasks that are of a container with a name.

    ``files`` says where each of ``known`` is from.
    """

    known: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    tasks: Sequence[Task] = ()

    def name_of(self, container: str, host: str) -> str:
        """The name of a container on a host, or nothing."""
        return self.known.get(f"{host}/{container}", self.known.get(container, ""))

    def ids_of(self, name: str) -> set[str]:
        """All ids, without hosts, that have this name."""
        return {one.partition("/")[2] or one for one, known in self.known.items() if known == name}

    def find_tasks(self, births: Sequence[Birth]) -> tuple[Names, list[str]]:
        """The names with those of the tasks' containers; and of which tasks nothing tells these.

        Raises UsageError when a container gets two names.
        """
        known, files = dict(self.known), dict(self.files)
        notes = []
        for task in self.tasks:
            found = sorted({(one.container, one.host) for one in births if task.is_of(one)})
            containers = {container for container, _ in found}
            if len(containers) == 1:
                _name(known, files, containers.pop(), task.name, task.path)
                continue
            where = f" on {task.host}" if task.host else ""
            why = f"no record here puts its process {task.pid}{where} into a container"
            if task.made_ms is not None:
                why += " when it was made"
            if found:
                several = ", or ".join(f"{container} on {host}" for container, host in found)
                why = f"its process {task.pid} may be {several}"
            notes.append(
                f"{task.name}: {why}; the label {LABEL} has its id, and HOST=FILE says of which"
                " host it is"
            )
        return Names(known, files), notes


def read_names(places: Iterable[str]) -> Names:
    """The names in some files, which are one list. A place is FILE or HOST=FILE.

    Raises UsageError when one is none of the formats above, and when an id has two names.
    """
    known: dict[str, str] = {}
    files: dict[str, Path] = {}
    tasks = []
    for place in places:
        host, path = split_place(place)
        for one in _read(path):
            if isinstance(one, Task):
                tasks.append(replace(one, host=host, path=path))
            else:
                _name(known, files, *one, path)
    return Names(known, files, tasks)


def _name(
    known: dict[str, str], files: dict[str, Path], container: str, name: str, path: Path
) -> None:
    """Gives a container a name, if it has no other one; ``files`` says where it has it from."""
    before = known.setdefault(container, name)
    where = files.setdefault(container, path)
    if before != name:
        raise UsageError(
            f"{container} is {before} in {where}, and {name} in {path}",
            hint='where hosts use one id for two containers: {"HOST/4711": "web"}',
        )


def _read(path: Path) -> list[tuple[str, str] | Task]:
    try:
        found = list(_names_in(json.loads(path.read_text(encoding="utf-8"))))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise UsageError(
            f"{path} does not name containers: {error}",
            hint='{"4711": "web"}, runc\'s state.json, or kubectl get pods -o json',
        ) from error
    if not found:
        raise UsageError(
            f"{path} names no container by its audit id", hint=f"the label {LABEL} has it"
        )
    return found


def _names_in(data: Any) -> Iterator[tuple[str, str] | Task]:
    if isinstance(data, list):
        for one in data:
            yield from _names_in(one)
    elif "items" in data:
        for pod in data["items"]:
            yield from _of_pod(pod["metadata"])
    elif "init_process_pid" in data:
        yield from _of_runc(data)
    elif "ID" in data:
        if LABEL in (data.get("Labels") or {}):
            yield str(data["Labels"][LABEL]), str(data["ID"])
    else:
        for key, name in data.items():
            if not isinstance(name, str):
                raise ValueError(f"{key!r} is not given a name")
            yield key, name


def _of_pod(about: Any) -> Iterator[tuple[str, str]]:
    """``nsaudit.contid`` is for the whole pod, ``nsaudit.contid/NAME`` for a container of it."""
    pod = f"{about.get('namespace', 'default')}/{about['name']}"
    for key, value in {**about.get("labels", {}), **about.get("annotations", {})}.items():
        if key == LABEL:
            yield str(value), pod
        elif key.startswith(f"{LABEL}/"):
            yield str(value), f"{pod}/{key.partition('/')[2]}"


def _of_runc(state: Any) -> Iterator[tuple[str, str] | Task]:
    """runc keeps labels as ``key=value``, and the time as RFC 3339 has it."""
    texts = [str(one).partition("=") for one in state.get("config", {}).get("labels") or []]
    labels = {key: value for key, _, value in texts}
    if LABEL in labels:
        yield labels[LABEL], str(state["id"])
        return
    made = datetime.fromisoformat(state["created"]) if "created" in state else None
    yield Task(
        name=str(state["id"]),
        pid=str(int(state["init_process_pid"])),
        made_ms=round(made.timestamp() * 1000) if made else None,
    )
