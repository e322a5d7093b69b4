"""Publishing, damage, locks, and the door to subprocess."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import select
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import proc
from harness import workspace as module
from harness.errors import CommandFailed, DeadlineExceeded, HarnessError, HostMissing
from harness.workspace import Workspace, data_digest, digest, file_digest


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


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read for their checksum from now on."""
    seen: list[str] = []

    def note(path: Path) -> str:
        seen.append(path.name)
        return file_digest(path)

    monkeypatch.setattr(module, "file_digest", note)
    return seen


def age(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the clock by which checks are dated go an hour ahead of that of files."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 3600 * 10**9)


def test_what_nobody_touched_is_not_read_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(monkeypatch)
    entry = workspace.make("kind", "key", fill)
    seen = reads(monkeypatch)
    assert workspace.find("kind", "key", recheck=True) == entry
    assert seen == []
    # A touch has it read again, once.
    os.utime(entry / "file", (1, 1))
    for _ in range(2):
        assert Workspace(workspace.root).find("kind", "key") == entry
    assert seen == ["file"]


def test_what_changed_within_a_tick_of_its_check_is_read_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.make("kind", "key", fill)
    seen = reads(monkeypatch)
    workspace.find("kind", "key", recheck=True)
    assert seen == ["file"]


def test_another_boot_of_the_host_has_all_read_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(monkeypatch)
    workspace.make("kind", "key", fill)
    seen = reads(monkeypatch)
    monkeypatch.setattr(module, "_boot_id", lambda: "another")
    workspace.find("kind", "key", recheck=True)
    assert seen == ["file"]


def test_damage_is_noticed_in_the_process_that_made_the_entry(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(monkeypatch)
    entry = workspace.make("kind", "key", fill)
    (entry / "file").write_text("another")
    assert workspace.find("kind", "key") == entry
    assert workspace.find("kind", "key", recheck=True) is None


def sparse(path: Path, blocks: dict[int, bytes], size: int = 64 << 20) -> Path:
    with path.open("wb") as handle:
        for at, content in blocks.items():
            handle.seek(at)
            handle.write(content)
        handle.truncate(size)
    return path


def test_a_sparse_file_is_named_by_what_it_holds(tmp_path: Path) -> None:
    held = {1 << 20: b"a" * 5000, (32 << 20) + 17: b"b"}
    name = data_digest(sparse(tmp_path / "one", held))
    zeros = {8 << 20: bytes(1 << 20)}
    assert data_digest(sparse(tmp_path / "zeros", {**held, **zeros})) == name
    assert data_digest(sparse(tmp_path / "other", {**held, 5: b"c"})) != name
    moved = {2 << 20: b"a" * 5000, (32 << 20) + 17: b"b"}
    assert data_digest(sparse(tmp_path / "moved", moved)) != name
    data_digest(sparse(tmp_path / "nothing", {}))


def test_a_damaged_sparse_file_is_noticed(workspace: Workspace) -> None:
    def fill_sparse(folder: Path) -> None:
        sparse(folder / "ram", {1 << 20: b"a"})

    entry = workspace.make("kind", "key", fill_sparse)
    assert workspace.find("kind", "key", recheck=True) == entry
    with (entry / "ram").open("r+b") as handle:
        handle.seek(40 << 20)
        handle.write(b"x")
    assert workspace.find("kind", "key", recheck=True) is None


def test_the_content_of_an_entry_is_known_without_reading_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entry = workspace.make("kind", "key", fill)
    content = file_digest(entry / "file")
    seen = reads(monkeypatch)
    assert workspace.content_of(entry / "file") == content
    assert seen == []
    (tmp_path / "outside").write_text("content")
    assert workspace.content_of(tmp_path / "outside") == content
    assert seen == ["outside"]


def test_the_entries_that_were_used_last_stay(workspace: Workspace) -> None:
    for at, key in enumerate(("old", "new", "newest")):
        os.utime(workspace.make("kind", key, fill), (at, at))
    workspace.prune("kind", 2)
    assert workspace.find("kind", "old") is None
    assert workspace.find("kind", "new")
    workspace.prune("no such kind", 2)


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


def test_a_second_thread_waits_without_a_word(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    order: list[str] = []

    def second() -> None:
        with workspace.lock("x"):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with workspace.lock("x"):
            done = pool.submit(second)
            with pytest.raises(TimeoutError):
                done.result(0.2)
            order.append("first")
        done.result(10)
    assert order == ["first", "second"]
    assert "waiting" not in caplog.text


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
    with contextlib.suppress(ProcessLookupError):
        grandchild = os.pidfd_open(int(mark.read_text()))
        try:
            # It has been killed, which on a busy machine is not yet to be dead.
            assert select.select([grandchild], [], [], 10.0)[0]
        finally:
            os.close(grandchild)


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
