"""Says what this host has and lacks for building kernels and running guests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import debian, proc
from harness.errors import HarnessError
from harness.guest import accelerator, vng
from harness.workspace import Workspace

_TOOLS = (
    *("git", "make", "gcc", "ld", "flex", "bison", "bc", "cpio", "tar", "xz"),
    *("mmdebstrap", "mkfs.erofs", "qemu-system-x86_64", "setpriv"),
)
_HEADERS = {"libelf.h": "libelf-dev", "openssl/ssl.h": "libssl-dev"}
_NEEDED_GIB = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. ``mend`` is the command that helps; lacking ones need it."""

    what: str
    state: str
    mend: str = ""
    lacking: bool = False


def examine(workspace: Workspace) -> list[Finding]:
    """Everything that matters, in the order in which a run needs it."""
    return [
        *_tools(),
        *_headers(),
        _archive(),
        _ids(),
        _kvm(),
        _virtme(),
        _ccache(),
        *_checkers(),
        _disk(workspace),
    ]


def _tools() -> Iterator[Finding]:
    for name in _TOOLS:
        path = proc.find_tool(name)
        package = proc.PACKAGES.get(name, name)
        yield Finding(
            what=name,
            state=str(path) if path else "missing",
            mend="" if path else f"apt-get install {package}",
            lacking=path is None,
        )


def _headers() -> Iterator[Finding]:
    for header, package in _HEADERS.items():
        there = any(
            (root / header).exists()
            for root in (Path("/usr/include"), *Path("/usr/include").glob("*-linux-gnu"))
        )
        yield Finding(
            what=header,
            state="there" if there else "missing",
            mend="" if there else f"apt-get install {package}",
            lacking=not there,
        )


def _archive() -> Finding:
    try:
        return Finding(what="Debian archive", state=debian.find_archives().main.uri)
    except HarnessError as error:
        return Finding(what="Debian archive", state=error.message, mend=error.hint, lacking=True)


def _ids() -> Finding:
    if os.geteuid() == 0:
        return Finding(what="user ids for the image", state="root has them")
    path = proc.find_tool("newuidmap")
    return Finding(
        what="user ids for the image",
        state="by newuidmap" if path else "newuidmap is missing",
        mend="" if path else "apt-get install uidmap",
        lacking=path is None,
    )


def _kvm() -> Finding:
    obstacle = accelerator.find_obstacle()
    state = obstacle or "there; the first run finds out whether it works"
    mend = f"usermod -aG kvm {os.environ.get('USER', 'YOU')}" if "this user" in obstacle else ""
    return Finding(what="KVM", state=state, mend=mend)


def _virtme() -> Finding:
    path = vng.find_vng()
    state = str(path) if path else "missing (only shell and --launcher vng need it)"
    return Finding(what="virtme-ng", state=state, mend="" if path else "pip install virtme-ng")


def _ccache() -> Finding:
    path = proc.find_tool("ccache")
    state = str(path) if path else "missing (builds work, and repeat work)"
    return Finding(what="ccache", state=state, mend="" if path else "apt-get install ccache")


def _checkers() -> Iterator[Finding]:
    for name in ("perl", "codespell"):
        path = proc.find_tool(name)
        state = str(path) if path else "missing (only patches check needs it)"
        package = proc.PACKAGES[name]
        yield Finding(what=name, state=state, mend="" if path else f"apt-get install {package}")


def _disk(workspace: Workspace) -> Finding:
    free = shutil.disk_usage(workspace.root).free / (1 << 30)
    little = free < _NEEDED_GIB
    return Finding(
        what="disk",
        state=f"{free:.0f} GiB free in {workspace.root}",
        mend=f"{_NEEDED_GIB} GiB are needed: name another folder in NSAUDIT_STATE"
        if little
        else "",
        lacking=little,
    )
