"""What the parts of the plugin know of a run in common: its lab, its folder, its items' facts."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.guest import launcher
from harness.jobs import Lab
from harness.scenario import Judge
from harness.workspace import Workspace

lab_key = pytest.StashKey[Lab]()
run_key = pytest.StashKey[Path]()
judge_key = pytest.StashKey[Judge]()
began_key = pytest.StashKey[float]()
boot_key = pytest.StashKey[str]()


def lab_of(config: pytest.Config) -> Lab:
    """The lab of this process."""
    if lab_key not in config.stash:
        workspace = Workspace.default()
        lab = Lab(workspace, config=config.getoption("--kernel-config"))
        if folder := config.getoption("--lab") or config.stash.get(run_key, None):
            lab.restore(folder)
        if text := config.getoption("--launcher"):
            lab.launcher = launcher.parse(text)
        lab.cold |= config.getoption("--cold")
        config.stash[lab_key] = lab
    return config.stash[lab_key]


def run_folder(config: pytest.Config) -> Path:
    """The folder that all processes of the run share."""
    if run_key not in config.stash:
        config.stash[run_key] = Workspace.default().new_run()
    return config.stash[run_key]
