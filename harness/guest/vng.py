"""The one adapter to virtme-ng: an interactive guest, and guests of the harness's own.

virtme-ng trusts ``/dev/kvm`` when it can open it; here it is told what the probe found.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import proc
from harness.errors import HostMissing, UsageError
from harness.guest import qemu
from harness.guest.qemu import Bus, Machine, Sockets
from harness.model import Host, Image, Kernel

# The root is read-only; these become writable, on tmpfs, and the host sees none of it.
_WRITABLE = ("/etc", "/home", "/root", "/var")


def find_vng() -> Path | None:
    """virtme-ng's command: beside this Python, where pip puts it, or on the PATH."""
    beside = Path(sys.executable).with_name("vng")
    return beside if beside.exists() else proc.find_tool("vng")


def require() -> Path:
    """The same; raises HostMissing where virtme-ng is not installed."""
    vng = find_vng()
    if vng is None:
        raise HostMissing("this host has no virtme-ng", hint="pip install virtme-ng")
    return vng


def environment(vng: Path) -> Mapping[str, str]:
    """What virtme-ng needs: it looks its own programs up in the PATH."""
    return {"PATH": f"{vng.parent}:{proc.environment()['PATH']}"}


def command(
    vng: Path, kernel: Kernel, image: Image | None, host: Host, options: Sequence[str]
) -> tuple[str, ...]:
    """The command line of an interactive guest; without ``image`` over the host's own root."""
    if kernel.bzimage is None:
        raise UsageError("virtme-ng boots a bzImage", hint="nsaudit build --bzimage STACK")
    words = _machine(vng, kernel.bzimage, host.accelerator, qemu.MEMORY_MIB)
    if image:
        words += ["--root-disk", str(image.root), "--root-fstype", "erofs"]
        words += ["--user", "root", "--cwd", "/"]
        words += [f"--overlay-rwdir={folder}" for folder in _WRITABLE]
    return (*words, *options)


def answer_command(
    vng: Path, kernel: Kernel, image: Image, host: Host, answer: str
) -> tuple[str, ...]:
    """The command line of a guest that prints ``answer`` as its first command, and ends.

    Its exit status says nothing: that comes over ports that virtme-ng finds only with udev.
    So the answer is printed on the console, with next to nothing else; and virtiofsd is not
    waited for, which a guest with a disk does not need. Both make it quicker.
    """
    options = ["--force-9p", "--verbose", "--append", "loglevel=1", "--exec", f"echo {answer}"]
    return command(vng, kernel, image, host, options)


def configure(source: Path, objects: Path) -> None:
    """Writes virtme-ng's default configuration for a kernel, as ``vng --kconfig`` does."""
    vng = require()
    program = vng.with_name("virtme-configkernel")
    proc.run([program, "--defconfig", f"O={objects}"], cwd=source, env=environment(vng))


def _machine(vng: Path, kernel: Path, accelerator: str, memory_mib: int) -> list[str]:
    words = [str(vng), "--run", shlex.quote(str(kernel))]
    words += ["--cpus", str(qemu.VCPUS), "--memory", f"{memory_mib}M"]
    return words if accelerator == "kvm" else [*words, "--disable-kvm"]


def guest_command(
    vng: Path, machine: Machine, sockets: Sockets, options: Sequence[str]
) -> tuple[str, ...]:
    """The command line of a guest of the harness's own, on virtme-ng's machine.

    The agent's initial RAM file system takes the place of virtme-ng's init, which would put
    its own /etc/shadow, sudoers and more in front of the image's: logins would not be those
    that the other launcher sees. Raises ValueError for a machine without a root, where
    virtme-ng would share the host's, for one that counts instructions, and for one whose
    memory is a file.
    """
    if machine.icount:
        raise ValueError("virtme-ng chooses the processors and their clock itself")
    if machine.ram:
        raise ValueError("virtme-ng chooses the memory itself")
    if machine.root is None:
        raise ValueError("virtme-ng's guest needs a root of its own")
    inside = [
        *("-cpu", machine.cpu_model, "-initrd", str(machine.initrd)),
        *qemu.CONFINED,
        # The first serial port is virtme-ng's and the only one that the kernel takes for its
        # console: what virtme-ng connects it to is replaced by our socket.
        *("-set", "chardev.console.backend=socket", "-set", f"chardev.console.{sockets.console}"),
        *qemu.devices(machine, sockets, Bus.PCI),
    ]
    return (
        *_machine(vng, machine.kernel, machine.accelerator, machine.memory_mib),
        # No process beside QEMU that would have to be ended too (virtiofsd).
        *("--force-9p", "--skip-modules"),
        *("--root-disk", str(machine.root), "--root-fstype", "erofs"),
        # virtme-ng asks for a quiet boot; a console that says nothing proves nothing.
        *("--append", shlex.join([*qemu.kernel_arguments(machine), "loglevel=7"])),
        f"--qemu-opts={shlex.join(inside)}",
        *options,
        # It is never run, but with a command virtme-ng has no use for the terminal and lets
        # a crash end QEMU.
        *("--exec", "true"),
    )


def shell(kernel: Kernel, image: Image | None, host: Host, options: Sequence[str]) -> int:
    """Runs it on this terminal until its user leaves; the exit status is virtme-ng's.

    Raises HostMissing where virtme-ng is not installed.
    """
    vng = require()
    argv = command(vng, kernel, image, host, options)
    with proc.start(
        argv,
        # vng --gdb looks for the kernel's symbols in the folder where it is started.
        cwd=kernel.vmlinux.parent if "--gdb" in options else None,
        env=environment(vng),
        stdin=sys.stdin.buffer,
        stdout=None,
        stderr=None,
        leash=True,
    ) as child:
        return child.wait()
