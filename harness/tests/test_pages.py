"""The pages that a run's report links: the trail of each arm, and the comparison that is kept."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from harness.commands import pages
from harness.commands import run as command
from harness.compare.kept import find_comparisons
from harness.errors import HarnessError
from harness.model import Expect, Outcome, RunResult, ScenarioResult, Verdict
from harness.report import html
from harness.report.html import Link
from harness.tests.test_report import GOOD, kernel, make_arm, make_run
from harness.tests.test_trail import ALPHA, BETA, birth, call, event
from harness.workspace import Workspace

pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("engine")]

IDS = "ids-6.12"


def make_comparison(root: Path, name: str, started: str, *designs: str, base: str = "6.12") -> None:
    place = root / "runs" / name
    place.mkdir(parents=True)
    (place / "about.json").write_text(json.dumps({"base": base, "started": started}))
    (place / "compare.json").write_text(json.dumps({"designs": dict.fromkeys(designs, "")}))
    title = " or\n ".join(designs)
    (place / "compare.html").write_text(f"<title>{title} &amp; all</title>")


@pytest.fixture
def run(tmp_path: Path) -> RunResult:
    """A container that moved, one guest with a container, and one whose kernel names none."""
    folder = tmp_path / "runs" / "20260102T030405Z-abc123"
    folder.mkdir(parents=True)
    moved = make_arm(folder, "move", IDS, Expect.PASS, Outcome.PASS)
    for host, texts in (("alpha", ALPHA), ("beta", BETA)):
        place = Path(moved.artifacts, host)
        place.mkdir()
        (place / "records.log").write_text("".join(texts))
    collected = "".join(
        f"node={host} {line}\n"
        for host, texts in (("alpha", ALPHA), ("beta", BETA))
        for line in "".join(texts).splitlines()
    )
    place = Path(moved.artifacts, "collector")
    place.mkdir()
    (place / "records-all.log").write_text(collected)
    alone = make_arm(
        *(folder, "alone", IDS, Expect.PASS, Outcome.PASS),
        records__log=birth(0, 1, "<b>4711", 101) + birth(1, 2, "4712", 102),
    )
    silent = make_arm(
        *(folder, "alone", GOOD, Expect.FAIL, Outcome.SYMPTOM),
        records__log=event(0, 1, call(55)),
    )
    # It left nothing: its guest was lost.
    gone = replace(alone, artifacts=str(folder / "gone"))
    result = make_run(
        folder,
        ScenarioResult(name="move", verdict=Verdict.WORKS, arms=(moved,)),
        ScenarioResult(name="alone", verdict=Verdict.WORKS, arms=(silent, alone, gone)),
    )
    return replace(result, kernels=(kernel(GOOD), kernel(IDS, "contid", "nsid")))


def test_the_report_links_the_trail_of_each_arm_and_the_comparison(
    run: RunResult, tmp_path: Path
) -> None:
    make_comparison(tmp_path, "1", "2026-01-02T00:00:00Z", "contid", "nsid")
    links = pages.gather(run, Workspace(tmp_path), tmp_path / "out" / "report.html")
    assert [(one.title, one.about) for one in links[:2]] == [
        ("Containers on alpha, beta", f"move on {IDS}"),
        ("Containers on guest", f"alone on {IDS}"),
    ]
    text = html.render(run, links)
    hrefs = [one for one in re.findall(r'href="([^"]*)"', text) if not one.startswith("#")]
    # Each once in the list; those of arms stand with their arms, too.
    folder = f"../runs/{Path(run.folder).name}"
    assert Counter(hrefs) == {
        "../runs/1/compare.html": 1,
        f"{folder}/move@{IDS}.pass/trail.html": 2,
        f"{folder}/alone@{IDS}.pass/trail.html": 3,
    }
    (tmp_path / "out").mkdir()
    assert all((tmp_path / "out" / one).is_file() for one in hrefs)
    assert "contid or nsid &amp; all:" in text
    trail = (tmp_path / "out" / links[0].href).read_text()
    assert "moved from alpha" in trail
    assert re.search(r"collector/records-all\.log has 11 records of alpha that .*read once", trail)
    assert trail.count("<td>4711</td><td>") == 2


def test_what_only_a_collector_has_is_read(run: RunResult, tmp_path: Path) -> None:
    one = replace(run, scenarios=run.scenarios[:1])
    folder = Path(one.scenarios[0].arms[0].artifacts)
    for host in ("alpha", "beta"):
        (folder / host / "records.log").unlink()
    (link,) = pages.gather(one, Workspace(tmp_path), tmp_path / "f")
    assert link.title == "Containers on alpha, beta"
    (folder / "trail.html").unlink()
    (folder / "trail.html").mkdir()
    with pytest.raises(HarnessError, match=r"cannot write .*trail\.html: Is a directory"):
        pages.gather(one, Workspace(tmp_path), tmp_path / "f")


def test_the_newest_comparison_of_what_a_kernel_has_is_linked(tmp_path: Path) -> None:
    make_comparison(tmp_path, "2", "2026-01-01T00:00:00Z", "contid", "nsid")
    make_comparison(tmp_path, "1", "2026-01-02T00:00:00Z", "contid", "nsid")
    make_comparison(tmp_path, "3", "2026-01-03T00:00:00Z", "contid", "other")
    make_comparison(tmp_path, "4", "2026-01-04T00:00:00Z", "contid", "nsid", base="7.3")
    make_comparison(tmp_path, "5", "2026-01-05T00:00:00Z", "contid", "nsid")
    (tmp_path / "runs/5/about.json").write_text("[]")
    has = frozenset({"contid", "nsid", "auditns"})
    (found,) = find_comparisons(tmp_path / "runs", [("6.12", has), ("6.12", frozenset())])
    assert found.page == tmp_path / "runs/1/compare.html"
    assert find_comparisons(tmp_path / "runs", [("6.12", frozenset({"contid"}))]) == []


def test_old_runs_go_and_that_of_the_newest_comparison_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_KEPT_RUNS", 1)
    make_comparison(tmp_path, "1", "2026-01-01T00:00:00Z", "contid", "nsid")
    make_comparison(tmp_path, "2", "2026-01-02T00:00:00Z", "contid", "nsid")
    make_comparison(tmp_path, "3", "2026-01-01T00:00:00Z", "contid", "nsid", base="7.3")
    runs = tmp_path / "runs"
    for name in ("4", "5"):
        (runs / name).mkdir()
    for folder in runs.iterdir():
        os.utime(folder, (0, 0))
    command._prune(Workspace(tmp_path))
    assert sorted(one.name for one in runs.iterdir()) == ["2", "3", "5"]


def test_a_report_without_other_pages_says_nothing_of_them(run: RunResult) -> None:
    assert 'id="pages"' not in html.render(run)
    odd = Link(title="<b>", href='"><script>', about="</a>")
    text = html.render(run, [odd])
    assert 'id="pages"' in text
    assert "<b>:" not in text
    assert '"><script>' not in text
