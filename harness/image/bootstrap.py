"""Runs mmdebstrap, for root and for anybody with subordinate ids, and brings files out.

A recipe is a script and what it reads. Both are copied into the new root and run from there, in
mmdebstrap's own namespace: there files have their true owners, and nothing of the caller's need
be readable or writable for the mapped ids. What the script leaves in ``/mnt/out`` is fetched.
This module must not know what is made.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness import debian, proc
from harness.errors import CommandFailed, HarnessError, HostMissing
from harness.workspace import Workspace, digest, file_digest

RELEASE = "bookworm"
SUITES = (RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security")
# November 2023, after the release. Younger files are given this time, so that the hour in which
# an image is made leaves no trace.
EPOCH = 1700000000
_LIMIT_S = 1800.0
_VARIANT = "apt"
_MERGED_USR = "/usr/share/mmdebstrap/hooks/merged-usr"
_TOOLS = ("mmdebstrap", "mkfs.erofs")
_SUBIDS = (Path("/etc/subuid"), Path("/etc/subgid"))
_IDS = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What makes one image file, and all that its content depends on besides the archive.

    ``given`` are files and folders; the first is the script. mmdebstrap's namespace sees them
    in ``ROOT/mnt``, and the script is called with ROOT. ``outputs`` are what it writes to
    ``ROOT/mnt/out``; the first is the erofs. ``sources`` asks for the source packages' lists.
    """

    kind: str
    name: str
    packages: tuple[str, ...]
    given: tuple[Path, ...]
    outputs: tuple[str, ...]
    sources: bool = False

    @property
    def key(self) -> str:
        """Digest over the recipe. The archive's state is not in it: an image stays until asked."""
        settings = (RELEASE, _VARIANT, str(EPOCH), self.name, *self.packages, *self.outputs)
        return digest(*settings, *(part for path in self.given for part in _content(path)))


def _content(path: Path) -> list[str]:
    """Names and digests of a file, or of all files of a folder."""
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    return [x for one in files for x in (str(one.relative_to(path.parent)), file_digest(one))]


def make(
    workspace: Workspace, recipe: Recipe, *, fresh: bool, on_line: Callable[[str], None]
) -> Path:
    """The erofs of a recipe, from the cache or made. ``fresh`` makes it again in any case.

    The old one stays until the new one is complete. Raises HostMissing for what the host lacks,
    HarnessError with a log when mmdebstrap fails.
    """

    def fill(folder: Path) -> None:
        began = time.monotonic()
        on_line(f"making {recipe.name} of Debian packages")
        _bootstrap(workspace, recipe, folder)
        size = (folder / recipe.outputs[0]).stat().st_size / 1e6
        on_line(f"made {recipe.name}: {size:.1f} MB in {time.monotonic() - began:.0f} s")

    if fresh:
        with workspace.lock(f"fresh-{recipe.name}"), workspace.scratch() as folder:
            fill(folder)
            workspace.drop(recipe.kind, recipe.key)
            entry = workspace.make(recipe.kind, recipe.key, lambda new: _move(folder, new))
    else:
        entry = workspace.make(recipe.kind, recipe.key, fill)
    return entry / recipe.outputs[0]


def _move(folder: Path, new: Path) -> None:
    for path in folder.iterdir():
        path.rename(new / path.name)


def _bootstrap(workspace: Workspace, recipe: Recipe, folder: Path) -> None:
    for tool in _TOOLS:
        proc.require_tool(tool)
    mode = _mode()
    listing = debian.sources_list(SUITES, types=("deb", "deb-src") if recipe.sources else ("deb",))
    log = workspace.work("logs") / f"mmdebstrap-{recipe.name}.log"
    script = recipe.given[0].name
    with workspace.scratch() as scratch:
        sources_file = scratch / "sources.list"
        sources_file.write_text(listing)
        hooks = (
            f"copy-in {shlex.join(str(path) for path in recipe.given)} /mnt",
            f'mkdir "$1/mnt/out" && sh "$1"/mnt/{shlex.quote(script)} "$1"',
            *(
                f"download /mnt/out/{name} {shlex.quote(str(folder / name))}"
                for name in recipe.outputs
            ),
        )
        argv: list[str | Path] = [
            *("mmdebstrap", f"--mode={mode}", f"--variant={_VARIANT}", "--format=null"),
            f"--include={','.join(recipe.packages)}",
            *(f"--customize-hook={hook}" for hook in hooks),
            # Otherwise the package usrmerge makes /usr what it is, and needs all of perl.
            f"--hook-dir={_MERGED_USR}",
            # It tidies a root that is thrown away, after the hooks.
            "--skip=cleanup",
            *(RELEASE, "/dev/null", sources_file),
        ]
        try:
            proc.run(argv, env={"SOURCE_DATE_EPOCH": str(EPOCH)}, deadline_s=_LIMIT_S, log_to=log)
        except CommandFailed as error:
            raise HarnessError(
                f"mmdebstrap could not make {recipe.name}: {reason(error.output)}",
                hint="is the archive reachable, and has $TMPDIR or /tmp 2 GB to spare?",
                log=log,
            ) from error


def reason(output: str) -> str:
    """The line of mmdebstrap's output that says why it failed.

    Its own errors come last and only name the command; the cause is apt's first error, or
    else what was said last before.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    own = next(
        (at for at, line in enumerate(lines) if re.match(r"E: (setup|.*pid \d+) failed", line)),
        len(lines),
    )
    apt = [line for line in lines[:own] if line.startswith("E: ")]
    said = [line for line in lines[:own] if not re.match(r"[IW]: ", line)]
    return (apt or said[-1:] or lines[-1:] or ["it said nothing"])[0].removeprefix("E: ")


# -- many user ids -----------------------------------------------------------------------


def _mode() -> str:
    """How mmdebstrap gets many user ids: as root, or by subordinate ids (subuid(5))."""
    if os.geteuid() == 0:
        return "root"
    proc.require_tool("newuidmap")
    user = pwd.getpwuid(os.getuid()).pw_name
    texts = [path.read_text() if path.exists() else "" for path in _SUBIDS]
    if command := missing_ids(user, *texts):
        raise HostMissing(f"{user} has no subordinate ids", hint=command)
    return "unshare"


def missing_ids(user: str, subuid: str, subgid: str) -> str:
    """The command that gives a user what is missing, with ids that nobody has; or nothing.

    The texts are the files that subuid(5) and subgid(5) describe: ``NAME:FIRST:COUNT``. Entries
    by number are not looked for, since mmdebstrap does not take them.
    """
    flags = []
    for flag, text in (("--add-subuids", subuid), ("--add-subgids", subgid)):
        rows = [line.split(":") for line in text.splitlines() if line.count(":") == 2]
        if not any(row[0] == user and int(row[2]) >= _IDS for row in rows):
            first = max([100000, *(int(row[1]) + int(row[2]) for row in rows)])
            flags.append(f"{flag} {first}-{first + _IDS - 1}")
    return f"sudo usermod {' '.join(flags)} {user}" if flags else ""
