"""The command line: what it takes, what it refuses, and with which status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import cli


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSAUDIT_STATE", str(tmp_path / "state"))


def test_what_follows_the_dashes_belongs_to_the_guest() -> None:
    options = cli._parse(["exec", "vanilla-6.12", "--user", "tester", "--", "ls", "--json", "--"])
    assert (options.stack, options.user) == ("vanilla-6.12", "tester")
    assert options.rest == ["ls", "--json", "--"]


def test_options_may_follow_the_stack() -> None:
    options = cli._parse(["shell", "vanilla-6.12", "--host-root", "--", "--gdb"])
    assert options.host_root
    assert options.rest == ["--gdb"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["exec", "vanila-6.12", "--", "true"], 2, "did you mean vanilla-6.12"),
        (["exec", "vanilla-6.12"], 2, "there is no command"),
        (["build", "nosuch-6.12"], 2, "there is no stack 'nosuch-6.12'"),
        (["fetch", "9.9"], 2, "there is no base '9.9'"),
        (["stacks", "--", "x"], 2, "nothing may follow --"),
        (["run", "--", "--debug"], 2, "the launcher qemu takes no options"),
        (["exec", "vanilla-6.12", "--launcher", "xen", "--", "true"], 2, "no launcher 'xen'"),
        (["run", "--tree", "/nonexistent"], 2, "is no kernel tree"),
        (["run", "--kernel", "/nonexistent"], 2, "there is no file /nonexistent"),
        (["run", "pam-econnrefusd"], 2, "did you mean pam-econnrefused"),
        (["run", "--proves", "--stack", "vanilla-6.12"], 2, "--proves --stack STACK"),
        (["build", "vanilla-6.12", "--config", "nosuch"], 2, "no configuration 'nosuch'"),
        (["patches", "check", "pid-vnr-6.12", "vanilla-6.12"], 2, "vanilla-6.12 has no patches"),
        (["patches", "edit", "pidvnr-6.12"], 2, "did you mean pid-vnr-6.12"),
        (["patches", "refresh", "vanilla-6.12"], 2, "vanilla-6.12 has no patches"),
    ],
)
def test_bad_input_is_one_message_with_the_next_step(
    words: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli._main(words) == status
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_tables_are_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._main(["stacks", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"stack": "vanilla-6.12", "base": "6.12", "series": "-"} in rows
    assert cli._main(["scenarios", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    (row,) = [row for row in rows if row["scenario"] == "vsftpd-pidns"]
    assert row["broken"] == "pidns-user"
    assert row["question"].endswith("?")
    (row,) = [row for row in rows if row["scenario"] == "contid-fault"]
    assert row["broken"] == "without contid, with --config fault"


def test_a_state_folder_that_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NSAUDIT_STATE", "/proc/nowhere")
    assert cli._main(["stacks"]) == 69
    assert "NSAUDIT_STATE" in capsys.readouterr().err
