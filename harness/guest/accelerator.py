"""Finds out how guests run on this host, by running one.

``/dev/kvm`` can exist, open, and create a virtual machine, and still not run a kernel: QEMU
aborts, or stays alive with the machine paused in ``internal-error``. So a real kernel is
booted to its first answer, with a limit, and QEMU's own state is watched meanwhile.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from harness import proc
from harness.errors import DeadlineExceeded, HarnessError
from harness.guest import programs, qemu
from harness.guest.boot import BOOT_REFERENCE_S, start_guest
from harness.model import Host
from harness.workspace import Workspace, write_atomically

log = logging.getLogger(__name__)

KVM = Path("/dev/kvm")
KVM_LIMIT_S = 8.0
_TCG_LIMIT_S = 60.0
_VERSION = re.compile(r"version (\S+)")


def find_qemu_version() -> str:
    """QEMU's version, as it prints it. Raises HostMissing where there is none."""
    found = _VERSION.search(proc.run([qemu.PROGRAM, "--version"]).stdout)
    return found.group(1) if found else "unknown"


def measure_tsc_khz(workspace: Workspace) -> int:
    """The host's time-stamp counter in kHz, or 0 where it has none.

    To the next MHz: the last digits are those of the measurement, and guests that are told
    different rates are not forks of one saved guest.
    """
    done = proc.run([programs.compile_program(workspace, programs.TSC)], check=False)
    return round(int(done.stdout), -3) if done.status == 0 else 0


def choose(workspace: Workspace, kernel: Path) -> Host:
    """The accelerator that a probe boot of ``kernel`` found to work, and why it is that one.

    The answer is kept until the host is booted again or QEMU or ``/dev/kvm`` changes.
    """
    version = find_qemu_version()
    cores = len(os.sched_getaffinity(0))
    path = workspace.work("probe") / "host.json"
    with workspace.lock("probe"):
        identity = _identity(version)
        try:
            known = json.loads(path.read_text())
            if known.pop("identity") == identity:
                return Host(**{**known, "cores": cores})
        except (OSError, ValueError, KeyError, TypeError):
            log.debug("no earlier probe of this host holds")
        host = _probe(workspace, kernel, version, cores)
        facts = {name: getattr(host, name) for name in Host.__slots__}
        write_atomically(path, json.dumps({"identity": identity, **facts}))
    return host


def _identity(version: str) -> Sequence[object]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    try:
        facts = KVM.stat()
        device: tuple[object, ...] = (facts.st_rdev, facts.st_mode, facts.st_gid)
    except OSError:
        device = ()
    return [version, boot, list(device), os.access(KVM, os.R_OK | os.W_OK)]


def _probe(workspace: Workspace, kernel: Path, version: str, cores: int) -> Host:
    boot_s, why = 0.0, find_obstacle()
    if not why:
        boot_s, why = _boot(workspace, kernel, "kvm", KVM_LIMIT_S)
    accelerator = "kvm" if boot_s else "tcg"
    if accelerator == "kvm":
        why = f"KVM booted a kernel in {boot_s:.1f} s"
    else:
        boot_s, failure = _boot(workspace, kernel, "tcg", _TCG_LIMIT_S)
        if not boot_s:
            raise HarnessError(
                f"no guest boots on this host: {failure}",
                hint="try the kernel by hand with: nsaudit exec STACK -- true",
            )
    return Host(
        accelerator=accelerator,
        why=why,
        cpu_model=qemu.CPU_MODELS[accelerator],
        qemu=version,
        cores=cores,
        boot_s=round(boot_s, 3),
    )


def find_obstacle() -> str:
    """Why KVM need not even be tried, or nothing."""
    if not KVM.exists():
        return f"there is no {KVM}"
    if not os.access(KVM, os.R_OK | os.W_OK):
        return f"{KVM} is there, but not for this user (group {_group(KVM)})"
    return ""


def _group(path: Path) -> str:
    try:
        return path.group()
    except KeyError:
        return str(path.stat().st_gid)


def _boot(
    workspace: Workspace, kernel: Path, accelerator: str, limit_s: float
) -> tuple[float, str]:
    """Seconds to the first answer, or 0 and the reason why there was none."""
    machine = qemu.Machine(
        accelerator=accelerator,
        cpu_model=qemu.CPU_MODELS[accelerator],
        kernel=kernel,
        initrd=programs.make_initrd(workspace),
        tsc_khz=measure_tsc_khz(workspace),
    )
    began = time.monotonic()
    with workspace.scratch() as folder:
        try:
            with start_guest(machine, folder, await_hello=False) as guest:
                while time.monotonic() - began < limit_s:
                    try:
                        guest.await_hello(began, limit_s=0.5)
                    except DeadlineExceeded:
                        if guest.is_stuck():
                            return 0.0, f"{KVM} opens, but the guest stops in internal-error"
                        continue
                    return time.monotonic() - began, ""
                return 0.0, f"no answer from a {accelerator} guest within {limit_s:.0f} s"
        except HarnessError as error:
            said = error.message.splitlines()
            reason = next((one for one in said if one.startswith("QEMU: ")), said[0])
            return 0.0, f"a {accelerator} guest did not boot: {reason.removeprefix('QEMU: ')}"


def scale_of(host: Host) -> float:
    """By how much limits are stretched on this host; never below 1."""
    return max(1.0, host.boot_s / BOOT_REFERENCE_S)
