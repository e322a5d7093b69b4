"""Does each audit keep its own limits, and count what it drops for their sake?

The machine's and a container's, in turn, are given a rate of messages, and then a daemon that is
stopped and a short queue. What is sent either arrives or is counted as lost; the other one loses
nothing. How long callers waited for room, and how much was lost, can be forgotten by each alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.guest.polling import poll
from harness.scenario import Judge

_MESSAGES, _RATE, _ENOUGH = 60, 5, 1000
# More calls than records that fit into the socket of a daemon and, twice, into the queue.
_CALLS, _BACKLOG = 400, 8
# How long a caller waits for room, in ticks, and who has to be heard.
_TICKS, _LONG = 2, "15000"
_LIMIT_S = 20.0
# In /proc/net/netlink.
_NETLINK_AUDIT = "9"
# getppid(2), told by what it does not look at.
_NUMBER, _MARK = 110, 4242
_RULES = f"""
-a always,exit -F arch=b64 -S getppid -F a0={_MARK} -k calls
-a always,exclude -F msgtype=PROCTITLE
-a always,exclude -F msgtype=EOE
"""
_CALL = f"""
import ctypes
call = ctypes.CDLL(None).syscall
for _ in range({_CALLS}):
    call({_NUMBER}, {_MARK})
"""


def _send_and_read(send: Callable[..., Any], reader: Any, text: str) -> bool:
    """Whether a message is in the log after one more was sent."""
    send(reader.run, text)
    return text in reader.read()


def _drops(reader: Any) -> int:
    """How often netlink has told an audit socket there that it was too slow (ENOBUFS)."""
    sockets = reader.run(["cat", "/proc/net/netlink"]).require().stdout.splitlines()[1:]
    fields = [line.split() for line in sockets]
    return sum(int(one[8]) for one in fields if one[1] == _NETLINK_AUDIT)


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS"])
def test_auditns_limits(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    contained: Callable[..., Any],
    send: Callable[..., Any],
) -> None:
    # Given the machine's daemon, and one in a container,
    inner = contained()
    if not inner.expect_start():
        return

    for where, reader, other in (("inside", inner, auditd), ("outside", auditd, inner)):
        # of messages above a rate, all that do not arrive are counted as lost,
        elsewhere = "outside" if where == "inside" else "inside"
        reader.run(["auditctl", "-r", str(_RATE)]).require()
        judge.expect(f"the rate {where}", reader.status().rate_limit, good=_RATE)
        judge.expect(f"the rate {elsewhere} then", other.status().rate_limit, good=0)
        lost = reader.lost()
        for run, place in ((reader.run, where), (other.run, elsewhere)):
            flood = ["/run/nsaudit/send", "--repeat", str(_MESSAGES), f"rated-{where}-{place}"]
            run(flood).require()
        # one that is sent later gets through,
        poll(
            partial(_send_and_read, send, reader, f"later-{where}."),
            bool,
            limit_s=_LIMIT_S * guest.scale,
            what=f"a message within the rate {where}",
        )
        reader.run(["auditctl", "-r", "0"]).require()
        lost = reader.lost() - lost
        trail = reader.trail(f"rated-{where}.log")
        arrived = len(trail.saying(f"rated-{where}-{where}"))
        judge.note(**{f"lost_by_rate_{where}": lost})
        judge.expect(f"messages above the rate {where}", arrived <= _MESSAGES // 2, good=True)
        judge.expect(f"arrived or counted {where}", arrived + lost >= _MESSAGES, good=True)
        trail = other.trail(f"unrated-{elsewhere}.log")
        arrived = len(trail.saying(f"rated-{where}-{elsewhere}"))
        judge.expect(f"messages {elsewhere} then", arrived, good=_MESSAGES)

        # Of records that a daemon does not read in time, too.
        reader.load(_RULES).require()
        short = ["-b", str(_BACKLOG), "--backlog_wait_time", str(_TICKS)]
        reader.run(["auditctl", *short]).require()
        pid = str(reader.status().pid)
        before, seen = reader.status(), other.status()
        reader.run(["kill", "-STOP", pid]).require()
        reader.run(["python3", "-c", _CALL], deadline_s=60.0).require()
        after = reader.status()
        if reader is auditd:
            # The kernel tries all that waits, and then keeps or drops it; a container's it leaves.
            poll(
                reader.status,
                lambda now: now.backlog == 0,
                limit_s=_LIMIT_S * guest.scale,
                what="an empty queue",
            )
        reader.run(["kill", "-CONT", pid]).require()
        reader.run(["auditctl", "--backlog_wait_time", _LONG]).require()
        # What the kernel keeps to try again is sent before what is said when it has tried.
        poll(
            partial(_send_and_read, send, reader, f"caught-up-{where}."),
            bool,
            limit_s=_LIMIT_S * guest.scale,
            what=f"a message after the calls {where}",
        )
        judge.expect(f"waited {where}", after.backlog_wait_time_actual > 0, good=True)
        trail = reader.trail(f"calls-{where}.log")
        calls = trail.keyed("calls")
        excluded = calls.matching(type="PROCTITLE")
        judge.expect(f"records that are excluded {where}", list(excluded), good=[])
        arrived = len(calls)
        lost = reader.lost() - before.lost
        judge.note(**{f"lost_by_queue_{where}": lost})
        judge.expect(f"lost {where}", lost > 0, good=True)
        judge.expect(f"calls that arrived or are counted {where}", arrived + lost, good=_CALLS)
        if reader is inner:
            # It was never sent what it had no room for.
            judge.expect("told that it was too slow", _drops(reader), good=0)
        reader.run(["auditctl", "-D"]).require()
        reader.run(["auditctl", "-b", "64"]).require()

        # What was waited is forgotten there when it is asked for.
        waited = str(reader.status().backlog_wait_time_actual)
        reader.run(["auditctl", "--reset_backlog_wait_time_actual"]).require()
        told = reader.trail(f"reset-{where}.log").matching(op="set", backlog_wait_time_actual=0)
        judge.expect(
            f"told to be forgotten {where}",
            [one.get("old") for one in told],
            good=[waited],
        )
        judge.expect(f"waited {where} after that", reader.status().backlog_wait_time_actual, good=0)
        # So is what was lost.
        lost = reader.lost()
        reader.run(["auditctl", "--reset-lost"]).require()
        told = reader.trail(f"lost-{where}.log").matching(op="set", lost=0)
        judge.expect(f"lost {where}, as told", [one.get("old") for one in told], good=[str(lost)])
        judge.expect(f"lost {where} after that", reader.lost(), good=0)
        judge.expect(f"lost {elsewhere}", other.lost() - seen.lost, good=0)

    # A container's can be locked with the limits that it has, and not the machine's by it.
    inner.run(["auditctl", "-e", "2"]).require()
    for reader in (inner, auditd):
        reader.run(["auditctl", "-r", str(_ENOUGH)])
    rates = inner.status().rate_limit, auditd.status().rate_limit
    judge.expect("rates, inside locked and outside", rates, good=(0, _ENOUGH))
    auditd.run(["auditctl", "-r", "0"]).require()

    judge.expect("lost in the end", auditd.lost(), good=0)
    auditd.trail()
