"""Publishing, damage, locks, and the door to subprocess."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from harness import proc
from harness.errors import CommandFailed, DeadlineExceeded, HarnessError, HostMissing
from harness.workspace import Workspace, digest


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "state")


def fill(folder: Path) -> None:
    (folder / "file").write_text("content")


def test_an_entry_is_made_once(workspace: Workspace) -> None:
    first = workspace.make("kind", "key", fill)
    assert (first / "file").read_text() == "content"

    def never(_folder: Path) -> None:
        raise AssertionError

    assert workspace.make("kind", "key", never) == first
    assert Workspace(workspace.root).make("kind", "key", never) == first


def test_what_fails_leaves_nothing(workspace: Workspace) -> None:
    def half(folder: Path) -> None:
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workspace.make("kind", "key", half)
    assert workspace.find("kind", "key") is None
    assert list((workspace.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("damage", ["other", "longer content", None])
def test_a_damaged_entry_is_dropped_and_said(
    workspace: Workspace, damage: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    entry = workspace.make("kind", "key", fill)
    if damage is None:
        (entry / "manifest.json").write_text("{")
    else:
        (entry / "file").write_text(damage.ljust(7, "!"))
    again = Workspace(workspace.root)
    assert again.find("kind", "key") is None
    assert "is damaged" in caplog.text
    assert (again.make("kind", "key", fill) / "file").read_text() == "content"


def test_a_full_disk_is_one_line(workspace: Workspace) -> None:
    def full(_folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(HarnessError, match="no space left"):
        workspace.make("kind", "key", full)


def _hold(root: Path, ready: object) -> None:
    with Workspace(root).lock("x"):
        ready.set()  # type: ignore[attr-defined]
        time.sleep(0.3)


def test_a_second_process_waits_for_the_lock(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    other = context.Process(target=_hold, args=(workspace.root, ready))
    other.start()
    ready.wait(10)
    with workspace.lock("x"):
        assert f"process {other.pid} has it" in caplog.text
    other.join(10)
    assert other.exitcode == 0


def test_what_a_killed_process_left_is_swept(workspace: Workspace) -> None:
    (workspace.root / "tmp" / "999999999-abc").mkdir()
    (workspace.root / "tmp" / f"{os.getpid()}-abc").mkdir()
    workspace.sweep()
    assert [path.name for path in (workspace.root / "tmp").iterdir()] == [f"{os.getpid()}-abc"]


def test_parts_of_a_digest_do_not_run_into_each_other() -> None:
    assert digest("ab", "c") != digest("a", "bc")


# -- processes ---------------------------------------------------------------------------


def test_streams_are_kept_apart_and_input_arrives() -> None:
    done = proc.run(["sh", "-c", "cat; echo bad >&2; exit 3"], given=b"good", check=False)
    assert (done.stdout, done.stderr, done.status) == ("good", "bad\n", 3)


def test_a_failure_carries_the_last_word() -> None:
    with pytest.raises(CommandFailed, match="status 4: the last word") as caught:
        proc.run(["sh", "-c", "echo first; echo the last word >&2; exit 4"])
    assert caught.value.status == 4


def test_a_deadline_ends_the_whole_group(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    with pytest.raises(DeadlineExceeded):
        proc.run(["sh", "-c", f"sleep 60 & echo $! >{mark}; wait"], deadline_s=0.5)
    grandchild = Path("/proc", mark.read_text().strip(), "stat")
    # A zombie that nobody has reaped yet is dead enough.
    assert not grandchild.exists() or grandchild.read_text().split()[2] == "Z"


def test_lines_are_told_as_they_come(tmp_path: Path) -> None:
    lines: list[str] = []
    proc.run(
        ["sh", "-c", "echo a; echo b >&2; printf c"], log_to=tmp_path / "l", on_line=lines.append
    )
    assert lines == ["a", "b"]
    assert (tmp_path / "l").read_text() == "a\nb\nc"


def test_a_missing_program_names_its_package() -> None:
    with pytest.raises(HostMissing) as caught:
        proc.require_tool("no-such-tool")
    assert "apt-get install no-such-tool" in caught.value.hint


def test_a_child_sees_a_short_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    # Children that are ourselves must share our state, not make another.
    monkeypatch.setenv("NSAUDIT_STATE", "/somewhere")
    assert "NSAUDIT_STATE=/somewhere" in proc.run(["env"]).stdout
    assert "SECRET" not in proc.run(["env"]).stdout
    assert "LANG=C.UTF-8" in proc.run(["env"]).stdout
