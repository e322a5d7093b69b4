"""What a scenario gets: its judge, its guests, and ways in."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.guest import debugfs, serial, ssh
from harness.guest.hosts import Hosts, plan_hosts
from harness.guest.lan import open_lan
from harness.guest.machine import Guest
from harness.jobs import AUDIT_ARGUMENTS, Lab
from harness.kernel import coverage, kconfig
from harness.model import Arm
from harness.plugin.state import began_key, boot_key, judge_key, lab_of, run_folder
from harness.scenario import Judge
from harness.workspace import PROJECT

# On a host that boots in no remarkable time; where it is slower an arm has longer.
ARM_LIMIT_S = 120.0


@pytest.fixture
def arm(request: pytest.FixtureRequest) -> Arm:
    """The stack on which the scenario is asked, and what is expected there."""
    chosen: Arm = request.param
    return chosen


@pytest.fixture
def judge(request: pytest.FixtureRequest, arm: Arm) -> Judge:
    """Where a scenario says what it saw."""
    folder = run_folder(request.config) / arm.folder
    folder.mkdir(parents=True, exist_ok=True)
    options = request.config.option
    words = [word for base in options.base for word in ("--base", base)]
    words += [word for stack in options.stack for word in ("--stack", stack)]
    words += [word for stack in options.exactly for word in ("--exactly", stack)]
    words += ["--claimed"] if options.claimed else []
    words += ["--kernel-config", options.kernel_config]
    write_reproduce(folder, request.node.nodeid, words, lab_of(request.config))
    made = request.node.stash[judge_key] = Judge(arm, folder)
    return made


def write_reproduce(folder: Path, node: str, words: Sequence[str], lab: Lab) -> None:
    """Writes a script that asks this one arm again, with the same kernel and image.

    ``folder`` is the arm's, in the run's, ``node`` pytest's name below the project, and
    ``words`` what chose the arms. The script finds what the run used above its own folder, so
    that both can be moved together.
    """
    argv = [sys.executable, "-m", "pytest", node, *words]
    argv += ["--launcher", str(lab.launcher), *(["--cold"] if lab.cold else [])]
    script = folder / "reproduce"
    script.write_text(
        "#!/bin/sh\n"
        'run=$(cd "$(dirname "$0")/.." && pwd) &&\n'
        f"cd {shlex.quote(str(PROJECT))} &&\n"
        f"NSAUDIT_STATE={shlex.quote(str(lab.workspace.root))} exec {shlex.join(argv)}"
        ' --lab "$run"\n'
    )
    script.chmod(0o755)


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Lab:
    """Kernels, image and host."""
    return lab_of(request.config)


@pytest.fixture
def payloads() -> tuple[Path, ...]:
    """C files that are compiled for the guest, in ``/run/nsaudit``; scenarios override it."""
    return ()


@pytest.fixture
def guests(
    request: pytest.FixtureRequest,
    arm: Arm,
    judge: Judge,
    lab: Lab,
    payloads: Sequence[Path],
) -> Iterator[Mapping[str, Guest]]:
    """The arm's guests, fresh, with its kernel; each must end in good order, its console clean.

    They are the ``Hosts`` that the marker names, or one guest without a name.
    """
    kernel = lab.kernel(arm.stack)
    said = _said(request)
    warm = said.get("boot") != "cold"
    clocks: Mapping[str, float] = said.get("hosts", {})
    plan = plan_hosts(clocks)
    with contextlib.ExitStack() as stack:
        hosts = Hosts(plan, stack.enter_context(open_lan(judge.folder))) if plan else None
        running: dict[str, Guest] = {}
        for name in clocks or [""]:
            started = lab.guest(
                kernel,
                judge.folder / name,
                arguments=said.get("arguments") or AUDIT_ARGUMENTS,
                payloads=payloads,
                warm=warm,
                lan=bool(plan),
            )
            guest = running[name] = stack.enter_context(started)
            if hosts is not None:
                hosts.add(name, guest)
        request.node.stash[boot_key] = guest.boot
        if warm and lab.why_cold:
            judge.note(cold=lab.why_cold)
        lab.verify_config(kernel, guest, said.get("config", ()))
        _extend_limit(request.node, guest.scale)
        judge.note(release=kernel.release, boot_s=round(guest.boot_s, 3))
        if kernel.config.is_file():
            judge.keep("config.txt", kernel.config.read_bytes())
        yield running if hosts is None else hosts
        counted = kconfig.is_built_in(kernel.config, coverage.OPTION)
        for name, guest in running.items():
            if counted and not guest.killed:
                judge.keep(str(Path(name) / coverage.COUNTS), debugfs.read_counts(guest))
            if not guest.killed:
                guest.end()


@pytest.fixture
def guest(guests: Mapping[str, Guest]) -> Guest:
    """The arm's guest, or the first of its hosts."""
    return next(iter(guests.values()))


@pytest.fixture
def hosts(guests: Mapping[str, Guest]) -> Hosts:
    """The hosts that the marker names, on a private network of their own."""
    if not isinstance(guests, Hosts):
        raise pytest.UsageError("the marker of this scenario names no hosts")
    return guests


@pytest.fixture
def console_login(guest: Guest, judge: Judge) -> Iterator[serial.Console]:
    """The guest's second console, on which nothing but logins happens."""
    with serial.open_console(guest, judge.folder / "transcript-console.txt") as console:
        yield console


@pytest.fixture
def ssh_client(guest: Guest) -> Iterator[ssh.Client]:
    """SSH connections to the guest, and through it into its containers."""
    with contextlib.closing(ssh.Client(guest)) as client:
        yield client


def _said(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    marker = request.node.get_closest_marker("scenario")
    return marker.kwargs if marker else {}


def _extend_limit(item: pytest.Item, scale: float) -> None:
    """Gives an arm as much more time as its guests' own limits have."""
    past = time.monotonic() - item.stash[began_key]
    signal.setitimer(signal.ITIMER_REAL, max(ARM_LIMIT_S * scale - past, 1.0))
