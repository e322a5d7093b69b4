"""Saved guests: what they are keyed by, what QEMU is asked for, and when guests boot instead."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DeadlineExceeded, GuestCrashed, GuestLost, HarnessError
from harness.guest import channel, launcher, qemu, saved
from harness.guest.channel import Kind
from harness.guest.launcher import OwnQemu, Running
from harness.guest.saved import KIND, SavedGuests
from harness.jobs import Lab
from harness.model import Host
from harness.tests.fake_qemu import FakeQemu
from harness.workspace import Workspace

MACHINE = qemu.Machine(
    accelerator="tcg",
    cpu_model="qemu64",
    kernel=Path("/k"),
    initrd=Path("/i"),
    root=Path("/r"),
    layers={"pam": Path("/l")},
    tsc_khz=2600000,
    arguments=("audit=1",),
)


# -- keys ------------------------------------------------------------------------


def key(machine: qemu.Machine = MACHINE, version: str = "7.2", changed: str = "") -> str:
    contents = {changed: "other"}
    return saved.key_of(machine, version, lambda path: contents.get(path.name, "same"))


@pytest.mark.parametrize(
    "change",
    [
        {"accelerator": "kvm"},
        {"cpu_model": "max"},
        {"memory_mib": 256},
        {"arguments": ("audit=1", "debug")},
        {"tsc_khz": 2400000},
        {"forwards": (22, 80)},
        {"layers": {}},
    ],
)
def test_another_machine_has_another_saved_guest(change: dict[str, Any]) -> None:
    assert key(dataclasses.replace(MACHINE, **change)) != key()


@pytest.mark.parametrize("file", ["k", "i", "r", "l"])
def test_other_content_of_a_file_has_another_saved_guest(file: str) -> None:
    assert key(changed=file) != key()


def test_another_qemu_has_another_saved_guest() -> None:
    assert key(version="8.0") != key()


def test_where_a_file_lies_does_not_matter() -> None:
    assert key(dataclasses.replace(MACHINE, kernel=Path("/elsewhere/k"))) == key()


def test_another_recipe_has_another_saved_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    monkeypatch.setattr(saved, "_RECIPE", saved._RECIPE + 1)
    assert key() != before


# -- the command line ------------------------------------------------------------


def words(private: bool) -> tuple[str, ...]:
    ram = qemu.Ram(file=Path("/a,b/ram"), private=private)
    sockets = qemu.Sockets(channel="", console="", serial="", qmp="")
    return qemu.command(dataclasses.replace(MACHINE, ram=ram), sockets)


def test_a_fork_maps_the_memory_privately_and_waits() -> None:
    (memory,) = [word for word in words(private=True) if word.startswith("memory-backend")]
    assert "share=off" in memory
    assert "mem-path=/a,,b/ram" in memory
    assert words(private=True)[words(private=True).index("-incoming") + 1] == "defer"


def test_a_guest_that_is_saved_boots_and_writes_into_the_file() -> None:
    (memory,) = [word for word in words(private=False) if word.startswith("memory-backend")]
    assert "share=on" in memory
    assert "size=512M" in memory
    assert "-incoming" not in words(private=False)


def test_the_time_and_randomness_of_a_fork_are_one_frame() -> None:
    frame = channel.fork_frame(3_000_000_007, b"e" * 64)
    assert frame.body == (3).to_bytes(8, "little") + (7).to_bytes(4, "little") + b"e" * 64


# -- what QEMU is asked for ------------------------------------------------------


SAVING = ["qmp_capabilities", "stop", "migrate-set-capabilities", "getfd", "migrate"]
FORKING = ["qmp_capabilities", "migrate-set-capabilities", "getfd", "migrate-incoming", "cont"]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "state")


@pytest.fixture
def machine(tmp_path: Path) -> qemu.Machine:
    kernel, initrd, root = (tmp_path / name for name in ("kernel", "initrd", "root"))
    for path in (kernel, initrd, root):
        path.write_text(path.name)
    return dataclasses.replace(MACHINE, kernel=kernel, initrd=initrd, root=root, layers={})


def guests(workspace: Workspace, by: launcher.Launcher) -> SavedGuests:
    return SavedGuests(workspace, by=by, qemu_version="7.2", scale=1.0)


def how_it_comes(
    known: SavedGuests, machine: qemu.Machine, folder: Path, during: Any = None
) -> str:
    folder.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        guest = known.try_fork(machine, folder, stack)
        if guest and during:
            during(guest)
        return guest.boot if guest else "cold"


def test_a_guest_is_saved_once_and_forked_often(
    workspace: Workspace, machine: qemu.Machine, tmp_path: Path
) -> None:
    by = FakeQemu()
    known = guests(workspace, by)
    assert how_it_comes(known, machine, tmp_path / "one") == "warm"
    assert by.asked == [*SAVING, *FORKING]
    assert how_it_comes(known, machine, tmp_path / "two") == "warm"
    assert by.asked == [*SAVING, *FORKING, *FORKING]
    assert [ram and ram.private for ram in by.rams] == [False, True, True]
    (entry,) = (workspace.root / "cache" / KIND).iterdir()
    assert (entry / "state").read_bytes() == b"device state"
    # What the kernel said at its boot is said of every fork, so that it is judged there.
    assert (tmp_path / "two" / "console.log").read_text() == "booted\n"


def test_every_fork_gets_randomness_of_its_own(
    workspace: Workspace, machine: qemu.Machine, tmp_path: Path
) -> None:
    by = FakeQemu()
    known = guests(workspace, by)
    for name in ("one", "two"):
        assert how_it_comes(known, machine, tmp_path / name) == "warm"
    given = [frame.body[12:] for frame in by.frames if frame.kind is Kind.FORK]
    assert len(given) == len(set(given)) == 2
    assert {len(one) for one in given} == {64}


def test_damaged_memory_is_noticed_before_it_is_used(
    workspace: Workspace,
    machine: qemu.Machine,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    by = FakeQemu()
    known = guests(workspace, by)
    how_it_comes(known, machine, tmp_path / "one")
    (entry,) = (workspace.root / "cache" / KIND).iterdir()
    (entry / "ram").write_bytes(b"Memory")
    by.asked.clear()
    assert how_it_comes(known, machine, tmp_path / "two") == "warm"
    assert by.asked == [*SAVING, *FORKING]
    assert "ram has another checksum" in caplog.text


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (FakeQemu(refuses="migrate"), "could not be saved: QEMU refuses migrate: not today"),
        (FakeQemu(ends="failed"), "could not be saved: QEMU says that migrate failed"),
        (FakeQemu(refuses="migrate-incoming"), "could not be used: QEMU refuses migrate-incoming"),
        (FakeQemu(refuses="cont"), "could not be used: QEMU refuses cont: not today"),
    ],
)
def test_where_qemu_refuses_guests_boot_and_it_is_said_once(
    by: FakeQemu,
    said: str,
    workspace: Workspace,
    machine: qemu.Machine,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    known = guests(workspace, by)
    assert how_it_comes(known, machine, tmp_path / "one") == "cold"
    assert said in known.refused
    asked = len(by.asked)
    assert how_it_comes(known, machine, tmp_path / "two") == "cold"
    assert len(by.asked) == asked
    assert caplog.text.count("guests boot cold") == 1
    # What cannot be used is not kept for the next run either.
    kept = workspace.root / "cache" / KIND
    assert not kept.exists() or list(kept.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (GuestCrashed("the kernel crashed: BUG"), False),
        (GuestLost("the guest ended"), True),
        (DeadlineExceeded("no answer"), True),
    ],
)
def test_a_kernel_that_crashes_at_boot_says_so_in_its_arm(
    error: HarnessError,
    refused: bool,
    workspace: Workspace,
    machine: qemu.Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def crash(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(saved, "save", crash)
    known = guests(workspace, FakeQemu())
    assert how_it_comes(known, machine, tmp_path / "one") == "cold"
    assert bool(known.refused) == refused


def test_an_error_of_the_guest_s_user_is_no_reason_to_give_up(
    workspace: Workspace, machine: qemu.Machine, tmp_path: Path
) -> None:
    def fail(_guest: object) -> None:
        raise GuestLost("during the scenario")

    known = guests(workspace, FakeQemu())
    with pytest.raises(GuestLost, match="during the scenario"):
        how_it_comes(known, machine, tmp_path / "one", fail)
    assert not known.refused
    assert how_it_comes(known, machine, tmp_path / "two") == "warm"


def test_a_qemu_that_does_not_start_is_the_boot_s_to_tell(
    workspace: Workspace,
    machine: qemu.Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by = FakeQemu()
    known = guests(workspace, by)
    how_it_comes(known, machine, tmp_path / "one")

    def missing(*_args: object) -> contextlib.AbstractContextManager[Running]:
        raise HarnessError("this host has no QEMU")

    monkeypatch.setattr(by, "start", missing)
    assert how_it_comes(known, machine, tmp_path / "two") == "cold"
    assert "this host has no QEMU" in known.refused


@pytest.mark.parametrize("gone", ["console.log", "state"])
def test_a_saved_guest_that_somebody_else_took_away_is_made_again(
    gone: str,
    workspace: Workspace,
    machine: qemu.Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = guests(workspace, FakeQemu())
    entry = known.require(machine)
    (entry / gone).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(known, "require", lambda _machine: entry)
        assert how_it_comes(known, machine, tmp_path / "one") == "cold"
    assert not known.refused
    assert how_it_comes(known, machine, tmp_path / "two") == "warm"


@pytest.mark.parametrize(
    ("cold", "warm", "boot"),
    [(False, True, "warm"), (True, True, "cold"), (False, False, "cold")],
)
def test_a_lab_forks_where_it_is_asked_and_may(
    cold: bool,
    warm: bool,
    boot: str,
    workspace: Workspace,
    machine: qemu.Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by = FakeQemu()
    lab = Lab(workspace, by=by, cold=cold)
    host = Host(accelerator="tcg", why="", cpu_model="qemu64", qemu="7.2", cores=2, boot_s=1.0)
    monkeypatch.setattr(lab, "host_for", lambda _kernel: host)
    monkeypatch.setattr(lab, "machine", lambda *_args, **_options: machine)
    program = tmp_path / "send"
    program.write_bytes(b"a program")
    monkeypatch.setattr(lab, "_compile", lambda payloads: [program] * len(payloads))
    kernel = lab.ready_kernel(machine.kernel, "6.12")
    folder = tmp_path / "guest"
    with lab.guest(kernel, folder, payloads=[Path("send.c")], warm=warm) as guest:
        assert guest.boot == boot
    # The initial RAM file system of a fork is the saved guest's: payloads follow it.
    put = [frame.body[4:] for frame in by.frames if frame.kind is Kind.PUT]
    assert put == ([b"/run/nsaudit/send\0a program"] if boot == "warm" else [])


def test_processes_of_a_run_boot_cold_when_it_does(workspace: Workspace, tmp_path: Path) -> None:
    Lab(workspace, cold=True).save(tmp_path)
    other = Lab(workspace)
    other.restore(tmp_path)
    assert other.cold


@pytest.mark.parametrize(
    ("change", "by", "why"),
    [
        ({}, launcher.parse("vng"), "virtme-ng starts no saved guests"),
        ({"icount": True}, OwnQemu(), "counts its instructions"),
        ({"accelerator": "kvm"}, OwnQemu(), "not forked with kvm"),
        ({}, OwnQemu(), ""),
    ],
)
def test_what_is_never_forked(change: dict[str, Any], by: launcher.Launcher, why: str) -> None:
    found = saved.find_obstacle(dataclasses.replace(MACHINE, **change), by)
    assert why in found
    assert bool(found) == bool(why)
