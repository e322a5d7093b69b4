"""Where a scenario turned: each step, and the evidence of both sides, as text and as JSON."""

from __future__ import annotations

import json

from rich.console import Console

from harness.model import BisectResult, Tried
from harness.report import as_json, evidence, terminal


def render_json(result: BisectResult) -> str:
    """One object, schema 1. ``first`` is null where skipped commits hide it."""
    return json.dumps(
        {
            "schema": 1,
            "scenario": result.scenario,
            "where": result.where,
            "turns": result.turns,
            "seconds": result.seconds,
            "tried": [_plain(one) for one in result.tried],
            "first": _plain(result.first) if result.first else None,
            "before": _plain(result.before) if result.before else None,
            "candidates": [{"name": name, "subject": text} for name, text in result.candidates],
        },
        indent=1,
        default=str,
    )


def _plain(one: Tried) -> dict[str, object]:
    script = evidence.find_reproduce(one.arm) if one.arm else None
    return {
        "name": one.name,
        "commit": one.commit,
        "subject": one.subject,
        "like": one.like,
        "why": one.why,
        "outcome": one.arm.outcome.value if one.arm else None,
        "known": one.known,
        "checks": as_json.render_checks(one.arm) if one.arm else [],
        "artifacts": one.arm.artifacts if one.arm else "",
        "reproduce": str(script or ""),
    }


def describe_step(one: Tried) -> str:
    """A commit that was asked, in one line."""
    known = ", known before" if one.known else ""
    return f"{one.like:4}  {one.outcome:7}  {one.name}  {one.subject} ({one.why}{known})"


def print_result(result: BisectResult, console: Console) -> None:
    """Both sides of the commit, and the commit; the steps were told when they were made."""
    for side in (result.before, result.first):
        if side and side.arm:
            terminal.print_line(f"{side.outcome} at {side.name} ({side.subject})", console)
            # A side without a difference has nothing but its signature to show.
            for line in evidence.describe(side.arm):
                terminal.print_line(f"  {line}", console)
    console.print(summarise(result), style="bold", markup=False, highlight=False, soft_wrap=True)


def summarise(result: BisectResult) -> str:
    """What was found, in one line, or one for each commit that it may be."""
    skipped = sum(one.like == "skip" for one in result.tried)
    known = sum(one.known for one in result.tried)
    counts = f"{len(result.tried)} asked, {known} known before, {skipped} skipped"
    effort = f"{counts}, {result.seconds:.1f} s"
    if result.first:
        one = result.first
        return (
            f"{one.name} is the first {result.turns} one for {result.scenario} on {result.where}:"
            f" {one.subject}   ({effort})"
        )
    lines = [f"  {name}  {subject}" for name, subject in result.candidates]
    return "\n".join(
        [
            f"the first {result.turns} one for {result.scenario} on {result.where} is one of"
            f" {len(lines)}, because others cannot be asked   ({effort})",
            *lines,
        ]
    )
