"""The command line. Only this module exits, and only here does an error become a status."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from harness import __version__
from harness.errors import HarnessError, UsageError, explain, is_out_of_room

_ROOM = "make room on the disk: a base needs 6 GB    (NSAUDIT_STATE names another place)"
_INTERRUPTED = 130
# In the order in which the help lists them.
_COMMANDS = (
    *("run", "watch", "matrix", "bisect", "mutate", "build", "fetch", "image", "exec", "shell"),
    *("patches", "stacks", "scenarios", "doctor", "trail", "compare", "bench"),
)
_TAKE_REST = ("run", "exec", "shell")


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """What takes these words: with all commands only if they do not begin with one.

    To import all of them takes longer than many a command does.
    """
    first = next((word for word in words if not word.startswith("-")), "")
    names = [first] if first in _COMMANDS else _COMMANDS
    parser = argparse.ArgumentParser(
        prog="nsaudit",
        description="Builds kernels, boots them, and tells audit-in-containers regressions apart.",
        epilog="exit status: 0 as expected, 1 a verdict is not, 2 usage,"
        " 3 patch, config or build, 69 this host or a lost guest",
    )
    parser.add_argument("--version", action="version", version=f"nsaudit {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="echo every command")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in names:
        command = importlib.import_module(f"harness.commands.{name}")
        text = (command.__doc__ or "").partition("\n")[0]
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(act=command.act, called=name)
        command.add_words(sub)
    return parser


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """What follows ``--`` belongs to the guest or to the launcher, whatever it looks like."""
    ours = list(words)
    rest: list[str] = []
    if "--" in ours:
        at = ours.index("--")
        ours, rest = ours[:at], ours[at + 1 :]
    options = _parser(ours).parse_args(ours)
    if rest and options.called not in _TAKE_REST:
        raise UsageError(f"nothing may follow --, but {rest[0]!r} does")
    options.rest = rest
    return options


def main() -> None:
    """The entry point of ``nsaudit``."""
    sys.exit(_main(sys.argv[1:]))


def _main(words: Sequence[str]) -> int:
    # SIGTERM ends things the way Ctrl-C does, so that guests go first.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        options = _parse(words)
        level = logging.INFO if options.verbose else logging.WARNING
        logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)
        return int(options.act(options))
    except HarnessError as error:
        if is_out_of_room(error):
            error.hint = _ROOM
        sys.stderr.write(f"error: {explain(error)}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader went away (nsaudit … | head): nothing is left to say, also at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if not is_out_of_room(error):
            raise
        sys.stderr.write(f"error: {error}\n  try:   {_ROOM}\n")
        return HarnessError.exit_code


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
