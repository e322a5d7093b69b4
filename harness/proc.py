"""The one door to ``subprocess``.

Every child runs in a session of its own, dies with the harness (parent-death signal), is
killed as a group, and is always reaped. Its environment is built from a short list, its
standard input is empty, and its command line can be logged ready to paste.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.errors import CommandFailed, DeadlineExceeded, HostMissing

log = logging.getLogger(__name__)

# What a child may know of the caller's environment. Proxies and certificates belong to the
# network that the host is in; everything else would make two runs differ.
_PASSED = (
    "HOME",
    "PATH",
    "TMPDIR",
    "USER",
    "LOGNAME",
    "TERM",
    "COLUMNS",
    "LINES",
    "CCACHE_DIR",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "NSAUDIT_DEBIAN_MIRROR",
    "NSAUDIT_STATE",
    "SSL_CERT_FILE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
_GRACE_S = 5.0
_LEASH = Path(__file__).with_name("leash.sh")

# Tools that a host may lack, with the Debian package that brings each.
PACKAGES: Mapping[str, str] = {
    "apt-get": "apt",
    "as": "binutils",
    "ausearch": "auditd",
    "bc": "bc",
    "bison": "bison",
    "cc": "gcc",
    "ccache": "ccache",
    "codespell": "codespell",
    "cpio": "cpio",
    "dpkg-deb": "dpkg",
    "flex": "flex",
    "gcc": "gcc",
    "git": "git",
    "ld": "binutils",
    "make": "make",
    "mkfs.erofs": "erofs-utils",
    "mmdebstrap": "mmdebstrap",
    "newuidmap": "uidmap",
    "node": "nodejs",
    "perl": "perl",
    "python3": "python3",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "shellcheck": "shellcheck",
    "tar": "tar",
    "xz": "xz-utils",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A child that ended: its status (negative for a signal), its output and its seconds."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str
    seconds: float


def find_tool(name: str) -> Path | None:
    """The program's path, or None. ``/usr/sbin`` counts even where PATH lacks it."""
    found = shutil.which(name, path=environment()["PATH"])
    return Path(found) if found else None


def require_tool(name: str) -> Path:
    """The program's path; raises HostMissing with the package to install."""
    found = find_tool(name)
    if found is None:
        package = PACKAGES.get(name, name)
        raise HostMissing(
            f"this host has no {name}",
            hint=f"apt-get install {package}    (or run ci/quickstart)",
        )
    return found


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that a child gets: a short list of the caller's, and C.UTF-8."""
    env = {name: os.environ[name] for name in _PASSED if name in os.environ}
    path = env.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    missing = [one for one in ("/usr/sbin", "/sbin") if one not in path.split(":")]
    env["PATH"] = ":".join([path, *missing])
    env["LANG"] = "C.UTF-8"
    env["LC_ALL"] = "C.UTF-8"
    env.update(extra or {})
    return env


def pasteable(argv: Sequence[str | Path], *, cwd: Path | None = None) -> str:
    """The command as a line that a shell takes."""
    line = shlex.join(str(word) for word in argv)
    return f"(cd {shlex.quote(str(cwd))} && {line})" if cwd else line


def _spawn(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None,
    env: Mapping[str, str] | None,
    stdin: int | IO[bytes] | None,
    stdout: int | IO[bytes] | None,
    stderr: int | IO[bytes] | None,
    pass_fds: Sequence[int] = (),
    leash: bool = False,
) -> subprocess.Popen[bytes]:
    program = require_tool(str(argv[0])) if "/" not in str(argv[0]) else Path(argv[0])
    log.info("$ %s", pasteable(argv, cwd=cwd))
    # setpriv sets PR_SET_PDEATHSIG and then becomes the program: no code of ours runs
    # between fork and exec, which would not be safe in a process that has threads.
    setpriv = str(require_tool("setpriv"))
    wrapper = [setpriv, "--pdeathsig", "KILL", "--"]
    if leash:
        wrapper = [setpriv, "--pdeathsig", "TERM", "--", "/bin/sh", str(_LEASH)]
    return subprocess.Popen(
        [*wrapper, str(program), *(str(word) for word in argv[1:])],
        cwd=cwd,
        env=environment(env),
        stdin=stdin if stdin is not None else subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        pass_fds=tuple(pass_fds),
    )


def end(child: subprocess.Popen[bytes], *, grace_s: float = _GRACE_S) -> int:
    """Ends a child's whole group: SIGTERM, wait, SIGKILL, wait. Returns its status."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(grace_s)
    # The leader may be gone while others of its group live on.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    return child.wait()


@contextlib.contextmanager
def start(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] | None = None,
    stdout: int | IO[bytes] | None = subprocess.DEVNULL,
    stderr: int | IO[bytes] | None = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    leash: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """Owns a child for the length of a ``with`` block and ends it on any way out.

    The parent-death signal is bound to the *thread* that calls this, so call it from one
    that lives as long as the child. Only the child gets it: with ``leash`` whatever the
    child started dies with the harness too.
    """
    child = _spawn(
        argv,
        cwd=cwd,
        env=env,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        leash=leash,
    )
    try:
        yield child
    finally:
        end(child)
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                stream.close()


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    given: bytes = b"",
    deadline_s: float = 600.0,
    check: bool = True,
    hint: str = "",
    log_to: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Completed:
    """Runs a child to its end and returns what it said.

    ``given`` is its standard input. With ``log_to`` or ``on_line`` both streams arrive as
    one, line by line; otherwise they are kept apart. Raises CommandFailed for a status
    other than 0 (unless ``check`` is off), DeadlineExceeded after ``deadline_s`` seconds.
    """
    began = time.monotonic()
    streamed = log_to is not None or on_line is not None
    with contextlib.ExitStack() as stack:
        # A child that does not read must not block us: its input comes from a file.
        source = stack.enter_context(_memory(given)) if given else None
        child = stack.enter_context(
            start(
                argv,
                cwd=cwd,
                env=env,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if streamed else subprocess.PIPE,
            )
        )
        try:
            if streamed:
                stdout, stderr = _stream(child, log_to, on_line, began + deadline_s), ""
            else:
                out, err = child.communicate(timeout=deadline_s)
                stdout, stderr = out.decode(errors="replace"), err.decode(errors="replace")
        except subprocess.TimeoutExpired:
            raise DeadlineExceeded(
                f"{argv[0]} did not end within {deadline_s:.0f} s", hint=hint, log=log_to
            ) from None
        status = child.wait()
    done = Completed(
        argv=tuple(str(word) for word in argv),
        status=status,
        stdout=stdout,
        stderr=stderr,
        seconds=time.monotonic() - began,
    )
    if check and status != 0:
        said = (stderr or stdout).strip().splitlines()
        raise CommandFailed(
            f"{Path(str(argv[0])).name} failed with status {status}"
            + (f": {said[-1].strip()}" if said else ""),
            hint=hint,
            log=log_to,
            status=status,
            output=stdout + stderr,
        )
    return done


@contextlib.contextmanager
def _memory(content: bytes) -> Iterator[IO[bytes]]:
    with os.fdopen(os.memfd_create("stdin", os.MFD_CLOEXEC), "w+b") as handle:
        handle.write(content)
        handle.seek(0)
        yield handle


def _stream(
    child: subprocess.Popen[bytes],
    log_to: Path | None,
    on_line: Callable[[str], None] | None,
    deadline: float,
) -> str:
    """Copies the child's lines as they come; returns them all. Raises TimeoutExpired."""
    assert child.stdout is not None
    kept: list[str] = []
    rest = b""
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(log_to.open("wb")) if log_to else None
        while True:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(child.args, 0)
            ready, _, _ = select.select([child.stdout], [], [], 0.2)
            if not ready:
                # A grandchild may hold the pipe open after the child's end.
                if child.poll() is None:
                    continue
                break
            chunk = os.read(child.stdout.fileno(), 65536)
            if not chunk:
                break
            if sink:
                sink.write(chunk)
                sink.flush()
            *lines, rest = (rest + chunk).split(b"\n")
            for raw in lines:
                kept.append(raw.decode(errors="replace"))
                if on_line:
                    on_line(kept[-1])
    if rest:
        kept.append(rest.decode(errors="replace"))
    return "\n".join(kept)
