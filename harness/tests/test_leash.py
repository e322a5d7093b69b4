"""The leash: what a child started dies with the harness too."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness import proc

LIMIT_S = 20.0
FAMILY = ["sh", "-c", "sleep 1000 & echo $!; wait"]


def await_end(pid: int) -> None:
    """Waits for the end of a process that is not our child; fails when it lives on."""
    try:
        life = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([life], [], [], LIMIT_S)
        if not ended:
            os.kill(pid, signal.SIGKILL)
            pytest.fail("it outlived the harness")
    finally:
        os.close(life)


def test_on_a_leash_grandchildren_die_with_the_harness() -> None:
    harness = (
        "import subprocess, sys\n"
        "from harness import proc\n"
        f"with proc.start({FAMILY!r}, stdout=subprocess.PIPE, leash=True) as child:\n"
        "    print(child.stdout.readline().decode(), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", harness]
    with proc.start(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        grandchild = int(parent.stdout.readline())
        parent.kill()
    await_end(grandchild)


def test_a_leash_hands_on_input_and_status() -> None:
    with (
        Path(__file__).open("rb") as source,
        proc.start(
            ["sh", "-c", "read line; echo $line; exit 7"],
            stdin=source,
            stdout=subprocess.PIPE,
            leash=True,
        ) as child,
    ):
        out, _ = child.communicate(timeout=LIMIT_S)
        assert out.decode().startswith('"""The leash:')
        assert child.returncode == 7
