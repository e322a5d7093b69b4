"""From the name of a base to its pristine files.

A base is a Debian source package, a git commit, a folder, or a tarball by URL. ``fetch``
brings what is needed into the cache, once; ``unpack`` writes the tree. What was fetched is
identified by its content, so that the same bytes are the same base wherever they came from.
This module must not know patches, configurations or builds.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
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

OnProgress = Callable[[int, int | None], None]
_CHUNK = 1 << 20
_SILENCE_S = 60.0
_SLOW_S = 7200.0
_AGAIN = "try again: it goes on where it stopped"
# Suites that have no updates and security suites beside them; nor have those with a hyphen.
_ALONE = ("sid", "unstable", "experimental", "rc-buggy")
_KINDS: Mapping[str, tuple[type[Any], Mapping[str, type]]] = {
    "debian": (DebianSource, {"suite": str, "package": str, "version": str}),
    "git": (GitSource, {"repository": str, "ref": str}),
    "directory": (DirectorySource, {"path": str}),
    "tarball": (TarballSource, {"url": str, "sha256": str}),
}
# What a value must look like, and how that is called.
_FORMS: Mapping[str, tuple[str, str]] = {
    "url": (r"(https?|file)://\S+", "an http, https or file URL"),
    "sha256": (r"[0-9a-fA-F]{64}", "64 hex digits: sha256sum prints them"),
}
# xz goes through a pipe: no second copy of the tarball is written. It is told to use all cores.
_UNPACK_DEBIAN = """\
dpkg-deb --fsys-tarfile "$1" | tar -x -O --wildcards './usr/src/linux-source-*.tar.xz' |
xz -d -c -T0 | tar -x -C "$2" --strip-components=1 --no-same-owner
"""
# Patterns of gitignore(5) that beat those of the tree's own .gitignore, the last match wins.
# Debian's linux-source ignores everything at its top, and has lost the kernel's exceptions.
_IGNORED = (
    *("!/*", "!.*", "!tags/"),
    *(".config*", ".version", ".tmp*", ".vmlinux*", ".*.cmd", ".*.[od]"),
    *("/*.o", "/*.a", "/vmlinux*", "/System.map", "/Module.symvers", "/modules*"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A source that is here.

    ``archive`` is the package or tarball, ``folder`` the bare repository or the tree: one of
    them is there. ``key`` identifies the content in hex: SHA-256, for git the commit.
    ``version`` is for people; ``note`` a sentence when it is not what bases.toml asks for.
    """

    base: str
    source: Source
    key: str
    version: str
    archive: Path | None = None
    folder: Path | None = None
    note: str = ""


# -- bases.toml ----------------------------------------------------------------------


def load_bases(path: Path) -> dict[str, Base]:
    """Reads bases.toml; relative paths in it start at its folder.

    Raises SeriesError that names the file, the base and the key.
    """
    try:
        bases = {name: _load_base(name, table, path) for name, table in read_toml(path).items()}
        if not bases:
            raise SeriesError(f"{path.name} names no base")
    except SeriesError as error:
        error.hint = error.hint or f"the head of {path.name} shows an entry of each kind"
        raise
    return bases


def _load_base(name: str, table: Any, path: Path) -> Base:
    where = f'{path.name}: ["{name}"]'
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+~_-]*", name):
        raise SeriesError(f"{where}: a base's name holds letters, digits and . + ~ _ - only")
    if not isinstance(table, dict):
        raise SeriesError(f"{where} is not a table")
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise SeriesError(f"{where}: 'kind' is {kind!r}", hint=f"one of: {', '.join(_KINDS)}")
    make, keys = _KINDS[kind]
    entry = checked(table, {"kind": str, "objects": int, **keys}, where, {"objects": 0})
    if isinstance(entry["objects"], bool) or entry["objects"] < 0:
        raise SeriesError(f"{where}: 'objects' must be a whole number, 0 or more")
    facts: dict[str, Any] = {key: entry[key] for key in keys}
    for key, value in facts.items():
        form, called = _FORMS.get(key, (r"\S(.*\S)?", "a word"))
        if not re.fullmatch(form, value):
            raise SeriesError(f"{where}: {key!r} must be {called}, not {value!r}")
    if "path" in facts:
        facts["path"] = _beside(path, facts["path"])
    if facts.get("repository", "").startswith((".", "~")):
        facts["repository"] = str(_beside(path, facts["repository"]))
    return Base(name=name, source=make(**facts), objects=entry["objects"])


def _beside(path: Path, named: str) -> Path:
    return (path.parent / Path(named).expanduser()).resolve()


# -- the two verbs ---------------------------------------------------------------------


def fetch(base: Base, workspace: Workspace, *, on_progress: OnProgress | None = None) -> Fetched:
    """The source of a base, brought here where it is not. Raises SourceError.

    ``on_progress`` is told the bytes of a tarball that are here, and of how many if known.
    """
    match base.source:
        case DebianSource():
            return _fetch_debian(base, base.source, workspace)
        case GitSource():
            return _fetch_git(base, base.source, workspace)
        case DirectorySource():
            return _take_directory(base, base.source)
        case TarballSource():
            return _fetch_tarball(base, base.source, workspace, on_progress)


def unpack(fetched: Fetched, folder: Path) -> None:
    """Writes the pristine tree into an empty folder that exists. Raises SourceError."""
    try:
        match fetched.source:
            case DebianSource():
                for tool in ("dpkg-deb", "tar", "xz"):
                    proc.require_tool(tool)
                words = ["bash", "-o", "pipefail", "-c", _UNPACK_DEBIAN, "unpack"]
                proc.run([*words, _there(fetched.archive), folder], deadline_s=_SLOW_S)
            case TarballSource():
                words = ["tar", "-x", "--strip-components=1", "--no-same-owner", "-C", str(folder)]
                env = {"XZ_DEFAULTS": "-T0"}
                proc.run([*words, "-f", _there(fetched.archive)], env=env, deadline_s=_SLOW_S)
            case GitSource():
                _check_out(_there(fetched.folder), fetched.key, folder)
            case DirectorySource():
                _copy_tree(fetched, folder)
    except CommandFailed as error:
        raise SourceError(
            f"{fetched.base}: its source cannot be unpacked: {error.message}",
            # Only what is the cache's: a folder is its owner's.
            hint=f"remove {fetched.archive.parent} and try again" if fetched.archive else "",
        ) from error
    if not (folder / "Kconfig").is_file():
        raise SourceError(f"{fetched.base}: its source is no kernel: it has no Kconfig")


def _there(path: Path | None) -> Path:
    assert path is not None
    return path


# -- Debian ------------------------------------------------------------------------------


def _fetch_debian(base: Base, source: DebianSource, workspace: Workspace) -> Fetched:
    """The entry is named by the version that is asked for, and says which one it holds.

    So a substitute stays the same, also without a network, until the entry is removed.
    """
    alone = "-" in source.suite or source.suite in _ALONE
    pockets = ("",) if alone else ("", "-updates", "-security")

    def fill(folder: Path) -> None:
        suites = [source.suite + pocket for pocket in pockets]
        with debian.PrivateApt.open(workspace, suites) as apt:
            apt.update()
            versions = apt.versions(source.package)
            if not versions:
                raise SourceError(
                    f"{base.name}: {source.suite} has no package {source.package}",
                    hint="bases.toml says what is fetched for a base",
                )
            version = source.version if source.version in versions else versions[0]
            package = apt.download(source.package, version, folder)
        package = package.rename(folder / "package.deb")
        (folder / "facts").write_text(f"{version} {file_digest(package)}\n")

    entry = workspace.make("source", f"{source.package}_{source.version}", fill)
    version, key = (entry / "facts").read_text().split()
    note = ""
    if version != source.version:
        note = f"{base.name}: the archive no longer has {source.version}, {version} is taken"
    archive = entry / "package.deb"
    return Fetched(
        base=base.name, source=source, key=key, version=version, archive=archive, note=note
    )


# -- git -------------------------------------------------------------------------------


def _fetch_git(base: Base, source: GitSource, workspace: Workspace) -> Fetched:
    name = digest(source.repository)[:16]
    folder = workspace.work("git", name)
    # Not by its own name: git cannot have both refs/…/a and refs/…/a/b.
    ref = f"refs/nsaudit/{digest(source.ref)}"
    note = ""
    with workspace.lock(f"git-{name}"):
        if not (folder / "HEAD").is_file():
            proc.run(["git", "init", "--quiet", "--bare", folder])
        known = _find_commit(folder, ref)
        # A full commit id names the same thing for ever; anything else may have moved.
        if known is None or known != source.ref:
            words = ["fetch", "--quiet", "--no-tags", "--depth=1", "--", source.repository]
            try:
                proc.run(["git", "-C", folder, *words, f"+{source.ref}:{ref}"], deadline_s=_SLOW_S)
            except CommandFailed as error:
                what = f"{base.name}: {source.ref} cannot be fetched from {source.repository}"
                if known is None:
                    raise SourceError(
                        f"{what}: {error.message}", hint=f"git ls-remote {source.repository}"
                    ) from error
                note = f"{what}, {known[:12]} of an earlier time is taken: {error.message}"
            known = _find_commit(folder, ref)
    if known is None:
        raise SourceError(f"{base.name}: {source.ref} of {source.repository} is no commit")
    return Fetched(
        base=base.name, source=source, key=known, version=source.ref, folder=folder, note=note
    )


def _find_commit(folder: Path, ref: str) -> str | None:
    words = ["rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"]
    return proc.run(["git", "-C", folder, *words], check=False).stdout.strip() or None


def _check_out(repository: Path, commit: str, folder: Path) -> None:
    # Not "git archive": that leaves out and rewrites what .gitattributes says.
    index = folder / ".nsaudit-index"
    env = {
        "GIT_INDEX_FILE": str(index),
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    words: list[str | Path] = ["git", "--git-dir", repository, "--work-tree", folder]
    words += ["checkout", "--quiet", "--force", commit, "--", "."]
    proc.run(words, cwd=folder, env=env, deadline_s=_SLOW_S)
    index.unlink()


# -- folders -----------------------------------------------------------------------------


def _take_directory(base: Base, source: DirectorySource) -> Fetched:
    folder = source.path
    if not (folder / "Kconfig").is_file():
        raise SourceError(f"{base.name}: {folder} is no kernel tree: it has no Kconfig")
    try:
        key = _digest_files(folder, _list_files(folder))
    except CommandFailed as error:
        raise SourceError(f"{base.name}: git cannot read {folder}: {error.message}") from error
    return Fetched(base=base.name, source=source, key=key, version="as it stands", folder=folder)


def _list_files(folder: Path) -> list[str]:
    """The files of a tree, without ``.git`` and what a build leaves, as names below it.

    Of a checkout: what git tracks, and what it would. Elsewhere the same rules are asked of
    an empty repository.
    """
    words = ["ls-files", "-z", "--others"]
    if (folder / ".git").exists():
        words += ["--cached", "--exclude-standard"]
        listing = proc.run(["git", "-C", folder, *words]).stdout
    else:
        words += ["--exclude-per-directory=.gitignore"]
        words += [f"--exclude={pattern}" for pattern in _IGNORED]
        with tempfile.TemporaryDirectory() as empty:
            proc.run(["git", "init", "--quiet", empty])
            place = ["--git-dir", f"{empty}/.git", "--work-tree", str(folder)]
            listing = proc.run(["git", *place, *words], cwd=folder).stdout
    names = sorted({name for name in listing.split("\0") if name})
    # What is tracked may be gone; a submodule or nested repository is named as a folder.
    return [n for n in names if (folder / n).is_symlink() or (folder / n).is_file()]


def _digest_files(folder: Path, names: Sequence[str]) -> str:
    """SHA-256 over names, kinds and content: what git would make a tree of."""
    state = hashlib.sha256()
    for name in names:
        path = folder / name
        if path.is_symlink():
            kind, content = "link", str(path.readlink()).encode()
        else:
            kind = "program" if path.stat().st_mode & 0o100 else "file"
            content = path.read_bytes()
        state.update(f"{name}\0{kind}\0{len(content)}\0".encode())
        state.update(content)
    return state.hexdigest()


def _copy_tree(fetched: Fetched, folder: Path) -> None:
    source = _there(fetched.folder)
    names = _list_files(source)
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, target, follow_symlinks=False)
    if _digest_files(folder, names) != fetched.key:
        raise SourceError(f"{fetched.base}: {source} changed while it was read", hint="try again")


# -- tarballs ----------------------------------------------------------------------------


def _fetch_tarball(
    base: Base, source: TarballSource, workspace: Workspace, on_progress: OnProgress | None
) -> Fetched:
    wanted = source.sha256.lower()

    def fill(folder: Path) -> None:
        partial = workspace.work("partial") / wanted
        _download(source.url, partial, on_progress)
        found = file_digest(partial)
        if found != wanted:
            partial.unlink()
            raise SourceError(
                f"{base.name}: {source.url} has SHA-256 {found} instead of {wanted}",
                hint="nothing was kept; compare with what its publisher signed",
            )
        partial.rename(folder / "tarball")

    archive = workspace.make("source", wanted, fill) / "tarball"
    version = source.url.rpartition("/")[2]
    return Fetched(base=base.name, source=source, key=wanted, version=version, archive=archive)


def _download(url: str, partial: Path, on_progress: OnProgress | None) -> None:
    """Adds to ``partial`` what is missing (RFC 9110, section 14: range requests).

    The standard library does one GET with one header as well as requests or httpx, which do
    not resume by themselves either; it checks certificates and host names by default.
    """
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_SILENCE_S) as answer:
            resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
            have = have if resumed else 0
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else None
            with partial.open("ab" if resumed else "wb") as sink:
                while chunk := answer.read(_CHUNK):
                    sink.write(chunk)
                    have += len(chunk)
                    if on_progress:
                        on_progress(have, total)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # All of it is here: the checksum decides.
        raise SourceError(
            f"{url}: the server says {error.code} {error.reason}", hint="bases.toml names the URL"
        ) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # The workspace has the words for a full disk.
        raise SourceError(f"{url} cannot be fetched: {error}", hint=_AGAIN) from error
    if total is not None and have != total:
        raise SourceError(f"{url} broke off at {have} of {total} bytes", hint=_AGAIN)
