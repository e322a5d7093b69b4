"""From the name of a base to its pristine files.

A base is a Debian source package, a git commit, a folder, or a tarball by URL. ``fetch``
brings what is needed into the cache, once; ``unpack`` writes the tree. What was fetched is
identified by its content, so that the same bytes are the same base wherever they came from.
"""

from __future__ import annotations

import hashlib
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import debian, proc
from harness.errors import CommandFailed, SeriesError, SourceError
from harness.kernel.tables import checked, read_toml
from harness.model import (
    Base,
    DebianSource,
    DirectorySource,
    GitSource,
    Source,
    TarballSource,
)
from harness.workspace import Workspace, digest, file_digest

OnBytes = Callable[[int, int | None], None]
_CHUNK = 1 << 20
_TIMEOUT_S = 60.0
# Suites that Debian keeps beside a release; backports and sid have none.
_POCKETS = ("-updates", "-security")
_KINDS: Mapping[str, tuple[type[Any], Mapping[str, type]]] = {
    "debian": (DebianSource, {"suite": str, "package": str, "version": str}),
    "git": (GitSource, {"repository": str, "ref": str}),
    "directory": (DirectorySource, {"path": str}),
    "tarball": (TarballSource, {"url": str, "sha256": str}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A source that is here: ``path`` is its package, tarball, bare repository or folder.

    ``key`` identifies the content in hex; ``version`` is for people; ``note`` is a sentence
    when it is not quite what bases.toml asks for.
    """

    base: str
    source: Source
    path: Path
    key: str
    version: str
    note: str = ""


def load_bases(path: Path) -> dict[str, Base]:
    """Reads bases.toml. Raises SeriesError that names the base and the key."""
    bases = {}
    for name, table in read_toml(path).items():
        where = f'{path.name}: ["{name}"]'
        kind = table.get("kind") if isinstance(table, dict) else None
        if kind not in _KINDS:
            raise SeriesError(
                f"{where}: kind is {kind!r}", hint=f"one of: {', '.join(_KINDS)}"
            )
        make, keys = _KINDS[kind]
        entry = checked(table, {"kind": str, "objects": int, **keys}, where, {"objects": 0})
        facts = {key: entry[key] for key in keys}
        if "path" in facts:
            facts["path"] = Path(facts["path"]).expanduser()
        if "sha256" in facts and len(facts["sha256"]) != 64:
            raise SeriesError(f"{where}: sha256 has {len(facts['sha256'])} digits instead of 64")
        bases[name] = Base(name=name, source=make(**facts), objects=entry["objects"])
    if not bases:
        raise SeriesError(f"{path.name} names no base")
    return bases


def fetch(base: Base, workspace: Workspace, *, on_bytes: OnBytes | None = None) -> Fetched:
    """The source of a base, brought here where it is not. Raises SourceError."""
    match base.source:
        case DebianSource():
            return _fetch_debian(base, base.source, workspace)
        case GitSource():
            return _fetch_git(base, base.source, workspace)
        case DirectorySource():
            return _take_directory(base, base.source)
        case TarballSource():
            return _fetch_tarball(base, base.source, workspace, on_bytes)


def unpack(fetched: Fetched, folder: Path) -> None:
    """Writes the pristine tree into an empty folder. Raises SourceError."""
    try:
        match fetched.source:
            case DebianSource():
                _unpack_debian(fetched, folder)
            case GitSource():
                archive = folder.with_name(f"{folder.name}.tar")
                proc.run(["git", "-C", fetched.path, "archive", "-o", archive, fetched.key])
                _untar(archive, folder, strip=0)
                archive.unlink()
            case DirectorySource():
                _copy_tree(fetched.path, folder)
            case TarballSource():
                _untar(fetched.path, folder, strip=1)
    except CommandFailed as error:
        raise SourceError(
            f"the source of {fetched.base} cannot be unpacked: {error.message}",
            hint=f"remove {fetched.path} and try again",
        ) from error
    if not (folder / "Kconfig").is_file():
        raise SourceError(f"the source of {fetched.base} is no kernel: it has no Kconfig")


# -- Debian ------------------------------------------------------------------------


def _fetch_debian(base: Base, source: DebianSource, workspace: Workspace) -> Fetched:
    key = digest(source.suite, source.package, source.version)
    note = ""

    def fill(folder: Path) -> None:
        nonlocal note
        pockets = _POCKETS if source.suite in debian.STABLE else ()
        suites = [source.suite, *(source.suite + pocket for pocket in pockets)]
        with debian.private_apt(workspace, suites) as apt:
            versions = apt.versions(source.package)
            if not versions:
                raise SourceError(
                    f"{source.suite} has no package {source.package}",
                    hint="bases.toml says what is fetched for a base",
                )
            version = source.version if source.version in versions else versions[0]
            apt.download(source.package, version, folder).rename(folder / "package.deb")
        (folder / "version").write_text(version)

    entry = workspace.make("source", key, fill)
    version = (entry / "version").read_text()
    if version != source.version:
        note = f"{base.name}: {source.version} is gone from the archive, {version} is taken"
    path = entry / "package.deb"
    return Fetched(
        base=base.name, source=source, path=path, key=file_digest(path), version=version, note=note
    )


def _unpack_debian(fetched: Fetched, folder: Path) -> None:
    """The package holds ``usr/src/linux-source-X.Y.tar.xz``."""
    outer = folder.with_name(f"{folder.name}.deb")
    outer.mkdir(exist_ok=True)
    try:
        proc.run(["dpkg-deb", "-x", fetched.path, outer])
        inner = list(outer.glob("usr/src/linux-source-*.tar.*"))
        if len(inner) != 1:
            raise SourceError(f"{fetched.path} holds {len(inner)} source tarballs")
        _untar(inner[0], folder, strip=1)
    finally:
        shutil.rmtree(outer)


def _untar(archive: Path, folder: Path, *, strip: int) -> None:
    words = ["tar", "-x", "-f", archive, "-C", folder, "--no-same-owner"]
    proc.run([*words, f"--strip-components={strip}"], env={"XZ_DEFAULTS": "-T0"})


# -- git and folders -----------------------------------------------------------------


def _fetch_git(base: Base, source: GitSource, workspace: Workspace) -> Fetched:
    folder = workspace.work("git", digest(source.repository)[:16])
    try:
        if not (folder / "HEAD").is_file():
            proc.run(["git", "init", "--quiet", "--bare", folder])
        known = _commit(folder, f"refs/nsaudit/{source.ref}")
        # A full commit id names the same thing for ever; anything else may have moved.
        if known is None or known != source.ref:
            words = ["fetch", "--quiet", "--depth", "1", source.repository]
            target = f"+{source.ref}:refs/nsaudit/{source.ref}"
            proc.run(["git", "-C", folder, *words, target], deadline_s=7200)
            known = _commit(folder, f"refs/nsaudit/{source.ref}")
    except CommandFailed as error:
        raise SourceError(
            f"{base.name}: {source.ref} cannot be fetched from {source.repository}: "
            + error.message,
            hint="git ls-remote says what there is",
        ) from error
    assert known is not None
    return Fetched(base=base.name, source=source, path=folder, key=known, version=source.ref)


def _commit(folder: Path, name: str) -> str | None:
    done = proc.run(
        ["git", "-C", folder, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"],
        check=False,
    )
    return done.stdout.strip() or None


def _take_directory(base: Base, source: DirectorySource) -> Fetched:
    if not (source.path / "Kconfig").is_file():
        raise SourceError(f"{base.name}: {source.path} is no kernel tree")
    state = hashlib.sha256()
    for path in _tree_files(source.path):
        kind = path.is_symlink()
        content = str(path.readlink()).encode() if kind else path.read_bytes()
        state.update(f"{path.relative_to(source.path)}\0{kind}\0{len(content)}\0".encode())
        state.update(content)
    path = source.path
    return Fetched(base=base.name, source=source, path=path, key=state.hexdigest(), version="")


def _tree_files(folder: Path) -> list[Path]:
    """The files of a tree: what git tracks or would, or everything where it is no checkout."""
    if (folder / ".git").exists():
        words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = proc.run(["git", "-C", folder, *words]).stdout.split("\0")
        paths = [folder / name for name in sorted(set(names)) if name]
    else:
        paths = sorted(folder.rglob("*"))
    return [path for path in paths if path.is_symlink() or path.is_file()]


def _copy_tree(source: Path, folder: Path) -> None:
    for path in _tree_files(source):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target, follow_symlinks=False)


# -- tarballs --------------------------------------------------------------------------


def _fetch_tarball(
    base: Base, source: TarballSource, workspace: Workspace, on_bytes: OnBytes | None
) -> Fetched:
    wanted = source.sha256.lower()
    partial = workspace.work("partial") / wanted

    def fill(folder: Path) -> None:
        _download(source.url, partial, on_bytes)
        found = file_digest(partial)
        if found != wanted:
            partial.unlink()
            raise SourceError(
                f"{source.url} is not what bases.toml says\n"
                f"  wanted  sha256 {wanted}\n  got     sha256 {found}",
                hint="nothing was kept; ask the publisher for the right checksum",
            )
        shutil.move(partial, folder / "tarball")

    path = workspace.make("source", wanted, fill) / "tarball"
    version = source.url.rpartition("/")[2]
    return Fetched(base=base.name, source=source, path=path, key=wanted, version=version)


def _download(url: str, partial: Path, on_bytes: OnBytes | None) -> None:
    """Appends what is missing to ``partial`` (RFC 9110 §14: Range).

    The standard library suffices for one GET with one header: requests and httpx were looked
    at, and neither resumes by itself.
    """
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            resumed = answer.status == 206
            have = have if resumed else 0
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else None
            with partial.open("ab" if resumed else "wb") as sink:
                while chunk := answer.read(_CHUNK):
                    sink.write(chunk)
                    have += len(chunk)
                    if on_bytes:
                        on_bytes(have, total)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return  # All of it is here: the checksum decides.
        raise SourceError(f"{url}: the server says {error.code} {error.reason}") from error
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{url} cannot be fetched: {error}", hint="try again: it goes on where it stopped"
        ) from error
    if total is not None and have != total:
        raise SourceError(
            f"{url} broke off at {have} of {total} bytes",
            hint="try again: it goes on where it stopped",
        )
