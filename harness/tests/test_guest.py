"""Frames, consoles and QEMU's command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import BootStalled, DeadlineExceeded, GuestLost, HarnessError
from harness.guest import channel, console, container, polling, qemu, usage
from harness.guest.boot import start_guest
from harness.guest.channel import Decoder, Frame, Kind
from harness.tests.fake_qemu import REGISTERS, FakeQemu

CONSOLES = Path(__file__).parent / "data" / "consoles"


def test_frames_survive_being_cut_anywhere() -> None:
    sent = [Frame(Kind.OUT, 7, b"abc"), Frame(Kind.EXIT, 7, b"\1\0\0\0"), Frame(Kind.BYE, 0)]
    stream = b"".join(frame.encode() for frame in sent)
    for size in (1, 5, len(stream)):
        decoder = Decoder()
        chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [frame for chunk in chunks for frame in decoder.feed(chunk)] == sent


def test_what_is_no_frame_is_a_lost_guest() -> None:
    with pytest.raises(GuestLost, match="carries no frame"):
        list(Decoder().feed(b"login: root\r\n"))
    too_long = (
        Kind.OUT.to_bytes(4, "little") + bytes(4) + (channel.FRAME_MAX + 1).to_bytes(4, "little")
    )
    with pytest.raises(GuestLost):
        list(Decoder().feed(too_long))


def test_a_command_line_cannot_hold_a_nul() -> None:
    with pytest.raises(ValueError, match="NUL"):
        channel.run_frame(1, ["echo", "a\0b"], {}, "/")
    frame = channel.run_frame(1, ["echo", "x"], {"A": "b"}, "/")
    assert frame.body.split(b"\0") == [b"/", b"2", b"echo", b"x", b"A=b", b""]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("clean", []), ("panic", ["panic"]), ("oops", ["BUG", "oops", "panic"])],
)
def test_real_consoles(name: str, kinds: list[str]) -> None:
    text = (CONSOLES / f"{name}.log").read_text()
    assert [splat.kind for splat in console.parse_splats(text)] == kinds
    assert (console.find_fatal(text) is not None) == ("panic" in kinds)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("[   12.3] BUG: KASAN: slab-use-after-free in audit_log_end+0x1/0x2", "KASAN"),
        ("[   12.3][  T101] WARNING: possible circular locking dependency detected", "lockdep"),
        ("[   12.3] WARNING: CPU: 0 PID: 1 at kernel/audit.c:1 audit_panic+0x1/0x2", "WARN"),
        ("[   12.3] rcu: INFO: rcu_sched self-detected stall on CPU", "RCU stall"),
        ("[   12.3] INFO: task auditd:50 blocked for more than 120 seconds.", "hung task"),
        ("[   12.3] refcount_t: underflow; use-after-free.", "refcount"),
        ("[   12.3] BUG: sleeping function called from invalid context at x.c:1", "atomic sleep"),
        ("[   12.3] kmemleak: 3 new suspected memory leaks (see /sys/…)", "kmemleak"),
        ("[   12.3] BUG: kernel NULL pointer dereference, address: 8", "oops"),
    ],
)
def test_kinds_of_reports(line: str, kind: str) -> None:
    assert [splat.kind for splat in console.parse_splats(f"quiet\n{line}\nRIP: x\n")] == [kind]


def test_a_record_that_quotes_a_crash_is_none() -> None:
    text = "[ 1.0] audit: type=1112 msg='Kernel panic - not syncing: BUG: KASAN: Oops: '\n"
    assert console.parse_splats(text) == ()


def machine(**changes: object) -> qemu.Machine:
    facts: dict[str, object] = {
        "accelerator": "tcg",
        "cpu_model": "qemu64",
        "kernel": Path("/k"),
        "initrd": Path("/i"),
        "root": Path("/a,b/root"),
        "layers": {"pam-1.2": Path("/l")},
        "tsc_khz": 2600000,
    }
    return qemu.Machine(**{**facts, **changes})  # type: ignore[arg-type]


SOCKETS = qemu.Sockets(channel="fd=3", console="fd=4", serial="fd=5", qmp="fd=6")


def test_a_guest_can_write_to_nothing_and_reach_nobody() -> None:
    words = qemu.command(machine(), SOCKETS)
    drives = [word for word in words if word.startswith("id=")]
    assert len(drives) == 2
    assert all("readonly=on" in drive for drive in drives)
    assert "file=/a,,b/root" in drives[0]
    (net,) = [word for word in words if word.startswith("user,")]
    assert "restrict=on" in net
    assert "hostfwd=tcp:127.0.0.1:0-:22" in net
    assert words[words.index("-sandbox") + 1].startswith("on,")
    assert not any("virtfs" in word or "9p" in word for word in words)


def test_disks_are_known_by_name() -> None:
    words = qemu.command(machine(), SOCKETS)
    disks = [word for word in words if word.startswith("virtio-blk")]
    assert [disk.rpartition("=")[2] for disk in disks] == ["root", "pam-1.2"]


def test_emulation_is_told_the_rate_of_its_clock() -> None:
    assert "tsc_early_khz=2600000" in qemu.kernel_arguments(machine())
    assert not [w for w in qemu.kernel_arguments(machine(accelerator="kvm")) if "tsc" in w]
    assert not [w for w in qemu.kernel_arguments(machine(tsc_khz=0)) if "tsc" in w]
    assert {"panic=-1", "oops=panic"} <= set(qemu.kernel_arguments(machine()))


def test_emulation_translates_a_program_once() -> None:
    assert "norandmaps" in qemu.kernel_arguments(machine())
    assert "norandmaps" not in qemu.kernel_arguments(machine(accelerator="kvm"))


def test_a_guest_that_counts_instructions_has_one_processor_and_their_clock() -> None:
    words = qemu.command(machine(icount=True), SOCKETS)
    assert words[words.index("-icount") + 1].startswith("shift=0,")
    assert words[words.index("-smp") + 1] == "1"
    assert words[words.index("-accel") + 1] == "tcg,thread=single"
    assert "tsc_early_khz=1000000" in qemu.kernel_arguments(machine(icount=True))
    assert "-icount" not in qemu.command(machine(), SOCKETS)


def test_a_container_is_entered_by_its_own_namespaces_only() -> None:
    box = container.Container(guest=None, pid=42, kinds=("net", "user"))  # type: ignore[arg-type]
    assert box.enter(["id"]) == ["nsenter", "--target", "42", "--user", "--net", "--", "id"]


def test_a_guest_that_stands_still_boots_once_more_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    by = FakeQemu(stalls=1)
    with start_guest(machine(), tmp_path / "guest", by=by, scale=0.01) as guest:
        assert guest.boot == "second cold"
        assert guest.run(["true"]).status == 0
    assert "the guest's boot: no answer" in caplog.text
    assert "halted at ffffffff81041253, runs at 00007ffff7e3a1b7" in caplog.text
    stalled = tmp_path / "guest" / "stalled"
    assert (stalled / "console.log").read_text() == "booted\n"
    assert (stalled / "processors.txt").read_text() == REGISTERS.replace("\r\n", "\n")


def test_a_guest_that_stands_still_twice_did_not_boot(tmp_path: Path) -> None:
    by = FakeQemu(stalls=2)
    with (
        pytest.raises(BootStalled, match="its processors: halted at"),
        start_guest(machine(), tmp_path / "guest", by=by, scale=0.01),
    ):
        pytest.fail("it did")
    assert len(by.rams) == 2


def test_a_guest_that_is_to_be_saved_boots_once(tmp_path: Path) -> None:
    by = FakeQemu(stalls=1)
    shared = machine(ram=qemu.Ram(file=tmp_path / "ram", private=False))
    with (
        pytest.raises(BootStalled),
        start_guest(shared, tmp_path / "guest", by=by, scale=0.01),
    ):
        pytest.fail("its memory was not fresh")
    assert len(by.rams) == 1


def test_a_guest_whose_streams_cannot_be_followed_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start_guest(machine(), tmp_path / "guest", by=FakeQemu()) as guest:
        monkeypatch.setattr(guest.monitor, "take", lambda _chunk: json.loads("{"))
        with pytest.raises(HarnessError, match="streams cannot be followed"):
            guest.ask_qmp("query-status")


def test_what_somebody_has_to_ask_for_is_not_waited_for(tmp_path: Path) -> None:
    with start_guest(machine(), tmp_path / "guest", by=FakeQemu()) as guest:
        with pytest.raises(RuntimeError, match=r"polling\.poll"):
            guest.wait_until(lambda: guest.run(["true"]).status == 0, 1.0, "an answer")
        assert guest.run(["true"]).status == 0


def test_polling_looks_until_it_sees_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("harness.guest.polling.time.sleep", pauses.append)
    looks = iter(range(9))
    seen = polling.poll(lambda: next(looks), lambda one: one == 8, limit_s=60.0, what="eight")
    assert seen == 8
    assert pauses[:3] == [0.02, 0.04, 0.08]
    assert max(pauses) == pauses[-1] == 0.5


def test_polling_ends_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(9))
    monkeypatch.setattr("harness.guest.polling.time.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("harness.guest.polling.time.sleep", lambda _pause: None)
    with pytest.raises(DeadlineExceeded, match="a marker: not within 3 s"):
        polling.poll(lambda: 1, lambda _one: False, limit_s=3.0, what="a marker")
    # What is there at the first look needs no time at all.
    assert polling.poll(lambda: 1, lambda one: one == 1, limit_s=0.0, what="one") == 1


def test_what_a_guest_needs_is_what_the_host_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "_PROC", tmp_path)
    with start_guest(machine(), tmp_path / "guest", by=FakeQemu()) as guest:
        host = tmp_path / str(guest.pid)
        for thread, said in (("1", "7 1500000000 3\n"), ("2", "9 250000000 1\n"), ("ended", "")):
            (host / "task" / thread).mkdir(parents=True)
            if said:
                (host / "task" / thread / "schedstat").write_text(said)
        (host / "status").write_text("VmPeak:\t  900 kB\nVmHWM:\t  512 kB\nVmRSS:\t  1 kB\n")
        assert usage.waited_s(guest) == 1.75
        assert usage.peak_memory_kib(guest) == 512
