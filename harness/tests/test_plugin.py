"""What the marker of a scenario may say."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.jobs import Lab
from harness.model import Expect
from harness.plugin import session
from harness.workspace import Workspace

SCENARIO = """
import pytest

@pytest.mark.scenario(broken=["userns-eperm"], {more})
def test_it(arm): ...
"""


def collect(monkeypatch: pytest.MonkeyPatch, folder: Path, *more: str) -> list[list[str]]:
    """The stacks that a scenario with each of these markers is asked of."""
    names = [f"odd-{zlib.crc32(one.encode()):x}" for one in more]
    for name, one in zip(names, more, strict=True):
        place = folder / name
        place.mkdir()
        # A module is imported once in a process, by its name.
        file = place / f"test_{name.replace('-', '_')}.py"
        file.write_text(SCENARIO.format(more=one))
    monkeypatch.setattr(session, "SCENARIOS", folder)
    arms = session.collect(names, []).values()
    return [[arm.stack for arm in arms if arm.scenario == name] for name in names]


def test_a_marker_gives_a_scenario_its_arms(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    right = [
        'layers=["pam-1.2"]',
        'boot="cold"',
        'arguments=["quiet"]',
        'hosts={"north": 0, "south": -2.5}',
    ]
    for stacks in collect(monkeypatch, tmp_path, *right):
        assert sorted(stacks) == ["userns-eperm-6.12", "vanilla-6.12"]


def test_a_marker_that_asks_for_what_there_is_not_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    odd = {
        'layers=["pam-9"]': "the image has no layer 'pam-9'; it has pam-1.2",
        'layer=["pam-1.2"]': "the marker does not know 'layer'",
        'boot="tepid"': "no guest is 'tepid'; boot is warm or cold",
        'hosts={"North": 0}': "hosts are up to 8 names, each with the seconds",
        'good=["nothing"]': "names a family 'nothing' that is not in stacks.toml",
    }
    with pytest.raises(UsageError) as refused:
        collect(monkeypatch, tmp_path, *odd)
    lines = refused.value.message.splitlines()
    for said in odd.values():
        assert len([line for line in lines if said in line]) == 1


def test_a_ready_kernel_is_asked_for_a_feature_that_it_is_said_to_have(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NSAUDIT_STATE", str(tmp_path / "state"))
    lab = Lab(Workspace.default())
    run = lab.workspace.new_run()
    (tmp_path / "bzImage").touch()
    lab.ready_kernel(tmp_path / "bzImage", "6.12")
    lab.save(run)
    words = ["--run-folder", str(run), "--stack", "kernel"]

    def arms(name: str, *more: str) -> list[tuple[str, Expect]]:
        return [
            (arm.stack, arm.expect) for arm in session.collect([name], [*words, *more]).values()
        ]

    wanted = [("kernel", Expect.PASS), ("vanilla-6.12", Expect.FAIL)]
    assert sorted(arms("auditns-daemon", "--claimed")) == wanted
    # Among all scenarios it is not asked: the kernel may be any.
    assert arms("auditns-daemon") == []
    regression = [("kernel", Expect.PASS), ("pid-vnr-6.12", Expect.SYMPTOM)]
    assert sorted(arms("pid-translation", "--claimed")) == regression
    assert sorted(arms("pid-translation")) == regression
