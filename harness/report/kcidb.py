"""Objects of KCIDB v5.3, the common report database of kernel test systems.

Owns the translation; nothing is submitted from here. A test's status says whether the arm
ended as planned, so that a stack which was broken on purpose raises no alarm; what was expected
and what was seen stands in ``misc``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from harness.model import ArmResult, Host, Kernel, Outcome, RunResult, Verdict
from harness.plain import one_line
from harness.report import as_json, evidence
from harness.workspace import digest

ORIGIN = "nsaudit"
# What the schema allows for an excerpt, in characters.
EXCERPT = 16384

_STATUSES = {
    Outcome.CRASH: "FAIL",
    Outcome.TIMEOUT: "ERROR",
    Outcome.ERROR: "ERROR",
    Outcome.SKIP: "SKIP",
    Outcome.MISS: "MISS",
}

Json = dict[str, Any]


def render(result: RunResult) -> Json:
    """The run as one report: checkouts, builds, tests. Nothing in it is null."""
    checkouts: dict[str, Json] = {}
    builds: dict[str, Json] = {}
    build_ids: dict[str, str] = {}
    for kernel in result.kernels:
        checkout, build = _checkout(kernel), _build(kernel)
        # Stacks of one tree and one configuration are one build.
        checkouts.setdefault(checkout["id"], checkout)
        builds.setdefault(build["id"], build)
        build_ids[kernel.stack] = build["id"]
    tests = []
    for one in result.scenarios:
        for arm in one.arms:
            stack = arm.arm.stack
            if stack not in build_ids:
                # Planned and never built: a test must still name a build.
                missing = _id("unbuilt", _run_name(result), stack)
                checkouts[missing] = {"id": missing, "origin": ORIGIN}
                builds[missing] = {
                    **{"id": missing, "origin": ORIGIN, "checkout_id": missing},
                    **{"status": "MISS", "misc": {"stack": stack}},
                }
                build_ids[stack] = missing
            tests.append(_test(arm, one.verdict, build_ids[stack], result))
    return {
        "version": {"major": 5, "minor": 3},
        "checkouts": list(checkouts.values()),
        "builds": list(builds.values()),
        "tests": tests,
    }


def _checkout(kernel: Kernel) -> Json:
    return {
        "id": _checkout_id(kernel),
        "origin": ORIGIN,
        "comment": f"{kernel.base} with {', '.join(kernel.series) or 'no patches'}",
        # KCIDB hashes the patches; what they made of the base names the same thing as surely.
        "patchset_hash": digest(kernel.tree) if kernel.series else "",
        "valid": True,
        "misc": {"base": kernel.base, "series": list(kernel.series), "git_tree": kernel.tree},
    }


def _build(kernel: Kernel) -> Json:
    return {
        "id": _id("build", _tree(kernel), kernel.config_digest or "unknown"),
        "origin": ORIGIN,
        "checkout_id": _checkout_id(kernel),
        "architecture": "x86_64",  # the only one that guests are made for
        "status": "PASS",
        "comment": f"Linux {kernel.release}".strip(),
        "misc": {
            "stack": kernel.stack,
            "release": kernel.release,
            "config_sha256": kernel.config_digest,
        },
    }


def _test(arm: ArmResult, verdict: Verdict, build_id: str, result: RunResult) -> Json:
    test: Json = {
        "id": _id("test", _run_name(result), arm.arm.folder),
        "origin": ORIGIN,
        "build_id": build_id,
        "path": f"nsaudit.{re.sub('[^A-Za-z0-9_-]', '_', arm.arm.scenario)}",
        "status": "PASS" if arm.as_expected else _STATUSES.get(arm.outcome, "FAIL"),
        "comment": one_line(arm.signature),
        "start_time": result.started,
        "duration": round(arm.seconds, 3),
        "environment": _environment(result.host),
        "misc": {
            "scenario": arm.arm.scenario,
            "stack": arm.arm.stack,
            "expect": arm.arm.expect.value,
            "outcome": arm.outcome.value,
            "as_expected": arm.as_expected,
            "verdict": verdict.value,
            "boot": arm.boot,
            "evidence": dict(arm.evidence),
            "checks": as_json.render_checks(arm),
        },
    }
    if console := evidence.read_console(arm, 200):
        test["log_excerpt"] = console[-EXCERPT:]
    return test


def _environment(host: Host) -> Json:
    return {
        "comment": one_line(f"QEMU guest by {host.accelerator}: {host.why}"),
        "misc": {
            "accelerator": host.accelerator,
            "cpu_model": host.cpu_model,
            "cores": host.cores,
            "qemu": host.qemu,
        },
    }


def _tree(kernel: Kernel) -> str:
    # A ready-made kernel has no tree that anybody knows: its file stands for it.
    return kernel.tree or digest(kernel.stack, str(kernel.vmlinux))


def _checkout_id(kernel: Kernel) -> str:
    return _id("tree", _tree(kernel))


def _run_name(result: RunResult) -> str:
    return Path(result.folder).name or result.started


def _id(*parts: str) -> str:
    return f"{ORIGIN}:{'/'.join(one_line(part) for part in parts)}"
