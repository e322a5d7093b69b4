"""The Debian archive, as the host's own apt configuration names it.

No mirror's name stands in this project. A host that is not Debian names one in
``NSAUDIT_DEBIAN_MIRROR``. Every use has an apt state of its own, so that nothing of the
host's is changed and no root is needed; signatures are checked by apt as always.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import proc
from harness.errors import CommandFailed, HostMissing, SourceError
from harness.workspace import Workspace

VARIABLE = "NSAUDIT_DEBIAN_MIRROR"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# Fields of apt-get(8) indextargets: where an index is, and for which suite.
_FORMAT = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
# Releases that have update and security suites, and those that the main archive has besides.
STABLE = frozenset({"bullseye", "bookworm", "trixie", "stable"})
_RELEASES = STABLE | {"forky", "sid", "testing", "unstable"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Archives:
    """The URI of the main archive and that of the security archive, each with a final ``/``."""

    main: str
    security: str


def find_archives() -> Archives:
    """Where Debian's packages come from on this host. Raises HostMissing when it is unknown."""
    if named := os.environ.get(VARIABLE):
        main = named.rstrip("/")
        return Archives(main=f"{main}/", security=f"{main}-security/")
    text = ""
    if proc.find_tool("apt-get"):
        text = proc.run(["apt-get", "indextargets", "--format", _FORMAT], check=False).stdout
    return parse_targets(text)


def parse_targets(text: str) -> Archives:
    """Picks Debian's archives out of lines of "URI suite component"."""
    main = security = ""
    for line in text.splitlines():
        uri, suite, component = (*line.split(), "", "", "")[:3]
        release, _, pocket = suite.partition("-")
        if component != "main" or release not in _RELEASES or "ubuntu" in uri:
            continue
        if pocket == "security":
            security = security or uri
        elif not pocket:
            main = main or uri
    if not main:
        raise HostMissing(
            "this host's apt knows no Debian archive",
            hint=f"name one: export {VARIABLE}=http://…/debian",
        )
    return Archives(main=main, security=security or f"{main.rstrip('/')}-security/")


def sources_list(
    suites: Sequence[str],
    *,
    types: Sequence[str] = ("deb",),
    components: Sequence[str] = ("main",),
) -> str:
    """Lines of sources.list(5) for these suites, each from the archive that has it."""
    archives = find_archives()
    lines = []
    for suite in suites:
        uri = archives.security if suite.endswith("-security") else archives.main
        for kind in types:
            keyring = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
            lines.append(f"{kind} {keyring}{uri} {suite} {' '.join(components)}\n")
    return "".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateApt:
    """An apt of its own in ``folder``; nothing of the host's lists, cache or status is used."""

    folder: Path

    def _run(self, program: str, *words: str, cwd: Path | None = None) -> str:
        options = {
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State": self.folder,
            "Dir::State::Lists": self.folder / "lists",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder / "cache",
            # The folder belongs to the caller; apt's own user need not see it.
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
        }
        flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        try:
            return proc.run([program, *flags, *words], cwd=cwd, deadline_s=1800).stdout
        except CommandFailed as error:
            wrong = [line for line in error.output.splitlines() if line.startswith(("E:", "W:"))]
            raise SourceError(
                f"{program} {words[0]} failed: {(wrong or [error.message])[-1]}",
                hint="is the archive reachable?    apt-get update",
            ) from error

    def versions(self, package: str) -> list[str]:
        """The versions that the archive has, newest first."""
        lines = self._run("apt-cache", "madison", package).splitlines()
        found = [line.split("|")[1].strip() for line in lines if line.count("|") == 2]
        return list(dict.fromkeys(found))

    def download(self, package: str, version: str, folder: Path) -> Path:
        """Fetches one binary package into a folder and returns its file."""
        self._run("apt-get", "download", f"{package}={version}", cwd=folder)
        return next(folder.glob(f"{package}_*.deb"))


@contextlib.contextmanager
def private_apt(workspace: Workspace, suites: Sequence[str]) -> Iterator[PrivateApt]:
    """An updated private apt for these suites, gone afterwards."""
    with workspace.scratch() as folder:
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(sources_list(suites))
        apt = PrivateApt(folder=folder)
        apt._run("apt-get", "update")
        yield apt
