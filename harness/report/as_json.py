"""The JSON of ``nsaudit run --json``: one object, schema 1, and the schema itself.

Owns the form in which other programs read a run. A key that is here once stays; new ones may
come beside it, so readers must bear keys that they do not know.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from harness.model import ArmResult, Expect, Kernel, Outcome, RunResult, Verdict

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_SECONDS: Json = {"type": "number", "minimum": 0}


def _object(**properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _one_of(words: type[StrEnum]) -> Json:
    return {"enum": [word.value for word in words]}


_CHECK = _object(name=_TEXT, observed=_TEXT, good=_TEXT, broken=_TEXT)
_ARM = _object(
    stack=_TEXT,
    expect=_one_of(Expect),
    outcome=_one_of(Outcome),
    signature=_TEXT,
    seconds=_SECONDS,
    boot={"enum": ["cold", "second cold", "warm"]},
    known={"type": "boolean"},
    evidence={
        "type": "object",
        "properties": {
            "errno": _TEXT,
            "records": {"type": "integer", "minimum": 0},
            "lost": {"type": "integer", "minimum": 0},
        },
    },
    checks=_list(_CHECK),
    artifacts=_TEXT,
)

SCHEMA: Json = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "nsaudit run --json",
    **_object(
        schema={"const": 1},
        started={"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"},
        seconds=_SECONDS,
        host=_object(
            accelerator={"enum": ["tcg", "kvm"]},
            why=_TEXT,
            cpu_model=_TEXT,
            qemu=_TEXT,
            cores={"type": "integer", "minimum": 1},
            launcher=_TEXT,
        ),
        stacks=_list(
            _object(
                name=_TEXT, base=_TEXT, release=_TEXT, series=_list(_TEXT), tree=_TEXT, config=_TEXT
            )
        ),
        scenarios=_list(_object(name=_TEXT, verdict=_one_of(Verdict), arms=_list(_ARM))),
    ),
}


def render(result: RunResult) -> Json:
    """The run as plain values; ``SCHEMA`` describes them."""
    host = result.host
    return {
        "schema": 1,
        "started": result.started,
        "seconds": result.seconds,
        "host": {
            "accelerator": host.accelerator,
            "why": host.why,
            "cpu_model": host.cpu_model,
            "qemu": host.qemu,
            "cores": host.cores,
            "launcher": result.launcher,
        },
        "stacks": [_stack(kernel) for kernel in result.kernels],
        "scenarios": [
            {
                "name": one.name,
                "verdict": one.verdict.value,
                "arms": [_arm(arm) for arm in one.arms],
            }
            for one in result.scenarios
        ],
    }


def render_checks(arm: ArmResult) -> list[dict[str, str]]:
    """The checks of an arm as plain values."""
    return [
        {"name": one.name, "observed": one.observed, "good": one.good, "broken": one.broken}
        for one in arm.checks
    ]


def _stack(kernel: Kernel) -> Json:
    return {
        "name": kernel.stack,
        "base": kernel.base,
        "release": kernel.release,
        "series": list(kernel.series),
        "tree": kernel.tree,
        "config": kernel.config_digest,
    }


def _arm(arm: ArmResult) -> Json:
    return {
        "stack": arm.arm.stack,
        "expect": arm.arm.expect.value,
        "outcome": arm.outcome.value,
        "signature": arm.signature,
        "seconds": round(arm.seconds, 3),
        "boot": arm.boot,
        "known": arm.known,
        "evidence": dict(arm.evidence),
        "checks": render_checks(arm),
        "artifacts": arm.artifacts,
    }
