"""Is every answer of the kernel as it was, wherever there is no daemon?

User space is told that there is no audit (ECONNREFUSED) by a kernel that has one, and has come to
depend on that. A daemon in one container must not change a cell of the table for any other, nor
for the container itself once it is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.guest.polling import poll
from harness.scenario import Judge

_ERRNO = Path(__file__).parents[1] / "netlink-errno"
_TABLE = _ERRNO / "tables" / "vanilla.tsv"


@pytest.fixture
def payloads(payloads: tuple[Path, ...]) -> tuple[Path, ...]:
    """With the prober of the scenario that has the table."""
    return (*payloads, _ERRNO / "probe.c")


def _cells(text: str) -> set[str]:
    return {line for line in text.splitlines() if line and line[0] != "#"}


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "USER_NS", "PID_NS", "NET_NS"])
def test_auditns_lie(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    contained: Callable[..., Any],
    send: Callable[..., Any],
) -> None:
    good = _cells(_TABLE.read_text())

    def compare(when: str) -> None:
        said = guest.run(["/run/nsaudit/probe"], deadline_s=60.0).require().stdout
        judge.keep(f"transcript-errnos-{when}.txt", said)
        seen = _cells(said)
        odd = sorted(seen ^ good)
        judge.expect(f"cells asked, {when}", len(seen), good=len(good))
        judge.expect(f"cells that differ, {when}", "\n".join(odd) or "none", good="none")

    # With no daemon but the machine's, and with one in a container, the table is as it was;
    compare("before")
    inner = contained()
    if not inner.expect_start():
        return
    judge.expect("a message in the container", send(inner.run, "told-inside").errno, good="0")
    compare("beside")

    # and in the container itself, too, once its daemon is gone.
    inner.run(["kill", "-KILL", str(inner.status().pid)]).require()
    poll(
        lambda: send(inner.run, "told-nobody").errno,
        lambda errno: errno == "ECONNREFUSED",
        limit_s=10.0 * guest.scale,
        what="the daemon's end",
    )
    compare("after")
