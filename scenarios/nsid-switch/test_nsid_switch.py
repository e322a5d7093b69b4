"""Can the host choose which events name their namespaces, and lock what it chose?

Two features of audit make three states: off, foreign namespaces only (the default) and
always. Each can be locked, and then neither comes nor goes before the next boot. A container
cannot touch them. Births and ends of namespaces are recorded in every state. Where audit itself
is off at boot, the births of the initial namespaces are recorded when it is first switched on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.audit import namespaces
from harness.guest.container import Container
from harness.guest.machine import Guest
from harness.scenario import Judge

_RULE = ("-a", "always,exit", "-F", "arch=b64", "-S", "sethostname", "-k", "nsid-switch")
# AUDIT_FEATURE_TO_MASK() of AUDIT_FEATURE_NS_INFO and AUDIT_FEATURE_NS_INFO_ALL.
_INFO, _ALL = 1 << 2, 1 << 3


# No audit=1: it is off when the guest has booted, and can be switched on.
@pytest.mark.scenario(
    feature=["nsid"],
    config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS"],
    arguments=["audit_backlog_limit=8192"],
)
def test_nsid_switch(
    guest: Guest,
    judge: Judge,
    daemon: Any,
    container: Callable[..., Container],
    places: Callable[[int], namespaces.Places],
) -> None:
    # Given a daemon that has not switched audit on,
    guest.run(["auditd", "-s", "nochange"]).require()
    judge.expect("audit at boot", daemon.status().enabled, good=0)
    # when it is, the initial namespaces are in the trail,
    guest.run(["auditctl", "-e", "1"]).require()
    told, initial = _initial(daemon), places(1)
    right = sorted((kind, initial[kind]) for kind in namespaces.KINDS)
    judge.expect("initial births", told == right, good=True, broken=False)
    # and are not when it is switched off and on again.
    for state in "01":
        guest.run(["auditctl", "-e", state]).require()
    judge.expect("and again", len(_initial(daemon)) - len(told), good=0)

    guest.run(["auditctl", *_RULE]).require()
    box = container("uts")
    seen = 0

    def change(mask: int, features: int, lock: int = 0) -> str:
        words = ["/run/nsaudit/feature", "set", str(mask), str(features), str(lock)]
        return guest.run(words).require().stdout.strip()

    def look() -> str:
        """Who is named now: one call inside, one outside."""
        nonlocal seen
        box.run(["hostname", "-b", "guest"]).require()
        guest.run(["hostname", "-b", "guest"]).require()
        trail = daemon.trail()
        calls = trail.matching(type="SYSCALL", key="nsid-switch")[seen:]
        seen += len(calls)
        named = [len(namespaces.infos_of(trail, call)) for call in calls]
        return f"container {named[0]}, host {named[1]}" if len(named) == 2 else str(named)

    # Given the features as the kernel boots, only the container's events name namespaces.
    nobody = "container 0, host 0"
    judge.expect("features at boot", _features(guest), good="4 0", broken="0 0")
    judge.expect("at boot", look(), good="container 1, host 0", broken=nobody)

    # When they are set, everybody's do, or nobody's.
    judge.expect("errno of always", change(_ALL, _ALL), good="0")
    judge.expect("always", look(), good="container 1, host 1", broken=nobody)
    judge.expect("errno of off", change(_INFO, 0), good="0")
    judge.expect("off, and all of nothing is nothing", look(), good=nobody)
    guest.run(["unshare", "--uts", "true"]).require()
    births = daemon.trail().matching(type=namespaces.NS_INIT, ns="uts")
    judge.expect("births while off", len(births) > 2, good=True, broken=False)
    judge.expect("errno of the default", change(_INFO | _ALL, _INFO), good="0")
    judge.expect("the default again", look(), good="container 1, host 0", broken=nobody)

    # When a container tries, it is refused,
    for kinds, errno in ((("user", "net"), "ECONNREFUSED"), (("pid", "mount"), "EPERM")):
        words = ["/run/nsaudit/feature", "set", str(_INFO), "0", "0"]
        said = container(*kinds).run(words).require().stdout.strip()
        judge.expect(f"errno in a {kinds[0]} namespace", said, good=errno)

    # and when it is locked, so is the host.
    judge.expect("errno of locking", change(_INFO | _ALL, _INFO, _INFO | _ALL), good="0")
    judge.expect("features when locked", _features(guest), good="4 c", broken="0 0")
    for what, mask, features in (("off", _INFO, 0), ("always", _ALL, _ALL)):
        said = change(mask, features)
        judge.expect(f"errno of {what} when locked", said, good="EPERM", broken="0")
    judge.expect("what is locked stays", look(), good="container 1, host 0", broken=nobody)
    trail = daemon.trail()
    for feature, changes in (("ns_info", 3), ("ns_info_all", 3)):
        found = trail.matching(type="FEATURE_CHANGE", feature=feature)
        judge.expect(f"records of changes, {feature}", len(found), good=changes, broken=0)


def _features(guest: Guest) -> str:
    return guest.run(["/run/nsaudit/feature", "get"]).require().stdout.strip()


def _initial(daemon: Any) -> list[tuple[str, str]]:
    """The births that no task caused: kinds and numbers."""
    born = daemon.trail().matching(type=namespaces.NS_INIT, pid=0)
    return sorted((one.fields["ns"], one.fields["inode"]) for one in born)
