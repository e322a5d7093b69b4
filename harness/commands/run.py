"""Build what is missing, ask the scenarios, print the verdicts."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from harness import questions, scenario
from harness.cells import opening
from harness.cells.recall import Recall, keys_of
from harness.cluster.address import Cluster
from harness.commands import output, pages
from harness.commands.opening import add_jobs, add_launcher, open_lab, require_launcher
from harness.compare import kept
from harness.errors import UsageError
from harness.guest import capacity
from harness.jobs import Lab
from harness.model import Arm, Host, Kernel, Outcome, RunResult
from harness.plugin import session
from harness.plugin.turns import Turns
from harness.report import as_json, html, junit, kcidb, ktap, terminal
from harness.report.screen import Screen
from harness.workspace import Workspace

log = logging.getLogger(__name__)

_KEPT_RUNS = 50
_HTML = "html"
_FORMS: Mapping[str, Callable[[RunResult], str]] = {
    "json": lambda result: json.dumps(as_json.render(result), indent=1),
    "junit": junit.render,
    "ktap": ktap.render,
    "kcidb": lambda result: json.dumps(kcidb.render(result), indent=1),
}


def add_words(parser: argparse.ArgumentParser) -> None:
    """What is asked, of which kernels, and which reports are written."""
    parser.add_argument("scenario", nargs="*", help="all, when none is named")
    parser.add_argument("--stack", action="append", default=[], help="ask this one as the good arm")
    parser.add_argument("--proves", action="store_true", help="only what its series say they prove")
    parser.add_argument("--base", action="append", default=[], help="ask on this base (6.12)")
    parser.add_argument("--tree", type=Path, metavar="DIR", help="your own tree is the good arm")
    parser.add_argument("--kernel", type=Path, metavar="FILE", help="a bzImage or vmlinux is")
    parser.add_argument("--config", default="default", help="configuration of the kernels")
    parser.add_argument("--cold", action="store_true", help="boot every guest, fork none")
    parser.add_argument(
        "--again", action="store_true", help="with --tree: ask all kernels, also unchanged ones"
    )
    add_launcher(parser)
    add_jobs(parser)
    parser.add_argument("--executor", metavar="E", help="dask://HOST:PORT, whose workers do it")
    parser.add_argument(
        "--store",
        metavar="S",
        default=os.environ.get("NSAUDIT_STORE", ""),
        help="folder or fsspec URL through which they share kernels ($NSAUDIT_STORE)",
    )
    for form in (*_FORMS, _HTML):
        parser.add_argument(f"--{form}", type=Path, metavar="F", help=f"write {form} (- is stdout)")


def act(options: argparse.Namespace) -> int:
    """Builds, asks and reports; 1 when a verdict is not as it should be."""
    began, started = time.monotonic(), datetime.now(UTC)
    words = [word for base in options.base for word in ("--base", base)]
    words += ["--kernel-config", options.config]
    by = require_launcher(options.launcher, options.rest)
    cluster = Cluster.parse(options.executor) if options.executor else None
    if cluster and not options.store:
        raise UsageError(
            "a cluster needs a store that all its machines reach",
            hint="--store DIR|URL    (or NSAUDIT_STORE)",
        )
    with open_lab(options.config, by, cold=options.cold) as (lab, screen):
        folder = lab.workspace.new_run()
        stacks = [*options.stack, *_own_kernels(lab, options)]
        words += [word for stack in stacks for word in ("--stack", stack)]
        # Whoever names the scenario of a feature says that the kernel has it.
        words += ["--claimed"] if options.scenario else []
        lab.save(folder)
        names = _names(lab, options, stacks)
        elsewhere = questions.elsewhere(names, options.config)
        arms = session.collect(names, ["--run-folder", str(folder), *words])
        if not arms:
            raise UsageError(
                "no scenario has anything to ask of these stacks",
                hint="; ".join(elsewhere)
                or "a base needs the broken families of a scenario: nsaudit stacks",
            )
        scenario.plan_run(folder, list(arms.values()))
        recall = None
        if options.tree and not cluster:
            store = opening.open_store(lab, lab.kernels[0])
            recall = Recall(store, keys_of(lab, arms), folder)
        known = recall.take(arms) if recall and not options.again else frozenset()
        left = len(arms) - len(known)

        def on_outcome(name: str, outcome: Outcome) -> None:
            nonlocal left
            left -= 1
            what = name.rpartition("::")[2]
            screen.step(f"{left} arms left; {what}: {outcome}")

        if cluster:
            host = _ask_elsewhere(
                lab, arms, words, folder, cluster, options.store, screen, on_outcome
            )
        else:
            asked = {name: arm for name, arm in arms.items() if name not in known}
            host = _make_ready(lab, asked, screen)
            lab.save(folder)
            # A launcher's options may claim what the host has once (--debug: two TCP ports).
            most = capacity.count_guests(host.cores, len(asked))
            workers = options.jobs or (1 if by.options else most)
            screen.step(f"asking {len(asked)} arms")
            words += [word for name in known for word in ("--deselect", name)]
            turns = Turns(lab.workspace, options.config)
            session.run(names, words, folder, workers, turns, on_outcome)
            if recall:
                recall.keep()
        result = RunResult(
            started=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            seconds=round(time.monotonic() - began, 1),
            host=host,
            kernels=tuple(k for k in lab.kernels if any(a.stack == k.stack for a in arms.values())),
            scenarios=scenario.gather(scenario.load_results(folder)),
            launcher=str(by),
            folder=str(folder),
        )
        _prune(lab.workspace)
    _write_reports(result, lab.workspace, options)
    sys.stderr.writelines(
        f"{line}\n" for line in (*elsewhere, *scenario.find_remarks(result.scenarios))
    )
    return 0 if result.as_expected else 1


def _prune(workspace: Workspace) -> None:
    """Removes old runs. Those of the newest comparisons stay: reports link what is in them."""
    compared = {one.page.parent for one in kept.find_newest(workspace.root / "runs")}
    workspace.prune_runs(_KEPT_RUNS, spare=compared)


def _make_ready(lab: Lab, arms: Mapping[str, Arm], screen: Screen) -> Host:
    """Builds the kernels and the image, and finds out how guests run here."""
    for stack in dict.fromkeys(arm.stack for arm in arms.values()):
        screen.step(f"building {stack}")
        kernel = lab.kernel(stack)
    screen.step("making the guest's root")
    log.debug("root %s", lab.image.digest)
    screen.step("probing the host")
    return lab.host_for(kernel)


def _ask_elsewhere(
    lab: Lab,
    arms: Mapping[str, Arm],
    words: Sequence[str],
    folder: Path,
    cluster: Cluster,
    store: str,
    screen: Screen,
    on_outcome: Callable[[str, Outcome], None],
) -> Host:
    """Has a cluster do all of it. Its client takes a while to import."""
    from harness.cluster import executor

    screen.step(f"asking {len(arms)} arms at {cluster.address}")
    return executor.run(
        lab,
        arms,
        words,
        folder,
        cluster=cluster,
        store_url=store,
        on_step=screen.step,
        on_outcome=on_outcome,
    )


def _names(lab: Lab, options: argparse.Namespace, stacks: Sequence[str]) -> list[str]:
    """The scenarios that were asked for by name or by ``--proves``; none for all."""
    if not options.proves:
        return options.scenario or ([] if stacks else questions.regressions())
    chosen = [lab.catalogue.require_stack(name) for name in options.stack]
    proved = {name for stack in chosen for one in stack.series for name in one.proves}
    if not proved:
        raise UsageError(
            "no chosen stack has a series that says what it proves",
            hint="nsaudit run --proves --stack STACK",
        )
    return sorted({*options.scenario, *proved})


def _own_kernels(lab: Lab, options: argparse.Namespace) -> list[str]:
    """Builds or takes what ``--tree`` and ``--kernel`` name; the names of their stacks."""
    base = options.base[0] if options.base else next(iter(lab.catalogue.bases))
    lab.catalogue.require_base(base)
    own: list[Kernel] = []
    if options.tree:
        own.append(lab.tree_kernel(options.tree, base))
    if options.kernel:
        own.append(lab.ready_kernel(options.kernel, base))
    return [kernel.stack for kernel in own]


def _write_reports(result: RunResult, workspace: Workspace, options: argparse.Namespace) -> None:
    to_stdout = output.STDOUT in (getattr(options, form) for form in (*_FORMS, _HTML))
    terminal.print_run(result, Console(stderr=to_stdout))
    Path(result.folder, "result.json").write_text(_FORMS["json"](result))
    for form, render in _FORMS.items():
        if file := getattr(options, form):
            output.write(file, render(result))
    if options.html:
        links = pages.gather(result, workspace, output.place(options.html))
        output.write(options.html, html.render(result, links))
