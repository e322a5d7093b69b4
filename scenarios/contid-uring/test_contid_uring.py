"""Does an operation of io_uring say in which container its task is?

In io_uring_enter(2) it is a record of the call's event, and has the number of the call's; done by
a worker, or by a polling thread, it is an event of its own. Those of uncontained tasks say
nothing.
"""

from __future__ import annotations

from typing import Any

import pytest

from harness.audit.records import Event
from harness.guest.machine import Guest
from harness.scenario import Judge

_NAMED = ("/run/nsaudit/named", "71")
_OPENAT = "18"  # linux/io_uring.h
_ENTER = "426"  # io_uring_enter(2)
_FILE = "/etc/machine-id"


@pytest.mark.scenario(
    feature=["contid"],
    config=["AUDIT", "AUDITSYSCALL", "IO_URING"],
    under=["debug", "uring"],
)
def test_contid_uring(guest: Guest, judge: Judge, auditd: Any) -> None:
    # Given a kernel that names containers, and a rule about operations and one about the call,
    first = guest.run([*_NAMED, "true"])
    judge.expect("naming one", first.stderr.strip() or "0", good="0", broken="ENOENT")
    if first.stderr:
        return
    rule = ["/run/nsaudit/rule", "add", "io_uring", "always", "-S", _OPENAT, "-k", "ring"]
    judge.expect("a rule about operations", guest.run(rule).require().stdout.strip(), good="0")
    # What the kernel has to look up first is left to a worker.
    guest.run(["cat", _FILE]).require()

    for call in (False, True):
        if call:
            words = ("-F", "arch=b64", "-S", _ENTER, "-k", "enter")
            guest.run(["auditctl", "-a", "always,exit", *words]).require()
        for how in ("call", "worker", "poll"):
            for place, wrap, good in (("contained", _NAMED, "71"), ("uncontained", (), "nothing")):
                # when a task has a file opened,
                before = len(auditd.trail())
                opened = guest.run([*wrap, "/run/nsaudit/uring", how, "openat", "1", _FILE])
                judge.expect(f"{how}, {place}", opened.require().stdout.split()[1:], good=["0"])
                events = [one for one in auditd.trail()[before:] if _numbers(one, "URINGOP")]

                # then the event of the operation names the container, once.
                what = f"{how}, {place}, {'with' if call else 'without'} a rule about the call"
                judge.expect(f"events of: {what}", len(events), good=1)
                judge.expect(f"of: {what}", [_container(one) for one in events], good=[good])


def _numbers(event: Event, kind: str) -> list[str | None]:
    """The numbers of the containers that the event's records of a kind have."""
    return [one.get("record") for one in event.records if one.type == kind]


def _container(event: Event) -> str:
    """The list of containers that all its operations and its call refer to."""
    used = {*_numbers(event, "URINGOP"), *_numbers(event, "SYSCALL")}
    if used == {None} and not event.containers:
        return "nothing"
    if used == set(event.containers) and len(used) == 1:
        return event.containers[str(used.pop())]
    return f"{used}, {event.containers}"
