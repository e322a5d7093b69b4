"""Forks of one saved guest on a real kernel: nothing of one is seen in another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.guest import channel, saved
from harness.guest.machine import Guest
from harness.jobs import Lab
from harness.model import Kernel
from harness.workspace import Workspace, data_digest

pytestmark = pytest.mark.machinery
_SECRET = "/run/of-one-alone"


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab(Workspace.default())


@pytest.fixture(scope="module")
def kernel(lab: Lab) -> Kernel:
    if why := saved.find_obstacle(lab.machine(known := lab.kernel("vanilla-6.12")), lab.launcher):
        pytest.skip(why)
    return known


@contextlib.contextmanager
def forked(lab: Lab, kernel: Kernel, folder: Path) -> Iterator[Guest]:
    folder.mkdir()
    with lab.guest(kernel, folder, warm=True) as guest:
        assert guest.boot == "warm", lab.why_cold
        yield guest


def said(guest: Guest, *argv: str) -> str:
    return guest.run(argv).require().stdout.strip()


def test_two_forks_share_nothing(lab: Lab, kernel: Kernel, tmp_path: Path) -> None:
    entry = lab.saved_guests(kernel).require(lab.machine(kernel))
    before = data_digest(entry / saved.RAM)
    with forked(lab, kernel, tmp_path / "a") as one, forked(lab, kernel, tmp_path / "b") as two:
        # What one writes in its memory, be it a file of a tmpfs or a kernel's variable,
        one.put(_SECRET, b"mine" * (1 << 20))
        one.run(["sysctl", "-q", "kernel.hostname=one"]).require()
        # is there, and not in the other,
        assert one.get(_SECRET) == b"mine" * (1 << 20)
        assert two.run(["test", "-e", _SECRET]).status == 1
        assert (said(one, "hostname"), said(two, "hostname")) == ("one", "guest")
        # which has ports, random numbers and a boot id of its own,
        assert one.require_port(22) != two.require_port(22)
        for source in ("/proc/sys/kernel/random/uuid", "/proc/sys/kernel/random/boot_id"):
            assert said(one, "cat", source) != said(two, "cat", source)
        one.end()
        two.end()
    # nor in one that is forked afterwards, nor in the saved guest's file.
    with forked(lab, kernel, tmp_path / "c") as three:
        assert three.run(["test", "-e", _SECRET]).status == 1
        three.end()
    assert data_digest(entry / saved.RAM) == before


def test_a_fork_has_the_host_s_time(lab: Lab, kernel: Kernel, tmp_path: Path) -> None:
    with forked(lab, kernel, tmp_path / "a") as guest:
        began = guest.run(["date", "+%s"]).require()
        late = (tmp_path / "a" / "console.log").stat().st_mtime
        assert abs(float(began.stdout) - late) < 60
        guest.end()


def test_damaged_memory_is_made_again(
    lab: Lab, kernel: Kernel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry = lab.saved_guests(kernel).require(lab.machine(kernel))
    with (entry / saved.RAM).open("r+b") as memory:
        memory.seek(64 << 20)
        memory.write(b"\xcc" * 4096)
    with forked(lab, kernel, tmp_path / "a") as guest:
        assert said(guest, "echo", "well") == "well"
        guest.end()
    assert "ram has another checksum" in caplog.text


def test_a_state_that_qemu_refuses_is_dropped_and_the_guest_boots(
    lab: Lab, kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A lab of its own: one that met this forks nothing any more.
    other = Lab(lab.workspace)
    monkeypatch.setattr(saved, "_RECIPE", "of a test")
    entry = other.saved_guests(kernel).require(other.machine(kernel))
    # Whole by its checksum, and still not a state: what another QEMU would see.
    known = other.saved_guests(kernel)
    monkeypatch.setattr(known, "require", lambda _machine: entry)
    state = bytearray((entry / saved.STATE).read_bytes())
    state[4:8] = b"\xff" * 4
    (entry / saved.STATE).write_bytes(state)
    with other.guest(other.kernel("vanilla-6.12"), tmp_path, warm=True) as guest:
        assert guest.boot == "cold"
        assert said(guest, "echo", "well") == "well"
        guest.end()
    assert "could not be used" in known.refused
    assert not entry.exists()


def test_a_fork_that_gets_no_randomness_is_not_used(
    lab: Lab, kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Interrupts alone may make the numbers of two forks differ, so that those prove too little.
    other = Lab(lab.workspace)
    monkeypatch.setattr(saved, "_RECIPE", "of a test")
    frame = channel.fork_frame
    monkeypatch.setattr(channel, "fork_frame", lambda now, entropy: frame(now, entropy[:8]))
    with other.guest(other.kernel("vanilla-6.12"), tmp_path, warm=True) as guest:
        assert guest.boot == "cold"
        guest.end()
    assert "could not be used" in other.why_cold
    assert "reboot: Power down" in (tmp_path / "console-fork.log").read_text()
