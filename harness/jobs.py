"""What an arm needs, made on demand: kernels, image, host. Each is a job keyed by content.

A ``Lab`` runs jobs where it is; every one is idempotent and leaves its product in the cache,
so that two processes with the same state folder share the work and a run that was broken off
goes on where it stopped. What a run used is written into its folder, and read from there by
the processes that run its scenarios.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import ConfigError, HarnessError, UsageError
from harness.guest import accelerator, launcher, programs, qemu
from harness.guest.boot import start_guest
from harness.guest.launcher import Launcher
from harness.guest.machine import Guest
from harness.guest.saved import SavedGuests
from harness.image import root
from harness.kernel import kconfig, selftests, series
from harness.kernel.build import Builder, Progress, no_progress
from harness.kernel.gates import Inspector, load_ignored
from harness.model import Host, Image, Kernel
from harness.workspace import PROJECT, Workspace, write_atomically

log = logging.getLogger(__name__)

PATCHES = PROJECT / "kernel-patches"
KCONFIGS = PROJECT / "kconfigs"
SCENARIOS = PROJECT / "scenarios"
# Audit is on from the first process, and its queue holds what a boot can write.
AUDIT_ARGUMENTS = ("audit=1", "audit_backlog_limit=8192")
PAYLOADS = (PROJECT / "harness" / "audit" / "payload",)


class Lab:
    """Kernels, the image and the host of one run; what is missing is made when asked for."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        config: str = "default",
        by: Launcher = launcher.DEFAULT,
        cold: bool = False,
        progress: Progress = no_progress,
        on_step: Callable[[str], None] = log.info,
    ) -> None:
        self.workspace = workspace
        self.catalogue = series.load(PATCHES)
        self.launcher = by
        self.cold = cold
        self.on_step = on_step
        self.builder = Builder(
            workspace=workspace,
            kconfigs=KCONFIGS,
            values={"vcpus": qemu.VCPUS},
            config=config,
            progress=progress,
            on_step=on_step,
        )
        self._kernels: dict[str, Kernel] = {}
        self._image: Image | None = None
        self._host: Host | None = None
        self._tsc_khz: int | None = None
        self._saved: SavedGuests | None = None

    @property
    def inspector(self) -> Inspector:
        """The gates of patches, with guests of this lab."""
        ignored = load_ignored(PATCHES / "checkpatch.toml")
        return Inspector(builder=self.builder, ignored=ignored, boot=self.try_boot)

    # -- products ------------------------------------------------------------

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels that were asked for so far."""
        return tuple(self._kernels.values())

    def kernel(self, stack: str, *, bzimage: bool = False) -> Kernel:
        """The kernel of a stack, built where it is missing."""
        bzimage = bzimage or self.launcher.bzimage
        known = self._kernels.get(stack)
        # A kernel that is no stack of ours was given as a file: there is nothing to build.
        short = known is not None and bzimage and known.bzimage is None
        if known is None or (short and stack in self.catalogue.stacks):
            known = self.builder.build(self.catalogue.require_stack(stack), bzimage=bzimage)
            self._kernels[stack] = known
        return known

    def tree_kernel(self, folder: Path, base: str) -> Kernel:
        """The kernel of a developer's tree as it stands; its stack is called ``tree``."""
        kernel = self.builder.build_directory(
            folder, self.catalogue.require_base(base), bzimage=self.launcher.bzimage
        )
        self._kernels[kernel.stack] = kernel
        return kernel

    def ready_kernel(self, file: Path, base: str) -> Kernel:
        """A bzImage or vmlinux that somebody built; its stack is called ``kernel``.

        What it is configured with is only known inside the guest.
        """
        if not file.is_file():
            raise UsageError(f"there is no file {file}")
        kernel = Kernel(
            stack="kernel",
            base=base,
            release="",
            series=(),
            tree="",
            config=file.with_name("config"),
            config_digest="",
            vmlinux=file.absolute(),
        )
        self._kernels[kernel.stack] = kernel
        return kernel

    def selftests(self, name: str, base: str) -> Sequence[Path]:
        """The programs of the selftests that a series brings along, as they are on a base."""
        revision = self.builder.revision_of(self.catalogue.stack_of(name, base))
        wanted = self.catalogue.series[name].selftests
        return [selftests.build(self.workspace, revision, one) for one in wanted]

    @property
    def image(self) -> Image:
        """The guest's root and its layers."""
        return self._image or self.make_image()

    def make_image(self, *, fresh: bool = False) -> Image:
        """The image; with ``fresh``, made again from today's packages."""
        self._image = root.build_image(self.workspace, on_line=self.on_step, fresh=fresh)
        return self._image

    def host_for(self, kernel: Kernel) -> Host:
        """How guests run here, found with ``kernel`` where it is not known yet."""
        if self._host is None:
            self._host = accelerator.choose(self.workspace, kernel.vmlinux)
        return self._host

    # -- guests --------------------------------------------------------------

    def machine(
        self,
        kernel: Kernel,
        *,
        arguments: Sequence[str] = AUDIT_ARGUMENTS,
        payloads: Sequence[Path] = (),
        lan: bool = False,
    ) -> qemu.Machine:
        """The machine on which a kernel runs with this lab's image.

        ``arguments`` are the words of its command line that are not the machine's own.
        """
        host = self.host_for(kernel)
        if self._tsc_khz is None:
            self._tsc_khz = accelerator.measure_tsc_khz(self.workspace)
        compiled = self._compile(payloads)
        return qemu.Machine(
            accelerator=host.accelerator,
            cpu_model=host.cpu_model,
            # A kernel that somebody else built may be in one form only; QEMU boots either.
            kernel=(kernel.bzimage if self.launcher.bzimage else None) or kernel.vmlinux,
            initrd=programs.make_initrd(self.workspace, compiled),
            root=self.image.root,
            layers=self.image.layers,
            tsc_khz=self._tsc_khz,
            arguments=tuple(arguments),
            forwards=(21, 22),
            lan=lan,
        )

    def _compile(self, payloads: Sequence[Path]) -> list[Path]:
        return [programs.compile_program(self.workspace, p, include=PAYLOADS) for p in payloads]

    @contextlib.contextmanager
    def guest(
        self,
        kernel: Kernel,
        folder: Path,
        *,
        arguments: Sequence[str] = AUDIT_ARGUMENTS,
        payloads: Sequence[Path] = (),
        warm: bool = False,
        lan: bool = False,
    ) -> Iterator[Guest]:
        """A running guest on this lab's image; with ``warm`` a fork of a saved one, if possible.

        One saved guest serves all payloads: its forks get them over the channel. With ``lan`` it
        has a card for a private network.
        """
        scale = accelerator.scale_of(self.host_for(kernel))
        with contextlib.ExitStack() as stack:
            guest = None
            if warm and not self.cold:
                bare = self.machine(kernel, arguments=arguments, lan=lan)
                guest = self.saved_guests(kernel).try_fork(bare, folder, stack)
            if guest:
                for program in self._compile(payloads):
                    guest.put(f"{programs.INSIDE}/{program.name}", program.read_bytes(), 0o755)
            else:
                machine = self.machine(kernel, arguments=arguments, payloads=payloads, lan=lan)
                started = start_guest(machine, folder, by=self.launcher, scale=scale)
                guest = stack.enter_context(started)
            yield guest

    def saved_guests(self, kernel: Kernel) -> SavedGuests:
        """The guests that others fork from."""
        if self._saved is None:
            host = self.host_for(kernel)
            self._saved = SavedGuests(
                self.workspace,
                by=self.launcher,
                qemu_version=host.qemu,
                scale=accelerator.scale_of(host),
            )
        return self._saved

    @property
    def why_cold(self) -> str:
        """Why guests that could be forked are not, or nothing."""
        return self._saved.refused if self._saved else ""

    def try_boot(self, kernel: Kernel, folder: Path | None = None, *, warm: bool = False) -> None:
        """Boots a kernel up to the first command and ends it; raises what is wrong with that.

        With ``warm`` the guest that booted is saved, and what is ended is a fork of it.
        """
        with self.guest(kernel, folder or self.workspace.new_run(), warm=warm) as guest:
            guest.run(["true"]).require()
            guest.end()

    def take(self, kernel: Kernel) -> None:
        """Takes a kernel that was built elsewhere, under the name of its stack."""
        self._kernels[kernel.stack] = kernel

    def forget(self) -> None:
        """Forgets which kernels were asked for; they stay in the cache."""
        self._kernels.clear()

    def verify_config(self, kernel: Kernel, guest: Guest, needs: Sequence[str]) -> None:
        """Raises ConfigError when the running kernel is not configured as asked.

        A kernel that was built here must hold all that was asked of it; a ready one only what
        the scenario needs.
        """
        try:
            raw = guest.get("/proc/config.gz")
        except HarnessError as error:
            raise ConfigError(
                "the kernel does not tell its configuration",
                hint="build it with CONFIG_IKCONFIG_PROC=y",
            ) from error
        actual = kconfig.unpack_ikconfig(raw, kernel.stack)
        needed = kconfig.Kconfig(
            {f"CONFIG_{name}": "y" for name in needs},
            {f"CONFIG_{name}": "the scenario" for name in needs},
        )
        wanted = needed
        if kernel.config_digest:
            wanted = self.builder.wanted(self.catalogue.bases[kernel.base]).merged(needed)
        if broken := wanted.find_broken(actual):
            raise kconfig.explain_broken(wanted, broken, frozenset(broken))

    # -- passing a run on ----------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """What this run uses, as ``adopt`` takes it; paths are Path objects."""
        return {
            "launcher": str(self.launcher),
            "cold": self.cold,
            "kernels": [_plain(kernel) for kernel in self.kernels],
            "image": _plain(self._image) if self._image else None,
            "host": _plain(self._host) if self._host else None,
        }

    def save(self, folder: Path) -> None:
        """Writes what this run uses, so that other processes of it use the same."""
        text = json.dumps(self.describe(), indent=1, default=str)
        write_atomically(folder / "lab.json", text)

    def restore(self, folder: Path) -> None:
        """Takes over what ``save`` wrote; nothing, when it wrote nothing."""
        with contextlib.suppress(FileNotFoundError):
            self.adopt(json.loads((folder / "lab.json").read_text()))

    def adopt(self, facts: Mapping[str, Any]) -> None:
        """Takes over what another lab's ``describe`` said; paths may be text."""
        self.launcher = launcher.parse(facts["launcher"])
        self.cold = facts.get("cold", False)
        for one in facts["kernels"]:
            paths = {name: Path(one[name]) for name in ("config", "vmlinux")}
            bzimage = Path(one["bzimage"]) if one["bzimage"] else None
            kernel = Kernel(**{**one, **paths, "bzimage": bzimage, "series": tuple(one["series"])})
            self._kernels[kernel.stack] = kernel
        if image := facts["image"]:
            self._image = Image(
                root=Path(image["root"]),
                layers={name: Path(path) for name, path in image["layers"].items()},
                digest=image["digest"],
            )
        if host := facts["host"]:
            self._host = Host(**host)


def _plain(value: Kernel | Image | Host) -> Mapping[str, Any]:
    return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
