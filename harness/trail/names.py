"""Names for containers, from what orchestrators keep about them.

A file is JSON, and one of these::

    {"4711": "web", "HOST/ns:mnt4026532174": "web"}      ids, of one host or of all
    runc's state.json                                      id, init_process_pid, namespace_paths
    containerd's list (ctr container info)                 ID, Labels
    kubectl get pods -o json                               items[].metadata and .status

Kernels know no names: a foreign file is of use where the orchestrator put the audit container
id into the label or annotation ``nsaudit.contid`` (runc: ``config.labels``). Two ids with one
name are one container, which is how a restore that forgot its id is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import UsageError

LABEL = "nsaudit.contid"


@dataclass(frozen=True, slots=True)
class Names:
    """Names by id, or by ``HOST/id``."""

    known: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, container: str, host: str) -> str:
        """The name of a container on a host, or nothing."""
        return self.known.get(f"{host}/{container}", self.known.get(container, ""))

    def ids_of(self, name: str) -> set[str]:
        """All ids, without hosts, that have this name."""
        return {one.partition("/")[2] or one for one, known in self.known.items() if known == name}


def read_names(paths: Iterable[Path]) -> Names:
    """The names in some files, which are one list.

    Raises UsageError when one is none of the formats above, and when an id has two names.
    """
    known: dict[str, tuple[str, Path]] = {}
    for path in paths:
        for container, name in _read(path):
            before, where = known.setdefault(container, (name, path))
            if before != name:
                raise UsageError(
                    f"{container} is {before} in {where}, and {name} in {path}",
                    hint='where hosts use one id for two containers: {"HOST/4711": "web"}',
                )
    return Names({container: name for container, (name, _) in known.items()})


def _read(path: Path) -> list[tuple[str, str]]:
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


def _names_in(data: Any) -> Iterator[tuple[str, str]]:
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


def _of_runc(state: Any) -> Iterator[tuple[str, str]]:
    """runc keeps labels as ``key=value``."""
    for label in state.get("config", {}).get("labels") or []:
        key, _, value = str(label).partition("=")
        if key == LABEL:
            yield value, str(state["id"])
