"""Makes the guest's root and its layers with mmdebstrap, each an erofs file, cached.

Both work for root and, in a user namespace, for anybody with subordinate ids; the commands
that need ownership run as hooks inside mmdebstrap's own namespace. The same packages give
the same bytes: time stamps and file system ids are fixed, what differs is removed.
"""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from harness import debian, proc
from harness.errors import CommandFailed, HarnessError, HostMissing
from harness.model import Image
from harness.workspace import Workspace, digest, file_digest

RELEASE = "bookworm"
_SUITES = (RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security")
_HERE = Path(__file__).parent
_EPOCH = "1700000000"
_LIMIT_S = 1800.0
_PAM12 = "pam-1.2"
_PAM12_NEEDS = (
    "autoconf",
    "automake",
    "autopoint",
    "dpkg-dev",
    "flex",
    "gcc",
    "gettext",
    "libaudit-dev",
    "libcrypt-dev",
    "libtool",
    "make",
    "patch",
    "pkg-config",
    "xz-utils",
)


def parse_packages(text: str) -> tuple[str, ...]:
    """The package names of ``packages.txt``: one a line, ``#`` begins a comment."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line)


def build_image(
    workspace: Workspace, *, on_line: Callable[[str], None] | None = None, fresh: bool = False
) -> Image:
    """The image: its root and its layers, made where they are missing.

    ``fresh`` makes them again with the packages that the archive has now. ``on_line`` is told
    what is being done. Raises HostMissing for a missing tool, HarnessError when mmdebstrap
    fails.
    """
    tell = on_line or (lambda _line: None)
    root_key = digest(RELEASE, *_contents(_HERE / "files"), *_texts("packages.txt", "customize.sh"))
    layer_key = digest(RELEASE, *_PAM12_NEEDS, *_contents(_HERE / "pam12"))
    if fresh:
        workspace.drop("root", root_key)
        workspace.drop("layer", layer_key)

    def fill_root(folder: Path) -> None:
        tell("making the root: Debian packages")
        _bootstrap(
            workspace,
            folder,
            packages=parse_packages((_HERE / "packages.txt").read_text()),
            given=_HERE / "files",
            hook=_HERE / "customize.sh",
            wanted=("root.erofs", "packages.list"),
        )

    def fill_layer(folder: Path) -> None:
        tell("making the 1.2-era PAM")
        _bootstrap(
            workspace,
            folder,
            packages=_PAM12_NEEDS,
            given=_HERE / "pam12",
            hook=_HERE / "pam12" / "build.sh",
            wanted=("layer.erofs",),
            sources=True,
        )

    root = workspace.make("root", root_key, fill_root) / "root.erofs"
    layer = workspace.make("layer", layer_key, fill_layer) / "layer.erofs"
    return Image(
        root=root,
        layers={_PAM12: layer},
        digest=digest(file_digest(root), _PAM12, file_digest(layer)),
    )


def _texts(*names: str) -> Sequence[bytes]:
    return [(_HERE / name).read_bytes() for name in names]


def _contents(folder: Path) -> Sequence[str | bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [x for path in files for x in (str(path.relative_to(folder)), path.read_bytes())]


def _mode() -> str:
    """How mmdebstrap gets many user ids: as root, or by subordinate ids."""
    if os.geteuid() == 0:
        return "root"
    proc.require_tool("newuidmap")
    user = getpass.getuser()
    named = (f"{user}:", f"{os.getuid()}:")
    for path in (Path("/etc/subuid"), Path("/etc/subgid")):
        lines = path.read_text().splitlines() if path.exists() else []
        if not any(line.startswith(named) for line in lines):
            raise HostMissing(
                f"{user} has no subordinate ids in {path}",
                hint=f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
            )
    return "unshare"


def _bootstrap(
    workspace: Workspace,
    folder: Path,
    *,
    packages: Sequence[str],
    given: Path,
    hook: Path,
    wanted: Sequence[str],
    sources: bool = False,
) -> None:
    """Fills a root with packages, runs a hook over it, and fetches files out of it."""
    for tool in ("mmdebstrap", "mkfs.erofs"):
        proc.require_tool(tool)
    mode = _mode()
    listing = debian.sources_list(_SUITES, types=("deb", "deb-src") if sources else ("deb",))
    with workspace.scratch() as scratch:
        # Only what apt can read inside: the keyring is the host's.
        sources_file = scratch / "sources.list"
        sources_file.write_text(listing)
        log = scratch / "mmdebstrap.log"
        try:
            proc.run(
                [
                    *("mmdebstrap", f"--mode={mode}", "--variant=minbase", "--format=null"),
                    f"--include={','.join(packages)}",
                    f"--customize-hook=copy-in {shlex.quote(str(given))} /",
                    f"--customize-hook={hook.read_text()}",
                    *(
                        f"--customize-hook=download /{name} {shlex.quote(str(folder / name))}"
                        for name in wanted
                    ),
                    # mmdebstrap's own cleaning is for archives that somebody keeps.
                    "--skip=cleanup",
                    *(RELEASE, "/dev/null", str(sources_file)),
                ],
                env={"SOURCE_DATE_EPOCH": _EPOCH},
                deadline_s=_LIMIT_S,
                log_to=log,
            )
        except CommandFailed as error:
            kept = workspace.root / "work" / "mmdebstrap.log"
            shutil.copy(log, kept)
            wrong = [line for line in error.output.splitlines() if line.startswith(("E: ", "<E>"))]
            raise HarnessError(
                f"mmdebstrap failed: {(wrong or [error.message])[0]}",
                hint="the archive must be reachable, and the disk have 2 GiB to spare",
                log=kept,
            ) from error
