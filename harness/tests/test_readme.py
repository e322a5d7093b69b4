"""The README is short, and what it shows is what there is."""

from __future__ import annotations

import re

from harness.workspace import PROJECT

README = (PROJECT / "README.md").read_text()
KEPT = (PROJECT / "kernel-patches/COMPARISON.md").read_text()
_INDENT = "    "


def test_it_is_read_in_one_go() -> None:
    assert len(README.splitlines()) <= 150


def test_it_names_the_scenarios_that_have_several_hosts() -> None:
    named = README.partition("can cut off, pause or kill:")[2].partition("\n- ")[0]
    have = {
        file.parent.name
        for file in (PROJECT / "scenarios").glob("*/test_*.py")
        if re.search(r"^ +hosts=\{", file.read_text(), re.MULTILINE)
    }
    assert set(re.findall(r"`([a-z-]+)`", named)) == have


def test_it_shows_the_comparison_that_is_kept() -> None:
    part = README.partition("`nsaudit compare contid nsid`")[2].partition("\n## ")[0]
    shown = [line for line in part.splitlines() if line.startswith(_INDENT)]
    assert len(shown) > 2
    assert [line for line in shown if line not in KEPT.splitlines()] == []
