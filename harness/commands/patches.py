"""Check the patches of a stack; edit them as commits.

What the gates are, and how commits become files, is known
to ``kernel.gates`` and ``kernel.editing``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from harness.commands import output
from harness.commands.opening import open_lab
from harness.errors import UsageError
from harness.jobs import Lab
from harness.kernel import editing
from harness.kernel.tree import Tree, open_tree
from harness.model import Stack
from harness.report import gates
from harness.report.screen import Screen

_FAILED = 3


def add_words(parser: argparse.ArgumentParser) -> None:
    """The three things to do, with their options."""
    parser.set_defaults(config="default")
    commands = parser.add_subparsers(required=True, metavar="check|edit|refresh", dest="what")
    text = "Put each patch through the gates; what was looked at once is not looked at again."
    sub = commands.add_parser("check", help=text, description=text)
    sub.add_argument("stack", nargs="*", help="all that have patches, when none is named")
    sub.add_argument("--config", default="default", help="configuration that is built and booted")
    sub.add_argument("--json", type=Path, metavar="F", help="write json (- is stdout)")
    text = "Open a stack as commits, in a git worktree."
    sub = commands.add_parser("edit", help=text, description=text)
    sub.add_argument("stack")
    sub.add_argument("--into", type=Path, metavar="DIR", help="an empty or new folder for it")
    text = "Write the commits of an open stack to kernel-patches/ again."
    sub = commands.add_parser("refresh", help=text, description=text)
    sub.add_argument("stack")


def act(options: argparse.Namespace) -> int:
    """Does what was asked for; returns the exit status."""
    with open_lab(options.config) as (lab, screen):
        return _act(lab, screen, options)


def _act(lab: Lab, screen: Screen, options: argparse.Namespace) -> int:
    names = options.stack if options.what == "check" else [options.stack]
    stacks = [lab.catalogue.require_stack(name) for name in names]
    if not names:
        stacks = [stack for stack in lab.catalogue.stacks.values() if stack.patches]
    for stack in stacks:
        if not stack.patches:
            raise UsageError(f"{stack.name} has no patches", hint="nsaudit stacks lists all")
    if options.what == "check":
        return _check(lab, screen, stacks, options.json)
    (stack,) = stacks
    with lab.workspace.lock(f"tree-{stack.base.name}"):
        tree = open_tree(lab.workspace, stack.base, screen.step)
        if options.what == "edit":
            return _edit(tree, screen, stack, options.into)
        return _refresh(tree, screen, stack)


def _check(lab: Lab, screen: Screen, stacks: list[Stack], file: Path | None) -> int:
    console = Console(stderr=file == output.STDOUT)
    plain = []
    for stack in stacks:
        checks = list(lab.inspector.check(stack))
        screen.quiet()
        gates.print_checks(stack.name, checks, console)
        plain.append(gates.as_plain(stack.name, checks))
    if file:
        output.write(file, json.dumps(plain, indent=1))
    return 0 if all(one["passed"] for one in plain) else _FAILED


def _edit(tree: Tree, screen: Screen, stack: Stack, into: Path | None) -> int:
    screen.step(f"opening {stack.name}")
    place = into.absolute() if into else tree.workspace.work("edit") / stack.name
    folder = editing.open_commits(tree, stack, place)
    screen.quiet()
    sys.stdout.write(
        f"{folder}\n"
        f"  change the commits there: git rebase -i {tree.root[:12]}\n"
        f"  then export and check:    nsaudit patches refresh {stack.name}"
        f" && nsaudit patches check {stack.name}\n"
        f"  when all is done:         git -C {tree.folder} worktree remove {folder}\n"
    )
    return 0


def _refresh(tree: Tree, screen: Screen, stack: Stack) -> int:
    screen.step(f"exporting {stack.name}")
    done = editing.refresh(tree, stack)
    screen.quiet()
    for word, names in (("wrote", done.written), ("removed", done.removed)):
        for name in names:
            sys.stdout.write(f"{word} {name}\n")
    sys.stdout.write(f"{len(done.same)} patches are as they were\n")
    return 0
