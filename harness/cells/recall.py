"""Arms that need not be asked: the answers of kernels that nobody has touched, kept as cells.

Who edits a tree asks the scenarios of it again and again, and beside it of the kernels that show
the symptom. Those stay the same: what they said of the same scenario, by the same harness and on
the same image and host, is taken over into the run, with its evidence.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path

from harness import scenario
from harness.cells.store import Store
from harness.jobs import Lab
from harness.model import Arm


class Recall:
    """The kept answers for one run; ``keys`` are those of stacks by their names."""

    def __init__(self, store: Store, keys: Mapping[str, str], run: Path) -> None:
        self._store = store
        self._keys = keys
        self._run = run

    def take(self, arms: Mapping[str, Arm]) -> frozenset[str]:
        """Takes over what was answered before; the names of these arms."""
        return frozenset(name for name, arm in arms.items() if self._take(arm))

    def _take(self, arm: Arm) -> bool:
        key = self._keys.get(arm.stack)
        found = self._store.find(key, arm) if key else None
        if found is None:
            return False
        place = self._run / arm.folder
        shutil.copytree(found.artifacts, place, dirs_exist_ok=True)
        scenario.store_result(self._run, dataclasses.replace(found, known=True))
        return True

    def keep(self) -> None:
        """Keeps what the run has answered itself, for the next one."""
        for result in scenario.load_results(self._run):
            if (key := self._keys.get(result.arm.stack)) and not result.known:
                self._store.keep(key, self._run, result)


def keys_of(lab: Lab, arms: Mapping[str, Arm]) -> Mapping[str, str]:
    """The keys of the kernels that arms need, without building any; none for one's own."""
    keys: dict[str, str] = {}
    own = {kernel.stack for kernel in lab.kernels}
    for name in dict.fromkeys(arm.stack for arm in arms.values()):
        if name in own:
            continue
        revision = lab.builder.revision_of(lab.catalogue.require_stack(name))
        keys[name] = lab.builder.key_of(revision)
    return keys
