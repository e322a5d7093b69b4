"""What machines share: finished entries of the cache, in a folder or behind an fsspec URL.

Layout: ``<kind>/<key>/<seal>/`` with the entry's files and, written last, its manifest. The seal
is a digest of the manifest, so two machines that built the same source differently do not
overwrite each other, and who is told a seal gets exactly these bytes or an error.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from harness.errors import HarnessError, UsageError
from harness.workspace import MANIFEST, Workspace, digest, file_digest, find_damage, read_manifest

_HINT = "name a folder that all machines see, or a URL that fsspec knows, in --store"


@dataclass(frozen=True, slots=True)
class Shared:
    """A file of a store: its entry's kind and key, the seal of that, and its name there."""

    kind: str
    key: str
    seal: str
    name: str


class Store:
    """A store, and the workspace whose cache it is filled from and read into."""

    def __init__(self, url: str, workspace: Workspace) -> None:
        self._workspace = workspace
        self._url = url
        try:
            self._files, self._root = fsspec.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UsageError(f"{url} is no store: {error}", hint=_HINT) from error

    def push(self, path: Path) -> Shared:
        """Puts the entry that holds a file into the store, if it is not there.

        A file that is in no entry, as a kernel that somebody built, becomes one.
        """
        try:
            entry, name = self._workspace.place_of(path)
        except ValueError:
            key, name = file_digest(path), path.name

            def take(folder: Path) -> None:
                shutil.copy(path, folder)

            entry = self._workspace.make("given", key, take)
        manifest = read_manifest(entry)
        shared = Shared(entry.parent.name, entry.name, _seal(manifest), name)
        there = self._place(shared)
        try:
            if not self._files.exists(f"{there}/{MANIFEST}"):
                for each in (*manifest, MANIFEST):
                    self._upload(entry / each, f"{there}/{each}")
        except OSError as error:
            raise HarnessError(f"{self._url} takes nothing: {error}", hint=_HINT) from error
        return shared

    def pull(self, shared: Shared) -> Path:
        """The file in this workspace's cache; fetched where it is missing, and compared.

        Raises HarnessError when the store has it not, or not as it was put there.
        """
        known = self._workspace.find(shared.kind, shared.key)
        if known and _seal(read_manifest(known)) == shared.seal:
            return known / shared.name

        def fill(folder: Path) -> None:
            self._download(f"{self._place(shared)}/{MANIFEST}", folder / MANIFEST)
            manifest = read_manifest(folder)
            if _seal(manifest) != shared.seal:
                raise _spoilt(shared, "its manifest is another one")
            for name in manifest:
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                    raise _spoilt(shared, f"it names a file {name!r}")
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                self._download(f"{self._place(shared)}/{name}", folder / name)
            if damage := find_damage(folder):
                raise _spoilt(shared, damage)

        key = f"{shared.key}.{shared.seal[:16]}"
        return self._workspace.make(shared.kind, key, fill) / shared.name

    def share(self, facts: Any) -> Any:
        """The same facts with each path's file put into the store, and named by ``Shared``.

        A path at which there is no file becomes None.
        """
        match facts:
            case Path():
                return self.push(facts) if facts.is_file() else None
            case Mapping():
                return {name: self.share(value) for name, value in facts.items()}
            case list():
                return [self.share(value) for value in facts]
        return facts

    def fetch(self, facts: Any) -> Any:
        """What ``share`` gave, with paths into this workspace's cache."""
        match facts:
            case Shared():
                return self.pull(facts)
            case Mapping():
                return {name: self.fetch(value) for name, value in facts.items()}
            case list():
                return [self.fetch(value) for value in facts]
        return facts

    def _place(self, shared: Shared) -> str:
        return f"{self._root}/{shared.kind}/{shared.key}/{shared.seal}"

    def _upload(self, path: Path, there: str) -> None:
        # A folder shows a file while it is being written: it gets its name when it is whole.
        aside = f"{there}.{secrets.token_hex(6)}"
        self._files.makedirs(there.rpartition("/")[0], exist_ok=True)
        self._files.put_file(str(path), aside)
        self._files.mv(aside, there)

    def _download(self, there: str, path: Path) -> None:
        try:
            self._files.get_file(there, str(path))
        except OSError as error:
            raise HarnessError(f"the store {self._url} has no {there}", hint=_HINT) from error


def _seal(manifest: Mapping[str, Mapping[str, object]]) -> str:
    return digest(json.dumps(manifest, sort_keys=True))


def _spoilt(shared: Shared, why: str) -> HarnessError:
    place = f"{shared.kind}/{shared.key}"
    return HarnessError(f"{place} of the store is damaged: {why}", hint=f"remove {place} there")
