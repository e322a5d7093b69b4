"""Who can listen to the audit of a container, beside its daemon?

Whoever has CAP_AUDIT_READ in the container gets a copy of its records, and of no others: not of
the machine's, nor of another container's. Nobody gets those of the container but who is in it.
Where there is no audit, or no capability, to listen is refused as ever, and the machine is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.guest.machine import Answer, Guest, Job
from harness.guest.polling import poll
from harness.scenario import Judge

_WITHOUT = ("setpriv", "--bounding-set=-audit_read")
_END = "the-last-word"
_LIMIT_S = 20.0
# More messages than fit into the socket of a daemon.
_UNREAD = 400
_SHIFT = 100_000
# Of records: what an event of a system call begins with, and what it ends with.
_SYSCALL, _EOE = 1300, 1320


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS"])
def test_auditns_multicast(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    contained: Callable[..., Any],
    send: Callable[..., Any],
    script: Callable[[str], list[str]],
) -> None:
    listener = script("listen.py")

    def ask(run: Callable[..., Answer], *wrap: str, group: str = "userns") -> str:
        return run([*wrap, *listener, group]).require().stdout.strip()

    # Given two containers with a daemon and rules, and one without,
    inner, other, bare = contained(shift=_SHIFT), contained(), contained()
    judge.expect("to listen before there is audit", ask(inner.run), good="EPERM")
    for name, one in (("the one", inner), ("the other", other)):
        if not one.expect_start(f"auditd in {name}"):
            return
        one.run(["auditctl", "-a", "always,exit", "-S", "mkdir", "-k", "made"]).require()

    # when people listen in one of them, and outside,
    def listen(spawn: Callable[..., Job], group: str) -> Job:
        job = spawn([*listener, group, _END])
        guest.wait_until(lambda: b"\n" in job.out, _LIMIT_S, "a listener")
        return job

    places = {"inside": inner, "next door": other, "outside": auditd}
    jobs = {
        "inside": listen(inner.box.spawn, "userns"),
        "outside": listen(guest.spawn, "machine"),
    }
    for name, place in places.items():
        send(place.run, f"told-{name.replace(' ', '-')}")
        place.run(["mkdir", f"/tmp/made-{name.replace(' ', '-')}"]).require()
    for name in ("inside", "outside"):
        send(places[name].run, _END)
        jobs[name].wait()
        judge.keep(f"transcript-{name}.txt", bytes(jobs[name].out))

    # then each of them hears what happens there, and nothing else.
    for where, job in jobs.items():
        heard = bytes(job.out).decode()
        judge.expect(f"to listen {where}", heard.split("\n")[0], good="0")
        for name in places:
            said = heard.count(f"msg='told-{name.replace(' ', '-')}")
            judge.expect(f"said {name}, heard {where}", said, good=int(name == where))
        begun, ended = (heard.count(f"\n{kind} ") for kind in (_SYSCALL, _EOE))
        judge.expect(f"ends of events, heard {where}", ended, good=begun)
    calls = bytes(jobs["inside"].out).decode()
    judge.expect("done inside, heard inside", calls.count('name="/tmp/made-inside"'), good=1)
    judge.expect("done next door, heard inside", calls.count("made-next-door"), good=0)

    # Who may not is refused, and the machine is told; who may is told of inside.
    judge.expect("without the capability", ask(inner.run, *_WITHOUT), good="EPERM")
    judge.expect("where there is no audit", ask(bare.run), good="EPERM")
    # Each record of the machine's would be offered to all that are in its group.
    judge.expect("the machine's group", ask(inner.run, group="machine"), good="EPERM")
    told = auditd.trail("outside.log").matching(type="EVENT_LISTENER", op="connect")
    denied = [one for one in told if one.get("res") == "0"]
    judge.expect("refusals, told outside", len(denied), good=4)
    judge.expect("listeners, told outside", len(told) - len(denied), good=1)
    inside = inner.trail("inside.log").matching(type="EVENT_LISTENER")
    ways = [(one.get("op"), one.get("res")) for one in inside]
    come_and_gone = [("connect", "1"), ("disconnect", "1")]
    judge.expect("listeners, told inside", ways, good=come_and_gone)
    judge.expect("who listens", {one.get("uid") for one in inside}, good={"0"})

    # One that leaves in a namespace below has left where it came: the machine is told of its own.
    joined = inner.run([*listener, "userns", "--below"]).require().stdout.strip()
    judge.expect("to listen, and leave below", joined, good="0")
    inside = inner.trail("inside.log").matching(type="EVENT_LISTENER")[len(ways) :]
    ways = [(one.get("op"), one.get("res")) for one in inside]
    judge.expect("who leaves below, told inside", ways, good=come_and_gone)
    left = auditd.trail("outside.log").matching(type="EVENT_LISTENER", op="disconnect")
    judge.expect("those that left, told outside", len(left), good=1)

    # It is told even while the machine's audit is off.
    known = len(ways) + len(come_and_gone)
    guest.run(["auditctl", "-e", "0"]).require()
    said = inner.run(["sh", "-c", 'echo $$; exec "$@"', "sh", *listener, "userns"]).require()
    pid, joined = said.stdout.split()
    judge.expect("to listen while it is off outside", joined, good="0")
    inside = inner.trail("inside-alone.log").matching(type="EVENT_LISTENER")[known:]
    ways = [(one.get("op"), one.get("res")) for one in inside]
    judge.expect("told inside then", ways, good=come_and_gone)
    judge.expect("its pid", {one.get("pid") for one in inside}, good={pid})
    guest.run(["auditctl", "-e", "1"]).require()

    # Unless a rule there excludes it.
    known += len(inside)
    inner.run(["auditctl", "-a", "always,exclude", "-F", "msgtype=EVENT_LISTENER"]).require()
    judge.expect("to listen when that is excluded", ask(inner.run), good="0")
    inside = inner.trail("inside-excluded.log").matching(type="EVENT_LISTENER")[known:]
    judge.expect("what is excluded", len(inside), good=0)
    inner.run(["auditctl", "-d", "always,exclude", "-F", "msgtype=EVENT_LISTENER"]).require()

    # Who joins while there is no daemon is told to the next one. (libaudit may take the first
    # record for an answer to the daemon's registration, and drop it.)
    inner.kill()
    for _ in range(2):
        judge.expect("to listen without a daemon", ask(inner.run), good="0")
    judge.expect("the next daemon", inner.start().status, good=0)
    inside = inner.trail("inside-again.log").matching(type="EVENT_LISTENER")[known:]
    ways = sorted({(str(one.get("op")), str(one.get("res"))) for one in inside})
    judge.expect("who joins, told to the next daemon", ways, good=[("connect", "1")])

    # Who leaves while a daemon does not read is told to it, and to none that comes after: that is
    # counted, and takes no room from what waits for the next one.
    known = len(inner.trail("inside-still.log").matching(type="EVENT_LISTENER"))
    inner.run(["auditctl", "-b", "8192"]).require()
    lost = inner.lost()
    inner.run(["kill", "-STOP", str(inner.status().pid)]).require()
    inner.run(["/run/nsaudit/send", "--repeat", str(_UNREAD), "unread"]).require()
    judge.expect("to listen while nobody reads", ask(inner.run), good="0")
    inner.kill()
    poll(inner.lost, lambda now: now > lost, limit_s=_LIMIT_S * guest.scale, what="a loss")
    judge.expect("lost of who left", inner.lost() - lost, good=1)
    judge.expect("the daemon after that", inner.start().status, good=0)
    inside = inner.trail("inside-at-last.log").matching(type="EVENT_LISTENER")[known:]
    ways = [(one.get("op"), one.get("res")) for one in inside]
    judge.expect("who left, told to a later daemon", ways, good=[("connect", "1")])
