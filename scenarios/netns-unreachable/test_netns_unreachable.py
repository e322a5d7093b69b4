"""Does a login in another network namespace reach audit?

A netlink socket belongs to a network namespace. With the kernel's socket in the initial one
only, sendto() from any other fails with ECONNREFUSED; user space takes that for a kernel
without audit, so the login works and its records are lost without a word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.guest.container import Container
from harness.guest.machine import Guest
from harness.scenario import Judge


@pytest.mark.scenario(broken=["netns-socket"], config=["AUDIT", "NET_NS"])
def test_netns_unreachable(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    container: Callable[..., Container],
    send: Callable[..., Any],
    su: Callable[..., str],
) -> None:
    # Given a network namespace of its own and everything else the initial,
    box = container("net")

    # when a program there logs, and somebody comes in by su,
    sent = send(box.run, "from-another-network")
    in_by_su = su(box.run)
    trail = auditd.trail()

    # then the login works on every kernel, and is recorded by a good one.
    judge.note(errno=sent.errno)
    judge.expect("errno", sent.errno, good="0", broken="ECONNREFUSED")
    judge.expect("which call failed", sent.how, good="ack", broken="sendto")
    judge.expect("su", in_by_su, good="granted")
    opened = trail.sessions("/usr/bin/su")
    judge.expect("records of su's session", len(opened), good=1, broken=0)
    raw = trail.saying("from-another-network")
    judge.expect("records of the raw message", len(raw), good=1, broken=0)

    # Outside, the same is recorded on both: the daemon was listening all the time.
    su(guest.run)
    outside = len(auditd.trail().sessions("/usr/bin/su")) - len(opened)
    judge.expect("records of su outside", outside, good=1)
