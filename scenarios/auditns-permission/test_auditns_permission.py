"""Who may have an audit in a user namespace, and what are all others told?

Whoever may not is told what everybody is told where there is no audit. The sysctl says who may,
the capability must be the sender's and that of who opened the socket, in the user namespace that
owns the network and the PID namespace, and the number is limited. Nobody reads or changes the
audit of another namespace, from below, beside or above, nor by going to some of its namespaces;
who goes to all of them is root there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge

_REFUSED = "ECONNREFUSED"
# What each is told, on a kernel with the series and on one without. kernel.audit_userns is 1
# from boot on; 1329 is AUDIT_REPLACE, by which the kernel asks the first daemon.
_GRANTED = {
    "granted": ("0", _REFUSED),
    "second": ("0 EEXIST 1329", f"{_REFUSED} {_REFUSED} 0"),
    "dismissed": ("0 EACCES", f"{_REFUSED} {_REFUSED}"),
    "spoken-without": ("0 EPERM", f"{_REFUSED} {_REFUSED}"),
    "foreign-pid": ("EINVAL", _REFUSED),
    "asked-from-below": (f"0 {_REFUSED} {_REFUSED}", f"{_REFUSED} {_REFUSED} {_REFUSED}"),
    "entered-below": ("0 0 0 EEXIST", f"{_REFUSED} 0 {_REFUSED} {_REFUSED}"),
    "entered-beside": ("0 EPERM EPERM EPERM", f"{_REFUSED} EPERM EPERM EPERM"),
} | {
    f"entered-{some}": (f"0 0 0 {_REFUSED}", f"{_REFUSED} {_REFUSED} 0 {_REFUSED}")
    for some in (
        "user-below",
        "network-below",
        "processes-below",
        "all-but-processes",
        "all-but-network",
    )
}
_DENIED = (
    "without",
    "opened-without",
    "sent-without",
    "opened-outside",
    "as-anybody",
    "below-anybody",
    "foreign-network",
    "foreign-processes",
    "asked-first",
)
# What each value of the sysctl changes.
_BY_SYSCTL = {
    "0": {"granted": _REFUSED, "as-anybody": _REFUSED, "without": _REFUSED},
    "2": {
        "granted": "0",
        "as-anybody": "0",
        "below-anybody": "0",
        "without": _REFUSED,
        "foreign-network": _REFUSED,
        "foreign-processes": _REFUSED,
    },
}
_SYSCTL = "kernel.audit_userns"


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "USER_NS", "PID_NS", "NET_NS"])
def test_auditns_permission(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    contained: Callable[..., Any],
    script: Callable[[str], list[str]],
) -> None:
    attempts = script("attempts.py")

    def attempt(*ways: str) -> dict[str, str]:
        said = guest.run([*attempts, *ways], deadline_s=60.0).require()
        return dict(line.split(" ", 1) for line in said.stdout.splitlines())

    # By default, who was given the right has it, and nobody else.
    said = attempt(*_GRANTED, *_DENIED, "entered-above")
    judge.keep("transcript-attempts.txt", "\n".join(map(" ".join, said.items())))
    for way, (good, broken) in _GRANTED.items():
        judge.expect(way, said[way], good=good, broken=broken)
    for way in _DENIED:
        judge.expect(way, said[way], good=_REFUSED)
    judge.expect("entered-above", said["entered-above"], good="EPERM EPERM EPERM")
    if said["granted"] != "0":
        return

    # The sysctl closes it, or opens it to all who are root of anything; root of a container,
    # who owns the file where ids are mapped one to one, may not.
    for value, expected in _BY_SYSCTL.items():
        guest.run(["sysctl", "-q", f"{_SYSCTL}={value}"]).require()
        said = attempt(*expected)
        for way, good in expected.items():
            judge.expect(f"{way}, sysctl {value}", said[way], good=good)
    guest.run(["sysctl", "-q", f"{_SYSCTL}=1"]).require()
    box = contained()
    judge.expect("root of a container", box.run(["sysctl", f"{_SYSCTL}=2"]).status != 0, good=True)
    value = guest.run(["sysctl", "-n", _SYSCTL]).require().stdout.strip()
    judge.expect("the sysctl then", value, good="1")

    # An audit that runs gets nothing any more once nobody may have one.
    judge.expect("auditd in the container", box.start().status, good=0)
    box.run(["auditctl", "-a", "always,exit", "-S", "mkdir", "-k", "made"]).require()
    for value in ("0", "1"):
        guest.run(["sysctl", "-q", f"{_SYSCTL}={value}"]).require()
        has = "pid" in box.run(["auditctl", "-s"]).stdout
        judge.expect(f"its status, sysctl {value}", has, good=value == "1")
        box.run(["/run/nsaudit/send", f"told-{value}."])
        box.run(["mkdir", f"/tmp/made-{value}"]).require()
    judge.expect("its status again", box.status().enabled, good=1)
    told = box.trail("inside.log")
    for value in ("0", "1"):
        said, made = told.saying(f"told-{value}."), told.matching(name=f"/tmp/made-{value}")
        heard = len(said), len(made)
        judge.expect(f"heard, sysctl {value}", heard, good=(int(value), int(value)))

    # The number is limited; the container has one.
    for limit, good in ((0, "ENOSPC"), (1, "ENOSPC"), (2, "0")):
        guest.run(["sysctl", "-q", f"user.max_audit_ns={limit}"]).require()
        judge.expect(f"with a limit of {limit}", attempt("granted")["granted"], good=good)
