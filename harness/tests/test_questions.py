"""Questions that are asked under some configurations only: planned there, named elsewhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from harness import cli, questions
from harness.errors import UsageError
from harness.jobs import Lab
from harness.model import Expect
from harness.plugin import hooks, session
from harness.scenario import Question
from harness.workspace import Workspace


class Config:
    """As much of pytest's as a plan looks at."""

    def __init__(self, kernel_config: str, *exactly: str) -> None:
        self._options = {"--kernel-config": kernel_config, "--stack": ["ids-6.12"], "--base": []}
        self._options["--exactly"] = [*exactly]
        self._options["--claimed"] = []

    def getoption(self, name: str) -> object:
        return self._options[name]


def arms(under: tuple[str, ...], kernel_config: str, state: Path) -> list[str]:
    question = Question(name="q", feature=("contid",), under=under)
    config = Config(kernel_config)
    found = hooks.find_arms(question, Lab(Workspace(state)), config)  # type: ignore[arg-type]
    return [arm.stack for arm in found]


@pytest.mark.parametrize(
    ("under", "kernel_config", "asked"),
    [
        ((), "default", True),
        ((), "fault", True),
        (("fault",), "fault", True),
        (("debug", "fault"), "fault", True),
        (("fault",), "default", False),
        (("fault",), "debug", False),
    ],
)
def test_a_question_is_asked_under_its_configurations(
    under: tuple[str, ...], kernel_config: str, asked: bool, tmp_path: Path
) -> None:
    assert arms(under, kernel_config, tmp_path) == (["vanilla-6.12", "ids-6.12"] if asked else [])


def test_exactly_one_stack_is_asked_whatever_the_plan(tmp_path: Path) -> None:
    def find(name: str) -> list[tuple[str, Expect]]:
        question = Question(name="q", broken=("pid-vnr",))
        config = Config("default", name)
        found = hooks.find_arms(question, lab, config)  # type: ignore[arg-type]
        return [(arm.stack, arm.expect) for arm in found]

    lab = Lab(Workspace(tmp_path))
    assert find("nsid-6.12") == [("nsid-6.12", Expect.PASS)]
    with pytest.raises(UsageError, match="no stack 'nsid-6.12-0003'"):
        find("nsid-6.12-0003")
    file = tmp_path / "vmlinux"
    file.touch()
    lab.take(dataclasses.replace(lab.ready_kernel(file, "6.12"), stack="nsid-6.12-0003"))
    assert find("nsid-6.12-0003") == [("nsid-6.12-0003", Expect.PASS)]


def test_a_misspelt_configuration_is_an_error_whatever_is_asked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no configuration 'fualt'") as raised:
        arms(("fualt",), "default", tmp_path)
    assert "fault" in raised.value.hint


def test_what_is_not_asked_is_named() -> None:
    said = "contid-fault is only asked with --config fault"
    assert said in questions.elsewhere([], "default")
    assert questions.elsewhere(["contid-fault"], "debug") == [said]
    assert questions.elsewhere(["contid-set"], "default") == []
    assert questions.elsewhere(["contid-fault", "contid-set"], "fault") == []


def test_nothing_to_ask_says_where_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NSAUDIT_STATE", str(tmp_path))
    monkeypatch.setattr(session, "collect", lambda *_: [])
    assert cli._main(["run", "--stack", "ids-6.12", "contid-fault"]) == 2
    assert "contid-fault is only asked with --config fault" in capsys.readouterr().err
