"""What the marker of a scenario may say."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.plugin import session

SCENARIO = """
import pytest

@pytest.mark.scenario(broken=["userns-eperm"], {more})
def test_it(arm): ...
"""


def collect(monkeypatch: pytest.MonkeyPatch, folder: Path, more: str) -> list[str]:
    name = f"odd-{zlib.crc32(more.encode()):x}"
    place = folder / name
    place.mkdir()
    # A module is imported once in a process, by its name.
    (place / f"test_{name.replace('-', '_')}.py").write_text(SCENARIO.format(more=more))
    monkeypatch.setattr(session, "SCENARIOS", folder)
    return [arm.stack for arm in session.collect([name], []).values()]


def test_a_marker_gives_a_scenario_its_arms(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arms = collect(monkeypatch, tmp_path, 'layers=["pam-1.2"]')
    assert arms == ["userns-eperm-6.12", "vanilla-6.12"]
    assert collect(monkeypatch, tmp_path, 'boot="cold"') == arms


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('layers=["pam-9"]', "the image has no layer 'pam-9'; it has pam-1.2"),
        ('layer=["pam-1.2"]', "the marker does not know 'layer'"),
        ('boot="tepid"', "no guest is 'tepid'; boot is warm or cold"),
        ('good=["nothing"]', "names a family 'nothing' that is not in stacks.toml"),
    ],
)
def test_a_marker_that_asks_for_what_there_is_not_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, more: str, said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        collect(monkeypatch, tmp_path, more)
    assert said in refused.value.message
