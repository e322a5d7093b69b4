"""The command line. Only this module exits, and only here does an error become a status."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from rich.console import Console

from harness import __version__, doctor, patches, questions, scenario
from harness.bench import command as command_of_bench
from harness.errors import HarnessError, UsageError, explain, is_out_of_room
from harness.guest import launcher, vng
from harness.guest.launcher import Launcher
from harness.jobs import Lab
from harness.kernel import sources
from harness.model import Kernel, Outcome, RunResult
from harness.plugin import session
from harness.report import as_json, html, junit, kcidb, ktap, terminal
from harness.report.screen import Screen
from harness.workspace import Workspace

log = logging.getLogger(__name__)

_KEPT_RUNS = 50
_ROOM = "make room on the disk: a base needs 6 GB    (NSAUDIT_STATE names another place)"
_INTERRUPTED = 130


@contextlib.contextmanager
def _lab(
    options: argparse.Namespace, *, config: str = "default", by: Launcher = launcher.DEFAULT
) -> Iterator[tuple[Lab, Screen]]:
    workspace = Workspace.default()
    workspace.sweep()
    with Screen(Console(stderr=True)) as screen:
        lab = Lab(workspace, config=config, by=by, progress=screen.build, on_step=screen.step)
        yield lab, screen
        screen.quiet()


def _launcher(text: str, more: Sequence[str] = ()) -> Launcher:
    """The launcher that was asked for, seen to be there before anything is built for it."""
    by = launcher.parse(text, more)
    by.require()
    return by


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=1, default=str) + "\n")


def _show(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    options: argparse.Namespace,
) -> None:
    """A table, or with ``--json`` the same as a list of objects."""
    if options.json:
        _print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        terminal.print_table(title, columns, rows, Console())


# -- run -----------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    began, started = time.monotonic(), datetime.now(UTC)
    words = [word for base in options.base for word in ("--base", base)]
    words += ["--kernel-config", options.config]
    by = _launcher(options.launcher, options.rest)
    with _lab(options, config=options.config, by=by) as (lab, screen):
        folder = lab.workspace.new_run()
        stacks = [*options.stack, *_own_kernels(lab, options)]
        words += [word for stack in stacks for word in ("--stack", stack)]
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
        scenario.plan_run(folder, arms)
        for stack in dict.fromkeys(arm.stack for arm in arms):
            screen.step(f"building {stack}")
            kernel = lab.kernel(stack)
        screen.step("making the guest's root")
        image = lab.image
        log.debug("root %s", image.digest)
        screen.step("probing the host")
        host = lab.host_for(kernel)
        lab.save(folder)
        # A launcher's options may claim what the host has once (--debug: two TCP ports).
        workers = options.jobs or (1 if by.options else max(1, min(host.cores, len(arms))))
        left = len(arms)
        screen.step(f"asking {len(arms)} arms")

        def on_outcome(name: str, outcome: Outcome) -> None:
            nonlocal left
            left -= 1
            what = name.rpartition("::")[2]
            screen.step(f"{left} arms left; {what}: {outcome}")

        session.run(names, words, folder, workers, on_outcome)
        result = RunResult(
            started=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            seconds=round(time.monotonic() - began, 1),
            host=host,
            kernels=tuple(k for k in lab.kernels if any(a.stack == k.stack for a in arms)),
            scenarios=scenario.gather(scenario.load_results(folder)),
            launcher=str(by),
            folder=str(folder),
        )
        lab.workspace.prune_runs(_KEPT_RUNS)
    _write_reports(result, options)
    sys.stderr.writelines(f"{line}\n" for line in elsewhere)
    return 0 if result.as_expected else 1


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


def _write_reports(result: RunResult, options: argparse.Namespace) -> None:
    to_stdout = Path("-") in (options.json, options.junit, options.html, options.ktap)
    terminal.print_run(result, Console(stderr=to_stdout))
    written: list[tuple[Path | None, Callable[[], str]]] = [
        (options.json, lambda: json.dumps(as_json.render(result), indent=1)),
        (options.junit, lambda: junit.render(result)),
        (options.html, lambda: html.render(result)),
        (options.ktap, lambda: ktap.render(result)),
        (options.kcidb, lambda: json.dumps(kcidb.render(result), indent=1)),
    ]
    Path(result.folder, "result.json").write_text(written[0][1]())
    for path, render in written:
        if path == Path("-"):
            sys.stdout.write(render() + "\n")
        elif path:
            try:
                path.write_text(render(), encoding="utf-8")
            except OSError as error:
                raise HarnessError(f"cannot write {path}: {error.strerror}") from error


# -- one step alone --------------------------------------------------------------------


def _build(options: argparse.Namespace) -> int:
    with _lab(options, config=options.config) as (lab, _):
        kernels = [lab.kernel(name, bzimage=options.bzimage) for name in options.stack]
    if options.json:
        _print_json(
            [
                {
                    "stack": kernel.stack,
                    "base": kernel.base,
                    "release": kernel.release,
                    "kernel": kernel.vmlinux,
                    "bzimage": kernel.bzimage,
                    "config": kernel.config,
                }
                for kernel in kernels
            ]
        )
    else:
        rows = [(kernel.stack, kernel.release, str(kernel.vmlinux)) for kernel in kernels]
        terminal.print_table("kernels", ("stack", "release", "file"), rows, Console())
    return 0


def _fetch(options: argparse.Namespace) -> int:
    rows = []
    with _lab(options) as (lab, screen):
        for name in options.base:
            screen.step(f"fetching {name}")
            fetched = sources.fetch(lab.catalogue.require_base(name), lab.workspace)
            rows.append((name, fetched.version, fetched.note or fetched.key[:12]))
    columns = ("base", "version", "content")
    _show("sources", columns, rows, options)
    return 0


def _image(options: argparse.Namespace) -> int:
    with _lab(options) as (lab, screen):
        screen.step("making the guest's root")
        image = lab.make_image(fresh=options.fresh)
    if options.json:
        layers = {name: str(path) for name, path in image.layers.items()}
        _print_json({"root": str(image.root), "layers": layers, "digest": image.digest})
    else:
        rows = [("root", str(image.root)), *((n, str(p)) for n, p in image.layers.items())]
        terminal.print_table(f"image {image.digest[:12]}", ("part", "file"), rows, Console())
    return 0


def _exec(options: argparse.Namespace) -> int:
    if not options.rest:
        raise UsageError("there is no command", hint="nsaudit exec STACK -- CMD…")
    with _lab(options, by=_launcher(options.launcher)) as (lab, screen):
        screen.step(f"building {options.stack}")
        kernel = lab.kernel(options.stack)
        screen.quiet()
        argv = list(options.rest)
        if options.user:
            argv = [
                "setpriv",
                f"--reuid={options.user}",
                f"--regid={options.user}",
                "--init-groups",
                "--",
                *argv,
            ]
        given = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
        with lab.workspace.scratch() as folder, lab.guest(kernel, folder) as guest:
            answer = guest.run(argv, given=given, deadline_s=options.deadline)
            sys.stdout.write(answer.stdout)
            sys.stderr.write(answer.stderr)
            guest.end()
    return answer.status


def _shell(options: argparse.Namespace) -> int:
    with _lab(options) as (lab, screen):
        screen.step(f"building {options.stack}")
        kernel = lab.kernel(options.stack, bzimage=True)
        image = None if options.host_root else lab.image
        host = lab.host_for(kernel)
    # The screen is left by now: its live line would wipe what the guest's shell prints.
    return vng.shell(kernel, image, host, options.rest)


def _patches(options: argparse.Namespace) -> int:
    with _lab(options, config=options.config) as (lab, screen):
        return patches.act(lab, screen, options)


# -- what there is -----------------------------------------------------------------------


def _stacks(options: argparse.Namespace) -> int:
    with _lab(options) as (lab, _):
        columns = ("stack", "base", "series")
        rows = [
            (name, stack.base.name, ", ".join(series.name for series in stack.series) or "-")
            for name, stack in lab.catalogue.stacks.items()
        ]
    _show("stacks", columns, rows, options)
    return 0


def _scenarios(options: argparse.Namespace) -> int:
    rows = questions.describe()
    columns = ("scenario", "broken", "question")
    _show("scenarios", columns, rows, options)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    findings = doctor.examine(Workspace.default())
    columns = ("what", "state", "mend")
    rows = [(one.what, one.state, one.mend) for one in findings]
    _show("this host", columns, rows, options)
    return 69 if any(one.lacking for one in findings) else 0


def _bench(options: argparse.Namespace) -> int:
    names = command_of_bench.check(options)
    with _lab(options) as (lab, screen):
        return command_of_bench.act(lab, screen, names, options)


# -- the words ------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nsaudit",
        description="Builds kernels, boots them, and tells audit-in-containers regressions apart.",
        epilog="exit status: 0 as expected, 1 a verdict is not, 2 usage,"
        " 3 patch, config or build, 69 this host or a lost guest",
    )
    parser.add_argument("--version", action="version", version=f"nsaudit {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="echo every command")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, act: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(act=act)
        return sub

    sub = command("run", _run, "Build what is missing, ask the scenarios, print the verdicts.")
    sub.add_argument("scenario", nargs="*", help="all, when none is named")
    sub.add_argument("--stack", action="append", default=[], help="ask this one as the good arm")
    sub.add_argument("--proves", action="store_true", help="only what its series say they prove")
    sub.add_argument("--base", action="append", default=[], help="ask on this base (6.12)")
    sub.add_argument("--tree", type=Path, metavar="DIR", help="your own tree is the good arm")
    sub.add_argument("--kernel", type=Path, metavar="FILE", help="a bzImage or vmlinux is")
    sub.add_argument("--config", default="default", help="configuration of the kernels")
    sub.add_argument("--cold", action="store_true", help="boot every guest afresh (they all are)")
    _add_launcher(sub)
    sub.add_argument("-j", "--jobs", type=int, default=0, help="guests at a time (all cores)")
    for form in ("json", "junit", "html", "ktap", "kcidb"):
        sub.add_argument(f"--{form}", type=Path, metavar="F", help=f"write {form} (- is stdout)")

    sub = command("build", _build, "Build stacks.")
    sub.add_argument("stack", nargs="+")
    sub.add_argument("--config", default="default")
    sub.add_argument("--bzimage", action="store_true", help="the compressed image too")
    sub.add_argument("--json", action="store_true")

    sub = command("fetch", _fetch, "Fetch the sources of bases.")
    sub.add_argument("base", nargs="+")
    sub.add_argument("--json", action="store_true")

    sub = command("image", _image, "Make the guest's root.")
    sub.add_argument("--fresh", action="store_true", help="make it again, with today's packages")
    sub.add_argument("--json", action="store_true")

    sub = command(
        "exec", _exec, "Run CMD (after --) in a fresh guest; its status is the command's."
    )
    sub.add_argument("stack")
    sub.add_argument("--user", help="run it as this user")
    sub.add_argument("--cold", action="store_true", help="boot the guest afresh")
    _add_launcher(sub)
    sub.add_argument("--deadline", type=float, default=600.0, help="seconds it may take (600)")

    sub = command(
        "shell", _shell, "An interactive guest, by virtme-ng, whose own options come after --."
    )
    sub.add_argument("stack")
    sub.add_argument("--host-root", action="store_true", help="over your own root, read-only")

    sub = command("patches", _patches, "Check the patches of a stack; edit them as commits.")
    patches.add_words(sub)

    for name, act, text in (
        ("stacks", _stacks, "List the stacks."),
        ("scenarios", _scenarios, "List the scenarios."),
        ("doctor", _doctor, "Say what this host has and lacks, and what mends it."),
    ):
        command(name, act, text).add_argument("--json", action="store_true")

    sub = command("bench", _bench, "Measure the figures that the harness must reach.")
    command_of_bench.add_words(sub)
    return parser


def _add_launcher(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--launcher",
        default="qemu",
        metavar="L",
        help="what starts guests: qemu (default), vng (virtme-ng), 'vng OPTION…' (its own options;"
        " after run they may also follow --)",
    )


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """What follows ``--`` belongs to the guest or to the launcher, whatever it looks like."""
    ours = list(words)
    rest: list[str] = []
    if "--" in ours:
        at = ours.index("--")
        ours, rest = ours[:at], ours[at + 1 :]
    options = _parser().parse_args(ours)
    if rest and options.act not in (_run, _exec, _shell):
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
