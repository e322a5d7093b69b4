"""The Debian archive, as the host's own apt configuration names it.

No mirror's name stands in this project. A host that is not Debian names one in
``NSAUDIT_DEBIAN_MIRROR``. Packages are fetched with an apt state of its own, so that nothing
of the host's is changed and no root is needed; signatures are checked by apt as always.
This module must not know what the packages are for.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import proc
from harness.errors import CommandFailed, HostMissing, SourceError
from harness.workspace import Workspace

log = logging.getLogger(__name__)

VARIABLE = "NSAUDIT_DEBIAN_MIRROR"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_ONE_LINE = re.compile(r"deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*(.*)")
# The words that apt takes for "no" (StringToBool in its strutl.cc).
_NO = frozenset({"no", "false", "without", "off", "disable", "0"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A URI without a final ``/``; ``keyring`` None leaves it to what apt trusts anyway."""

    uri: str
    keyring: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Archives:
    """The main archive and, where the host has it, that of the ``-security`` suites."""

    main: Archive
    security: Archive | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One suite at one URI of an apt configuration; ``keyring`` is its Signed-By, if a path."""

    uri: str
    suite: str
    components: tuple[str, ...]
    keyring: Path | None


# -- which archive this host uses ----------------------------------------------------


def find_archives() -> Archives:
    """Where Debian's packages come from on this host. Raises HostMissing when it is unknown."""
    if named := os.environ.get(VARIABLE):
        uri, keyring = named.rstrip("/"), _keyring(None)
        return Archives(
            main=Archive(uri=uri, keyring=keyring),
            security=Archive(uri=f"{uri}-security", keyring=keyring),
        )
    entries: list[Entry] = []
    origins: Mapping[tuple[str, str], str] = {}
    if proc.find_tool("apt-config") and proc.find_tool("apt-get"):
        for path in _source_files():
            # One that only root may read holds a password, and is not Debian's.
            with contextlib.suppress(PermissionError):
                text = path.read_text(errors="replace")
                entries += parse_sources(text, deb822=path.suffix == ".sources")
        # It tells an archive's origin, but is silent until the first "apt-get update", and
        # never tells Signed-By: so the sources are read here as well.
        words = ("indextargets", "--format", "$(REPO_URI) $(RELEASE) $(ORIGIN)")
        origins = parse_origins(proc.run(["apt-get", *words], check=False).stdout)
    return choose_archives(entries, origins)


def _source_files() -> list[Path]:
    words = ("shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d")
    lines = shlex.split(proc.run(["apt-config", *words]).stdout)
    told = dict(line.split("=", 1) for line in lines)
    parts = sorted(Path(told.get("PARTS", "/nonexistent")).glob("*"))
    found = [path for path in parts if path.suffix in (".list", ".sources")]
    return [path for path in (Path(told.get("LIST", "")), *found) if path.is_file()]


def parse_origins(text: str) -> dict[tuple[str, str], str]:
    """Who makes the archive, by URI and suite, from lines of "URI suite origin"."""
    rows = (line.split(maxsplit=2) for line in text.splitlines())
    return {(row[0].rstrip("/"), row[1]): row[2] for row in rows if len(row) == 3}


def parse_sources(text: str, *, deb822: bool) -> list[Entry]:
    """The enabled binary entries of a ``.sources`` or ``.list`` file, after sources.list(5)."""
    entries = []
    for fields in _stanzas(text) if deb822 else _lines(text):
        if "deb" not in fields.get("types", "").split():
            continue
        if fields.get("enabled", "yes").lower() in _NO:
            continue
        # Signed-By may also hold fingerprints, or a whole key, whose lines can begin with a "/".
        signers = fields.get("signed-by", "")
        words = [] if "BEGIN PGP" in signers else re.split(r"[,\s]+", signers)
        keyring = next((Path(word) for word in words if word.startswith("/")), None)
        entries += [
            Entry(
                uri=uri.rstrip("/"),
                suite=suite,
                components=tuple(fields.get("components", "").split()),
                keyring=keyring,
            )
            for uri in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
        ]
    return entries


def _stanzas(text: str) -> Iterable[Mapping[str, str]]:
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            else:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        yield fields


def _lines(text: str) -> Iterable[Mapping[str, str]]:
    for line in text.splitlines():
        if found := _ONE_LINE.fullmatch(line.partition("#")[0].strip()):
            options, uri, suite, components = found.groups()
            pairs = (word.partition("=") for word in (options or "").split())
            yield {
                **{name.lower(): value for name, _, value in pairs},
                "types": "deb",
                "uris": uri,
                "suites": suite,
                "components": components,
            }


def choose_archives(entries: Sequence[Entry], origins: Mapping[tuple[str, str], str]) -> Archives:
    """Picks Debian's archives: the first of each kind. Raises HostMissing without a main one."""
    main = security = None
    for entry in entries:
        if "main" not in entry.components or not _is_debian(entry, origins):
            continue
        archive = Archive(uri=entry.uri, keyring=_keyring(entry.keyring))
        if entry.suite.endswith("-security"):
            security = security or archive
        elif not re.search("[-/]", entry.suite):
            main = main or archive
    if main is None:
        raise HostMissing(
            "this host's apt names no Debian archive",
            hint=f"name one: export {VARIABLE}=http://…/debian",
        )
    return Archives(main=main, security=security)


def _is_debian(entry: Entry, origins: Mapping[tuple[str, str], str]) -> bool:
    """Suite and component do not tell: many vendors have a ``bookworm main`` of their own."""
    if entry.uri.startswith("cdrom:"):
        return False
    if origin := origins.get((entry.uri, entry.suite)):
        return origin == "Debian"
    if entry.keyring:
        return entry.keyring.name.startswith("debian-archive-")
    return "debian" in entry.uri


def _keyring(named: Path | None) -> Path | None:
    return named or (_KEYRING if _KEYRING.exists() else None)


def sources_list(
    suites: Sequence[str],
    *,
    types: Sequence[str] = ("deb",),
    components: Sequence[str] = ("main",),
) -> str:
    """Lines of sources.list(5) for these suites, each from the archive that has it.

    On a host without a security archive those suites are left out, with a warning.
    """
    archives = find_archives()
    lines = []
    for suite in suites:
        archive = archives.security if suite.endswith("-security") else archives.main
        if archive is None:
            log.warning("apt names no security archive: %s is left out (see %s)", suite, VARIABLE)
            continue
        signed = f"[signed-by={archive.keyring}] " if archive.keyring else ""
        lines += [f"{kind} {signed}{archive.uri} {suite} {' '.join(components)}" for kind in types]
    return "".join(f"{line}\n" for line in lines)


# -- an apt of its own -----------------------------------------------------------------

# Given with -c, which apt reads after the host's own files: its proxies and passwords stay.
# Cleared are hooks, which would work on the host's caches, and foreign architectures.
_CONF = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Default-Release "";
// The folder is the caller's; apt's own user could not write there.
APT::Sandbox::User "root";
// A suite that cannot be had is an error, not a warning: its packages would just be missing.
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "-";
Dir::State "{folder}";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateApt:
    """An apt whose whole state is in ``folder``. It raises SourceError with what apt said."""

    folder: Path

    @classmethod
    @contextlib.contextmanager
    def open(cls, workspace: Workspace, suites: Sequence[str]) -> Iterator[PrivateApt]:
        """One for these suites, gone afterwards; ``update`` comes first."""
        listing = sources_list(suites)
        with workspace.scratch() as folder:
            for name in ("lists/partial", "cache/archives/partial"):
                (folder / name).mkdir(parents=True)
            (folder / "status").touch()
            (folder / "sources.list").write_text(listing)
            (folder / "apt.conf").write_text(_CONF.format(folder=folder))
            yield cls(folder=folder)

    def update(self) -> None:
        """Fetches the lists of packages; all of the suites, or it raises."""
        self._run("apt-get", "update")

    def versions(self, package: str) -> list[str]:
        """The versions that the suites have of a package, newest first; none is no error."""
        lines = self._run("apt-cache", "madison", package).splitlines()
        rows = [[word.strip() for word in line.split("|")] for line in lines]
        # A version that two suites have stands there twice.
        return list(dict.fromkeys(r[1] for r in rows if len(r) == 3 and r[0] == package))

    def download(self, package: str, version: str, folder: Path) -> Path:
        """Fetches one binary package into a folder and returns its file."""
        self._run("apt-get", "download", f"{package}={version}", cwd=folder)
        return next(folder.glob(f"{package}_*.deb"))

    def _run(self, program: str, *words: str, cwd: Path | None = None) -> str:
        argv: list[str | Path] = [program, "-c", self.folder / "apt.conf", *words]
        try:
            return proc.run(argv, cwd=cwd, deadline_s=1800).stdout
        except CommandFailed as error:
            wrong = [line for line in error.output.splitlines() if line.startswith(("E:", "W:"))]
            unsigned = "NO_PUBKEY" in error.output or "is not signed" in error.output
            raise SourceError(
                f"{program} {words[0]} failed: {(wrong or [error.message])[0]}",
                hint="apt-get install debian-archive-keyring"
                if unsigned
                else "is the archive reachable?    apt-get update",
            ) from error
