"""Launchers: which there are, virtme-ng's command line, and the streams of its guests."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from harness.errors import GuestLost, HostMissing, UsageError
from harness.guest import launcher, qemu, vng
from harness.jobs import Lab
from harness.workspace import Workspace

PROGRAM = Path("/venv/bin/vng")
SOCKETS = qemu.Sockets(
    channel="path=channel", console="path=console", serial="path=serial", qmp="path=qmp"
)
LIMIT_S = 20.0


def machine(**changes: object) -> qemu.Machine:
    facts: dict[str, object] = {
        "accelerator": "tcg",
        "cpu_model": "qemu64",
        "kernel": Path("/my kernels/bzImage"),
        "initrd": Path("/i"),
        "root": Path("/root.erofs"),
        "layers": {"pam-1.2": Path("/l")},
        "arguments": ("audit=1",),
    }
    return qemu.Machine(**{**facts, **changes})  # type: ignore[arg-type]


def guest_words(options: tuple[str, ...] = (), **changes: object) -> tuple[str, ...]:
    return vng.guest_command(PROGRAM, machine(**changes), SOCKETS, options)


def qemu_words(words: tuple[str, ...]) -> list[str]:
    (given,) = [word for word in words if word.startswith("--qemu-opts=")]
    return shlex.split(given.partition("=")[2])


# -- words of the command line ---------------------------------------------------


@pytest.mark.parametrize("text", ["qemu", "vng", "vng --debug", "vng --append 'a=1 b=2'"])
def test_a_launcher_is_written_as_it_is_read(text: str) -> None:
    by = launcher.parse(text)
    assert str(by) == text
    assert launcher.parse(str(by)) == by


def test_options_of_virtme_ng_may_come_apart() -> None:
    assert launcher.parse("vng --debug", ["--cpus", "4"]).options == ("--debug", "--cpus", "4")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kvmtool", "no launcher 'kvmtool'"),
        ("", "no launcher ''"),
        ("vng '", "no launcher"),
        ("qemu -S", "takes no options, but there is '-S'"),
        ("vng --gdb", "starts no guest"),
    ],
)
def test_what_is_no_launcher(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        launcher.parse(text)


def test_processes_of_a_run_use_its_launcher(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    Lab(workspace, by=launcher.parse("vng --memory 1G")).save(tmp_path)
    other = Lab(workspace)
    other.restore(tmp_path)
    assert str(other.launcher) == "vng --memory 1G"


def test_a_kernel_that_was_given_as_a_file_is_built_in_no_other_form(tmp_path: Path) -> None:
    file = tmp_path / "vmlinux"
    file.touch()
    lab = Lab(Workspace(tmp_path), by=launcher.parse("vng"))
    given = lab.ready_kernel(file, "6.12")
    assert lab.kernel("kernel") is given


def test_without_virtme_ng_the_next_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vng, "find_vng", lambda: None)
    with pytest.raises(HostMissing, match="no virtme-ng") as caught:
        launcher.parse("vng").require()
    assert caught.value.hint == "pip install virtme-ng"


# -- virtme-ng's command line ----------------------------------------------------


def test_virtme_ng_is_given_the_guest_that_qemu_is_given() -> None:
    words = qemu_words(guest_words())
    assert [w.rpartition("=")[2] for w in words if w.startswith("virtio-blk-pci")] == [
        "root",
        "pam-1.2",
    ]
    assert all("readonly=on" in word for word in words if word.startswith("id="))
    (net,) = [word for word in words if word.startswith("user,")]
    assert "restrict=on" in net
    assert "virtserialport,chardev=channel,name=nsaudit" in words
    assert not any(word.endswith("-device") for word in words if word != "-device")
    assert words[words.index("-initrd") + 1] == "/i"


def test_the_kernel_speaks_to_our_socket_and_is_not_quiet() -> None:
    words = guest_words()
    assert "chardev.console.backend=socket" in qemu_words(words)
    assert "chardev.console.path=console" in qemu_words(words)
    said = shlex.split(words[words.index("--append") + 1])
    assert {"oops=panic", "audit=1"} <= set(said)
    assert said[-1] == "loglevel=7"


def test_a_path_with_a_space_is_one_word_in_virtme_ng_s_shell() -> None:
    words = guest_words()
    assert shlex.split(words[words.index("--run") + 1]) == ["/my kernels/bzImage"]


def test_virtme_ng_is_told_what_the_probe_found() -> None:
    assert "--disable-kvm" in guest_words()
    assert "--disable-kvm" not in guest_words(accelerator="kvm", cpu_model="host")


def test_the_user_s_options_win_over_ours() -> None:
    words = guest_words(("--memory", "1G"))
    assert words.index("1G") > words.index("512M")


def test_the_host_s_own_root_is_never_shared() -> None:
    with pytest.raises(ValueError, match="root of its own"):
        guest_words(root=None)


def test_virtme_ng_has_no_machine_that_counts_instructions() -> None:
    with pytest.raises(ValueError, match="their clock"):
        guest_words(icount=True)


# -- starting --------------------------------------------------------------------


def fake_vng(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> launcher.Launcher:
    """A launcher whose virtme-ng is a Python script, run in the folder with the sockets."""
    program = folder / "vng"
    program.write_text(f"#!{sys.executable}\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(vng, "find_vng", lambda: program)
    return launcher.parse("vng")


CONNECT = """
import socket, sys
ends = {name: socket.socket(socket.AF_UNIX) for name in ("qmp", "serial", "channel", "console")}
for name, end in ends.items():
    end.connect(name)
    end.sendall(name.encode())
ends["channel"].recv(1)
"""


def test_streams_come_from_a_private_folder_at_any_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("deep" * 40)
    folder.mkdir()
    with fake_vng(tmp_path, CONNECT, monkeypatch).start(machine(), folder, LIMIT_S) as running:
        (private,) = folder.glob("vng-*")
        assert private.stat().st_mode & 0o777 == 0o700
        for name, end in running.ends.items():
            end.settimeout(LIMIT_S)
            assert end.recv(100).decode() == name
    assert running.child.poll() is not None
    assert sorted(path.name for path in folder.iterdir()) == ["command.txt", "qemu.log"]


def test_a_virtme_ng_that_ends_at_once_is_a_lost_guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = fake_vng(tmp_path, "import sys; sys.exit('vng: error: no')", monkeypatch)
    with (
        pytest.raises(GuestLost, match="ended at once, with status 1"),
        by.start(machine(), tmp_path, LIMIT_S),
    ):
        pass
    assert (tmp_path / "qemu.log").read_text() == "vng: error: no\n"
