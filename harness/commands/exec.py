"""Run CMD (after --) in a fresh guest; its status is the command's."""

from __future__ import annotations

import argparse
import sys

from harness.commands.opening import add_launcher, open_lab, require_launcher
from harness.errors import UsageError


def add_words(parser: argparse.ArgumentParser) -> None:
    """On which stack, and as whom."""
    parser.add_argument("stack")
    parser.add_argument("--user", help="run it as this user")
    parser.add_argument("--cold", action="store_true", help="boot the guest, do not fork it")
    add_launcher(parser)
    parser.add_argument("--deadline", type=float, default=600.0, help="seconds it may take (600)")


def act(options: argparse.Namespace) -> int:
    """Runs the command; its output and its status are the command's."""
    if not options.rest:
        raise UsageError("there is no command", hint="nsaudit exec STACK -- CMD…")
    with open_lab(by=require_launcher(options.launcher), cold=options.cold) as (lab, screen):
        screen.step(f"building {options.stack}")
        kernel = lab.kernel(options.stack)
        screen.quiet()
        argv = list(options.rest)
        if options.user:
            ids = [f"--reuid={options.user}", f"--regid={options.user}", "--init-groups"]
            argv = ["setpriv", *ids, "--", *argv]
        given = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
        with lab.workspace.scratch() as folder, lab.guest(kernel, folder, warm=True) as guest:
            answer = guest.run(argv, given=given, deadline_s=options.deadline)
            sys.stdout.write(answer.stdout)
            sys.stderr.write(answer.stderr)
            guest.end()
    return answer.status
