"""The one adapter to virtme-ng: an interactive guest, with what its users know.

virtme-ng trusts ``/dev/kvm`` when it can open it; here it is told what the probe found.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import proc
from harness.errors import HostMissing, UsageError
from harness.guest import qemu
from harness.model import Host, Image, Kernel

# The root is read-only; these become writable, on tmpfs, and the host sees none of it.
_WRITABLE = ("/etc", "/home", "/root", "/var")


def find_vng() -> Path | None:
    """virtme-ng's command: beside this Python, where pip puts it, or on the PATH."""
    beside = Path(sys.executable).with_name("vng")
    return beside if beside.exists() else proc.find_tool("vng")


def command(
    vng: Path, kernel: Kernel, image: Image | None, host: Host, options: Sequence[str]
) -> tuple[str, ...]:
    """The command line of an interactive guest; without ``image`` over the host's own root."""
    if kernel.bzimage is None:
        raise UsageError("virtme-ng boots a bzImage", hint="nsaudit build --bzimage STACK")
    words = [str(vng), "--run", str(kernel.bzimage)]
    words += ["--cpus", str(qemu.VCPUS), "--memory", f"{qemu.MEMORY_MIB}M"]
    if host.accelerator != "kvm":
        words.append("--disable-kvm")
    if image:
        words += ["--root-disk", str(image.root), "--root-fstype", "erofs"]
        words += ["--user", "root", "--cwd", "/"]
        words += [f"--overlay-rwdir={folder}" for folder in _WRITABLE]
    return (*words, *options)


def shell(kernel: Kernel, image: Image | None, host: Host, options: Sequence[str]) -> int:
    """Runs it on this terminal until its user leaves; the exit status is virtme-ng's.

    Raises HostMissing where virtme-ng is not installed.
    """
    vng = find_vng()
    if vng is None:
        raise HostMissing("this host has no virtme-ng", hint="pip install virtme-ng")
    argv = command(vng, kernel, image, host, options)
    # virtme-ng looks its own programs up in the PATH.
    env: Mapping[str, str] = {"PATH": f"{vng.parent}:{os.environ.get('PATH', os.defpath)}"}
    with proc.start(argv, env=env, stdin=sys.stdin.buffer, stdout=None, stderr=None) as child:
        return child.wait()
