"""Does the next daemon get what was told while there was none, in order?

A container's daemon is killed, and the machine's; what is told then is kept, also what was being
sent when the daemon ended. Others of the machine's unregister, also while the kernel waits for them
to read: it must not use a connection that has ended, which only KASAN would show.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.errors import DeadlineExceeded
from harness.guest.machine import Guest
from harness.guest.polling import poll
from harness.scenario import Judge

_FEW, _TIMES = 8, 5
# The container's daemon reads one record each so many ms.
_EVERY_MS, _LIMIT_S = 900, 20.0
_RULE = ["always,exit", "-F", "arch=b64", "-S", "mkdir", "-k", "made"]
_SIGNALS = ["always,exit", "-F", "arch=b64", "-S", "kill", "-k", "signal"]


# The machine keeps something for a daemon to come if it is booted with audit=1, as here.
@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS"])
def test_auditns_kept(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    contained: Callable[..., Any],
    slow_reader: Callable[..., Any],
    send: Callable[..., Any],
    script: Callable[[str], list[str]],
    configured: Callable[[str], bool],
) -> None:
    # Given a container with a daemon that reads slowly, and is killed,
    inner = contained()
    if not slow_reader(inner, 0, _EVERY_MS, _LIMIT_S).expect_start():
        return
    inner.run(["auditctl", "-a", *_RULE]).require()
    for number in range(_FEW):
        inner.run(["mkdir", f"/tmp/kept-{number}"]).require()
    inner.kill()

    # then the next one is told all that this one was not, in the order in which it was done, and
    # need not wait for somebody to say something: with audit off nobody does.
    inner.run(["auditctl", "-e", "0"]).require()
    # Before that the kernel would find the next daemon when it tries to send again.
    poll(
        inner.status,
        lambda now: now.backlog == 0,
        limit_s=_LIMIT_S * guest.scale,
        what="a kernel that has put aside what waits",
    )
    judge.expect("auditd in it", inner.run(["auditd", "-s", "nochange"]).status, good=0)
    last = f"/tmp/kept-{_FEW - 1}"
    try:
        poll(inner.read, lambda text: last in text, limit_s=_LIMIT_S * guest.scale, what=last)
    except DeadlineExceeded:
        judge.expect("told the last of it by itself", False, good=True)
        return
    judge.expect("audit in it", inner.status().enabled, good=0)
    inner.run(["auditctl", "-e", "1"]).require()
    made = [one.get("name") for one in inner.trail("inside.log").matching(nametype="CREATE")]
    late = [f"/tmp/kept-{number}" for number in range(_FEW - len(made), _FEW)]
    judge.note(kept_inside=len(made))
    judge.expect("kept inside", made, good=late)
    judge.expect("much of it", len(made) > _FEW // 2, good=True)

    # and so is the machine's. (libaudit may take the first record for an answer to the daemon's
    # registration, and drop it.)
    guest.run(["auditctl", "-a", *_SIGNALS]).require()
    auditd.kill()
    send(guest.run, "one to drop.")
    for number in range(_FEW):
        send(guest.run, f"kept-{number}.")
    pid = guest.run(["sh", "-c", "sleep 9 & echo $!; kill $!"]).require().stdout.strip()
    judge.expect("auditd again", auditd.start().status, good=0)
    trail = auditd.trail("outside.log")
    told = [
        one for one in trail.records if "nsaudit-anybody-there" in one.text or "kept-" in one.text
    ][-_FEW:]
    numbers = [one.text.partition("kept-")[2].partition(".")[0] for one in told]
    judge.expect("kept outside", numbers, good=list(map(str, range(_FEW))))
    # By then there was no daemon in whose PID namespace the pids could have been looked up.
    judge.expect("pids", "0" in {one.get("pid") for one in told}, good=False)
    calls = trail.having(type="SYSCALL", key="signal", comm="sh")
    orphans = [one.get("ppid") == "0" for one in calls.matching(type="SYSCALL")]
    judge.expect("the parent's pid is 0", orphans, good=[False])
    signalled = [one.get("opid") for one in calls.matching(type="OBJ_PID")]
    judge.expect("whom it signalled", signalled, good=[pid])
    guest.run(["auditctl", "-D"]).require()

    # A daemon that unregisters is gone at once, and a listener is told of that.
    leaves = script("leaves.py")

    def leave(*how: str) -> list[str]:
        auditd.kill()
        said = guest.run([*leaves, str(_TIMES), *how], deadline_s=60.0).require()
        judge.expect("auditd after that", auditd.start().status, good=0)
        return said.stdout.split()

    judge.expect("registered, and gone", leave(), good=["0", "0", "told"] * _TIMES)

    # So it is while the kernel waits for them to read.
    if configured("KASAN"):
        judge.expect("gone meanwhile", leave("full"), good=["0", "0"] * _TIMES)
        send(guest.run, "after-all.")
        judge.expect("later", len(auditd.trail("later.log").saying("after-all.")), good=1)
    judge.expect("lost", auditd.lost(), good=0)
