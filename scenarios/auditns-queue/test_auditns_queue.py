"""Who pays when a container logs more than its daemon reads?

The daemon of a container is stopped, and its programs log without end. The container's queue is
full, its records are lost, and its count says so. The machine's queue and count stay as they are,
and its daemon gets each message that is sent meanwhile. What waits is in the memory that the
container may have, as it is not outside.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness.guest.cgroups import MemoryCgroup, make_memory_cgroup
from harness.guest.machine import Guest
from harness.guest.polling import poll
from harness.scenario import Judge

# So many messages are lost at least, of many more that are sent: the flood is ended, and not over.
_FLOOD, _ENDLESS = 1_000_000, 1_000_000_000
_LIMIT = 32
_LIMIT_S = 80.0
# Ticks that a message waits for room at most: much more than the kernel takes to ask again.
_LONG = "15000"
_MESSAGES = 50
# For each message that waits a record of at least this many bytes.
_WAITING, _RECORD = 3000, 1000
# Each answer that nobody reads takes at least this many bytes; so many fit a socket.
_SOCKETS, _ANSWERS, _ANSWER = 20, 200, 500
# Each rule of hoard.py takes three objects of 512 bytes: its head, its key, and its fields. The
# bound is between two of them and three.
_RULES, _RULE = 500, 1300
# Each task whose calls are listened to has an audit context of at least this many bytes.
_TASKS, _CONTEXT = 300, 700


def _await_loss(inner: Any, known: int) -> None:
    """Until more records are lost than one knows of."""
    limit_s = _LIMIT_S * inner.guest.scale
    poll(inner.lost, lambda lost: lost > known, limit_s=limit_s, what=f"a loss after {known}")


def _charged(payer: MemoryCgroup, reader: Any) -> int:
    """Bytes that are charged to a cgroup for messages of its own that a daemon does not read."""
    pid = str(reader.status().pid)
    reader.run(["auditctl", "-b", str(2 * _WAITING)]).require()
    reader.run(["kill", "-STOP", pid]).require()
    before = payer.charged
    flood = ["/run/nsaudit/send", "--repeat", str(_WAITING), "charged"]
    reader.run(payer.enter(flood), deadline_s=120.0).require()
    charged = payer.charged - before
    reader.run(["kill", "-CONT", pid]).require()
    # What is still to be freed would be taken from what is charged next.
    reader.trail("charged.log")
    return charged


def _hoarded(
    payer: MemoryCgroup, inner: Any, argv: list[str], *words: object, rule: Sequence[str] = ()
) -> int:
    """Bytes that are charged to a cgroup for what hoard.py has the kernel keep in it.

    The rule is added before it does.
    """
    job = inner.box.spawn([*argv, payer.folder, *map(str, words)], keep_input=True)

    def charged(lines: int) -> int:
        """Bytes at the time when it has said so much."""

        def has_said() -> bool:
            return job.out.count(b"\n") >= lines or job.status is not None

        inner.guest.wait_until(has_said, _LIMIT_S, "hoard.py")
        # What it has the daemon told is charged, too, until that has read it.
        inner.trail("hoarding.log")
        return payer.charged

    before = charged(1)
    if rule:
        inner.run(["auditctl", "-a", *rule]).require()
    job.send("\n")
    kept = charged(2) - before
    job.send("\n")
    inner.judge.expect(f"to have it keep {words[0]}", bytes(job.out).split()[-1], good=b"0")
    job.wait().require()
    return kept


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "USER_NS", "PID_NS", "MEMCG"])
def test_auditns_queue(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    contained: Callable[..., Any],
    send: Callable[..., Any],
    script: Callable[[str], list[str]],
) -> None:
    # Given a container with a daemon that is stopped, and a short queue,
    payer = make_memory_cgroup(guest, "flood")
    inner = contained()
    if not inner.expect_start():
        return
    inner.run(["auditctl", "-b", str(_LIMIT), "--backlog_wait_time", "0"]).require()
    pid = str(inner.status().pid)
    before = auditd.status()
    inner.run(["kill", "-STOP", pid]).require()

    # when its programs log without end,
    flood = inner.box.spawn(["/run/nsaudit/flood", str(_ENDLESS), "a-flood"])
    _await_loss(inner, 0)

    # then each message that is sent outside arrives meanwhile,
    for number in range(_MESSAGES):
        send(guest.run, f"told-outside-{number}.")
    judge.expect("it goes on meanwhile", flood.status is None, good=True)
    host = auditd.trail()
    told = [n for n in range(_MESSAGES) if host.saying(f"told-outside-{n}.")]
    judge.expect("messages outside", len(told), good=_MESSAGES)
    _await_loss(inner, _FLOOD - 1)
    judge.expect("it goes on after a million", flood.status is None, good=True)
    # Who ends may fill it up to twice the limit.
    waiting = inner.status().backlog
    flood.kill(signal.SIGKILL)
    flood.wait()

    # the container's count says what it lost, and the machine lost nothing.
    lost, after = inner.lost(), auditd.status()
    judge.note(lost_inside=lost, backlog_inside=waiting)
    judge.expect("lost inside", _FLOOD <= lost < _ENDLESS, good=True)
    judge.expect("waiting inside", waiting <= _LIMIT + 1, good=True)
    judge.expect("lost outside", after.lost, good=before.lost)
    judge.expect(
        "waited outside", after.backlog_wait_time_actual, good=before.backlog_wait_time_actual
    )
    judge.expect("floods outside", len(auditd.trail().saying("a-flood")), good=0)

    # Once it reads again, what waited arrives, and what is said then, if it may wait for the
    # kernel to ask again whether the daemon has room.
    inner.run(["kill", "-CONT", pid]).require()
    inner.run(["auditctl", "--backlog_wait_time", _LONG]).require()
    trail = inner.trail("inside.log")
    inner.run(["auditctl", "--backlog_wait_time", "0"]).require()
    arrived = len(trail.saying("a-flood"))
    judge.expect("counted once more", inner.lost() >= lost, good=True)
    judge.expect("arrived", arrived > 0, good=True)

    # What waits is charged to who sent it, other than outside.
    inside = _charged(payer, inner)
    outside = _charged(payer, auditd)
    judge.note(charged_inside=inside, charged_outside=outside)
    judge.expect("charged inside", inside >= _WAITING * _RECORD, good=True)
    judge.expect("charged outside", outside < _WAITING * _RECORD / 10, good=True)

    # So is a rule to who added it, and what is answered to who asked.
    hoard = script("hoard.py")
    rules = _hoarded(payer, inner, hoard, "rules", _RULES)
    answers = _hoarded(payer, inner, hoard, "answers", _SOCKETS, _ANSWERS)
    inner.run(["auditctl", "-D"], deadline_s=60.0).require()
    rule = ["always,exit", "-S", "getpriority", "-F", "a0=4242"]
    tasks = _hoarded(payer, inner, hoard, "tasks", _TASKS, rule=rule)
    judge.note(charged_answers=answers, charged_rules=rules, charged_tasks=tasks)
    judge.expect("charged for answers", answers >= _SOCKETS * _ANSWERS * _ANSWER, good=True)
    judge.expect("charged for rules", rules >= _RULES * _RULE, good=True)
    judge.expect("charged for tasks", tasks >= _TASKS * _CONTEXT, good=True)
