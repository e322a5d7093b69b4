"""Can auditd serve the machine from a network namespace of its own?

The kernel remembers the network namespace of the request that registered the daemon and
sends its records there. That needs an audit socket in every network namespace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.guest.container import Container
from harness.guest.machine import Guest
from harness.scenario import Judge


@pytest.mark.scenario(broken=["netns-socket"], config=["AUDIT", "NET_NS"])
def test_auditd_in_netns(
    guest: Guest,
    judge: Judge,
    daemon: Any,
    container: Callable[..., Container],
    send: Callable[..., Any],
) -> None:
    # Given a network namespace, when auditd is started in it,
    box = container("net")
    started = daemon.start(box.enter([]))

    # then it registers, and gets what is sent from the initial namespace.
    judge.expect(
        "auditd in the namespace",
        "runs" if started.status == 0 else "exits",
        good="runs",
        broken="exits",
    )
    registered = guest.run(["auditctl", "-s"]).require().stdout.splitlines()
    pid = next(line.split()[1] for line in registered if line.startswith("pid "))
    judge.expect("the kernel has a daemon", "yes" if pid != "0" else "no", good="yes", broken="no")
    sent = send(guest.run, "to-a-daemon-elsewhere")
    judge.note(errno=sent.errno)
    judge.expect("errno of a message", sent.errno, good="0")
    arrived = 0
    if started.status == 0:
        trail = daemon.trail()
        arrived = len(trail.saying("to-a-daemon-elsewhere"))
        comm = guest.run(["readlink", f"/proc/{pid}/ns/net"]).require().stdout
        here = guest.run(["readlink", "/proc/self/ns/net"]).require().stdout
        judge.keep("transcript-namespaces.txt", f"daemon {comm}guest  {here}")
        judge.expect(
            "daemon's network",
            "its own" if comm != here else "the guest's",
            good="its own",
            broken="none",
        )
    else:
        judge.expect("daemon's network", "none", good="its own", broken="none")
    judge.expect("records that arrived", arrived, good=1, broken=0)
