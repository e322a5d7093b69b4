"""Does a record name its process by the pid that the reader of the trail knows?

The daemon is in the initial PID namespace; a process in another one has a pid there and a
pid here. A record must hold the latter, in user messages and in system calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.guest.container import Container
from harness.guest.machine import Guest
from harness.scenario import Judge

# The shell says its pid as the /proc of the initial namespace has it, and then becomes the
# sender, which says the pid that it has in its own.
_SEND = 'read -r pid _ </proc/self/stat && echo "$pid" && exec /run/nsaudit/send from-a-pidns'
_CALL = 'read -r pid _ </proc/self/stat && echo "$pid" && exec hostname -b from-a-pidns'
_RULE = ("-a", "always,exit", "-F", "arch=b64", "-S", "sethostname", "-k", "pid-translation")


@pytest.mark.scenario(broken=["pid-vnr"], config=["AUDIT", "AUDITSYSCALL", "PID_NS"])
def test_pid_translation(
    guest: Guest, judge: Judge, auditd: Any, container: Callable[..., Container]
) -> None:
    guest.run(["auditctl", *_RULE]).require()
    # Given a process in a PID namespace whose pid outside is known (its /proc is the guest's),
    box = container("uts")
    pidns = ("unshare", "--pid", "--fork", "--", "sh", "-c")

    # when it logs, and makes a system call that a rule asks for,
    sent = box.run([*pidns, _SEND]).require().stdout.split()
    outside, inside = sent[0], sent[-1].removeprefix("pid=")
    judge.expect("the two pids differ", "yes" if outside != inside else "no", good="yes")
    called = box.run([*pidns, _CALL]).require().stdout.split()[0]
    trail = auditd.trail()

    # then both records hold the pid outside.
    messages = trail.saying("msg='from-a-pidns")
    recorded = [_whose(one, outside, inside) for one in messages]
    judge.expect(
        "pid in the user message",
        recorded[0] if len(recorded) == 1 else f"{len(recorded)} records",
        good="the reader's",
        broken="the namespace's",
    )
    call = trail.exactly_one(type="SYSCALL", key="pid-translation")
    judge.expect(
        "pid in the system call",
        _whose(call, called, "1"),
        good="the reader's",
        broken="the namespace's",
    )
    pids = [one.fields["pid"] for one in messages]
    judge.note(pids={"outside": outside, "inside": inside, "recorded": pids})


def _whose(record: Any, outside: str, inside: str) -> str:
    names = {outside: "the reader's", inside: "the namespace's"}
    return names.get(record.fields["pid"], f"nobody's ({record.fields['pid']})")
