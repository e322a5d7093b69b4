"""Is a container's daemon told of each change of its audit, also where its queue is full?

On the host it is: who changes something may pass, and is held up afterwards. If a full queue were
a way to change rules unseen, any program of the container could make one; and in failure mode 2 a
list of rules would end the container that it is to protect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.scenario import Judge

_LIMIT = 64
# More than the queue and the daemon's socket have room for, and sooner than the daemon reads.
_RULES, _EVERY_MS = 150, 30
_LIMIT_S = 30.0
_CHANGE = 1305  # AUDIT_CONFIG_CHANGE


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "USER_NS", "PID_NS", "NET_NS"])
def test_auditns_full(
    judge: Judge,
    contained: Callable[..., Any],
    slow_reader: Callable[..., Any],
    stuffed: Callable[..., Any],
) -> None:
    # Given a container with a daemon that reads slowly,
    strict = contained()
    reader = slow_reader(strict, 0, _EVERY_MS, _LIMIT_S)
    if not reader.expect_start("a daemon"):
        return

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
    slow.hurry()
    slow.read_all("all-is-read", _LIMIT_S)
    judge.expect("the changes", [one.wait().status for one in changes], good=[0, 0])
    judge.expect("told of the rule", slow.told(_CHANGE, 'key="changed"'), good=1)
    judge.expect("told of the limit", slow.told(_CHANGE, "audit_rate_limit=100000"), good=1)
    judge.expect("lost meanwhile", lax.lost() - lost, good=0)

    # Many rules are told of where there is room for that,
    def rules(key: str) -> list[str]:
        text = "".join(f"-a always,exit -S mkdir -F uid={n} -k {key}\n" for n in range(_RULES))
        strict.run(["tee", f"/run/{key}"], given=text).require()
        return ["auditctl", "-R", f"/run/{key}"]

    strict.run(["auditctl", "-b", str(2 * _RULES)]).require()
    strict.run(rules("roomy"), deadline_s=60.0).require()
    reader.read_all("roomy-read", _LIMIT_S)
    judge.expect("told of rules", reader.told(_CHANGE, 'key="roomy"'), good=_RULES)

    # and in failure mode 2, where a loss would be the end, also where there is not.
    load = rules("tight")
    strict.run(["auditctl", "-b", str(_LIMIT)]).require()
    strict.run(["auditctl", "-f", "2"]).require()
    reader.read_all("tight-begins", _LIMIT_S)
    loaded = strict.run(load, deadline_s=60.0).status
    judge.expect("loaded in mode 2", loaded, good=0)
    if loaded != 0:
        # A loss has ended the container.
        return
    reader.read_all("tight-read", _LIMIT_S)
    judge.expect("told of rules, in mode 2", reader.told(_CHANGE, 'key="tight"'), good=_RULES)
    after = strict.status()
    judge.expect("who loads them waits", after.backlog_wait_time_actual > 0, good=True)
    judge.expect("lost in mode 2", after.lost, good=0)
