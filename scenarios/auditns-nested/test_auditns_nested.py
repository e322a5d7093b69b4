"""Three containers, one in the other, each with a daemon: who is told what?

A message goes to the nearest daemon only. A system call goes to each above whose rules match, with
the pids of each: the same process has three. A daemon that ends leaves the messages to the next one
above.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.guest.polling import poll
from harness.scenario import Judge

_LEVELS = ("outer", "middle", "inner")
_RULE = ("auditctl", "-a", "always,exit", "-S", "mkdir", "-k", "made")


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS"])
def test_auditns_nested(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    contained: Callable[..., Any],
    send: Callable[..., Any],
) -> None:
    # Given three levels, with a daemon and the same rule on each,
    levels: dict[str, Any] = {}
    within = None
    for name in _LEVELS:
        levels[name] = contained(within=within)
        within = levels[name].box
        if not levels[name].expect_start(f"auditd, {name}"):
            return
        levels[name].run(_RULE).require()

    # when programs on each say and do something,
    sent = {}
    for name, level in levels.items():
        sent[name] = send(level.run, f"told-by-{name}")
        judge.expect(f"a message, {name}", sent[name].errno, good="0")
        level.run(["mkdir", f"/tmp/made-by-{name}"]).require()
    trails = {name: level.trail(f"{name}.log") for name, level in levels.items()}

    # then what is said is told on its own level, and what is done on all above, too.
    for number, name in enumerate(_LEVELS):
        for other, speaker in enumerate(_LEVELS):
            said = trails[name].saying(f"msg='told-by-{speaker}")
            judge.expect(f"{speaker}'s message, {name}", len(said), good=int(speaker == name))
            done = trails[name].matching(type="PATH", name=f"/tmp/made-by-{speaker}")
            judge.expect(f"{speaker}'s folder, {name}", len(done), good=int(other >= number))
        pid = trails[name].saying(f"msg='told-by-{name}")[0].get("pid")
        judge.expect(f"pid of the message, {name}", pid, good=str(sent[name].pid))

    # The innermost process has another pid for each of them.
    pids = {}
    for name, trail in trails.items():
        (event,) = [e for e in trail if any("made-by-inner" in one.text for one in e.records)]
        pids[name] = next(one.get("pid") for one in event.records if one.type == "SYSCALL")
    judge.expect("pids of one process", len(set(pids.values())), good=3)
    judge.expect("of those, unknown", [one for one in pids.values() if one == "0"], good=[])

    # Without a daemon on its level a message goes to the next above.
    middle = levels["middle"]
    middle.run(["kill", "-KILL", str(middle.status().pid)]).require()

    def told() -> bool:
        accepted = send(middle.run, "told-later").errno == "0"
        return accepted and "told-later" in levels["outer"].read()

    poll(told, bool, limit_s=20.0 * guest.scale, what="a message at the outer daemon")
    host = auditd.trail()
    judge.expect("messages at the machine's daemon", len(host.saying("told-")), good=0)
