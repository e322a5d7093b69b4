"""Is a container's daemon told of each change of its audit, also where its queue is full?

On the host it is: who changes something may pass, and is held up afterwards. If a full queue were
a way to change rules unseen, any program of the container could make one; and in failure mode 2 a
list of rules would end the container that it is to protect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.guest.machine import Guest, Job
from harness.scenario import Judge

_LIMIT = 64
# More than the queue and the daemon's socket have room for, and sooner than the daemon reads.
_RULES, _EVERY_MS = 150, 30
_LIMIT_S = 30.0
_CHANGE = "1305 "  # AUDIT_CONFIG_CHANGE


def _told(reader: Job, what: str) -> int:
    """How many changes of this kind a daemon has read."""
    lines = bytes(reader.out).decode(errors="replace").splitlines()
    return sum(what in line for line in lines if line.startswith(_CHANGE))


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "USER_NS", "PID_NS", "NET_NS"])
def test_auditns_full(
    guest: Guest,
    judge: Judge,
    contained: Callable[..., Any],
    send: Callable[..., Any],
    stuffed: Callable[[Any], Job],
) -> None:
    # Given a container with a daemon that reads slowly,
    strict = contained()
    reader = strict.box.spawn(["/run/nsaudit/reader", "0", str(_EVERY_MS)])
    guest.wait_until(lambda: b"\n" in reader.out, _LIMIT_S, "a daemon")
    registered = bytes(reader.out).decode().split("\n")[0]
    judge.expect("a daemon", registered, good="0", broken="ECONNREFUSED")
    if registered != "0":
        return

    def read_all(place: Any, reader: Job, mark: str) -> None:
        send(place.run, mark)
        guest.wait_until(lambda: mark.encode() in reader.out, _LIMIT_S, "a marker")

    # and another one whose queue is full,
    lax = contained()
    slow = stuffed(lax)
    lost = lax.lost()

    # when rules and limits are changed there,
    changes = [
        lax.box.spawn(["auditctl", *words.split()])
        for words in ("-a always,exit -S getpriority -k changed", "-r 100000")
    ]
    listed = ["sh", "-c", "until auditctl -l | grep -q changed; do :; done"]
    lax.run(listed).require()
    lax.run(["sh", "-c", "until auditctl -s | grep -q 'rate_limit 100000'; do :; done"]).require()
    judge.expect("who waits meanwhile", lax.status().backlog > _LIMIT, good=True)

    # then the daemon finds both among what it reads later, and nothing has been lost.
    lax.run(["kill", "-USR1", str(lax.status().pid)]).require()
    read_all(lax, slow, "all-is-read")
    judge.expect("the changes", [one.wait().status for one in changes], good=[0, 0])
    judge.expect("told of the rule", _told(slow, 'key="changed"'), good=1)
    judge.expect("told of the limit", _told(slow, "audit_rate_limit=100000"), good=1)
    judge.expect("lost meanwhile", lax.lost() - lost, good=0)

    # Many rules are told of where there is room for that,
    def rules(key: str) -> list[str]:
        text = "".join(f"-a always,exit -S mkdir -F uid={n} -k {key}\n" for n in range(_RULES))
        strict.run(["tee", f"/run/{key}"], given=text).require()
        return ["auditctl", "-R", f"/run/{key}"]

    strict.run(["auditctl", "-b", str(2 * _RULES)]).require()
    strict.run(rules("roomy"), deadline_s=60.0).require()
    read_all(strict, reader, "roomy-read")
    judge.expect("told of rules", _told(reader, 'key="roomy"'), good=_RULES)

    # and in failure mode 2, where a loss would be the end, also where there is not.
    load = rules("tight")
    strict.run(["auditctl", "-b", str(_LIMIT)]).require()
    strict.run(["auditctl", "-f", "2"]).require()
    read_all(strict, reader, "tight-begins")
    loaded = strict.run(load, deadline_s=60.0).status
    judge.expect("loaded in mode 2", loaded, good=0)
    if loaded != 0:
        # A loss has ended the container.
        return
    read_all(strict, reader, "tight-read")
    judge.expect("told of rules, in mode 2", _told(reader, 'key="tight"'), good=_RULES)
    after = strict.status()
    judge.expect("who loads them waits", after.backlog_wait_time_actual > 0, good=True)
    judge.expect("lost in mode 2", after.lost, good=0)
