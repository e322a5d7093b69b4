"""Is the machine's trail the same, whatever a container's audit does?

The same programs run in a container before it has a daemon, and with one that asks for every
system call. The machine is asked to record nothing, then some of what they do, and then audit is
switched off there. In each case its records must be the same, but for times, numbers and
addresses: the container can neither add to the trail nor take away. Some of the programs make
records of the machine's in the midst of a system call, and some would, if it were listening.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from harness.audit.records import Trail
from harness.guest.machine import Guest
from harness.scenario import Judge

_WORK = """
set -eu
mkdir /tmp/view
hostname view
python3 -c "open('/proc/self/loginuid', 'w').write('1000')"
ip link set lo promisc on
ip link set lo promisc off
sleep 60 &
# It is a shell until it executes, and a signal's record names which.
until grep -q sleep /proc/$!/comm; do :; done
kill $!
{ python3 -c "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)" || true; } 2>/dev/null
cat /tmp/sticky/link 2>/dev/null || true
/run/nsaudit/send told-inside
rmdir /tmp/view
"""
# A link that is nobody's, in a folder that is everybody's: to follow it is denied, and said.
_TRAP = """
sysctl -q fs.protected_symlinks=1
mkdir -m 1777 /tmp/sticky
ln -s /etc/passwd /tmp/sticky/link
chown -h 1000 /tmp/sticky/link
"""
# By what the machine's rules know the programs, and nobody else's.
_GROUP = "4242"
_AS = ("setpriv", f"--regid={_GROUP}", "--clear-groups", "sh", "-c", _WORK)
_CALLS = ("mkdir", "rmdir", "sethostname", "kill", "sendmsg")
_RULE = [*(word for call in _CALLS for word in ("-S", call)), "-F", f"gid={_GROUP}"]
# Of processes, files and addresses; what differs from run to run and says nothing.
_VARIES = re.compile(r"\b(pid|ppid|opid|inode|ses|oses|a[0-3])=\S+")
# Kinds of records that must be among those compared, or nothing was put to the test.
_TELLING = {
    "no rules": {"LOGIN", "ANOM_PROMISCUOUS", "ANOM_ABEND", "SYSCALL"},
    "rules": {"LOGIN", "ANOM_PROMISCUOUS", "ANOM_LINK", "SYSCALL", "PATH", "OBJ_PID"},
    # To switch it off and on again is recorded.
    "off": {"CONFIG_CHANGE"},
}


def _between(trail: Trail, first: str, last: str) -> list[str]:
    """The records between two marks, as texts without what varies."""
    found = [one.text for one in trail.records]
    begin = next(n for n, text in enumerate(found) if first in text)
    end = next(n for n, text in enumerate(found) if last in text)
    return [
        _VARIES.sub(r"\1=", f"{one.type} {one.text.split('): ', 1)[-1]}")
        for one in trail.records[begin + 1 : end]
    ]


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS"])
def test_auditns_host_view(
    guest: Guest, judge: Judge, auditd: Any, contained: Callable[..., Any]
) -> None:
    # Given a container without a daemon, and what the machine records of its programs,
    inner = contained()
    guest.run(["sh", "-ec", _TRAP]).require()
    guest.run(["auditctl", "-b", "8192"]).require()

    def view(name: str, enabled: str = "1") -> list[str]:
        first = auditd.mark()
        guest.run(["auditctl", "-e", enabled]).require()
        said = inner.run(_AS)
        guest.run(["auditctl", "-e", "1"]).require()
        judge.expect(f"the programs, {name}", said.stderr, good="")
        trail = auditd.trail(f"{name.replace(', ', '-').replace(' ', '-')}.log")
        return _between(trail, first, f"nsaudit-mark-{auditd.marks}")

    def views(when: str) -> dict[str, list[str]]:
        made = {"no rules": view(f"{when}, no rules")}
        guest.run(["auditctl", "-a", "always,exit", "-F", "arch=b64", *_RULE]).require()
        made["rules"] = view(f"{when}, rules")
        made["off"] = view(f"{when}, off", "0")
        guest.run(["auditctl", "-D"]).require()
        return made

    before = views("without")

    # when it has one that asks for everything, and gets it,
    if not inner.expect_start():
        return
    inner.run(["auditctl", "-b", "8192"]).require()
    inner.run(["auditctl", "-a", "always,exit", "-S", "all", "-k", "all"]).require()
    after = views("with")
    inside = inner.trail("inside.log")
    made = [one for one in inside.matching(type="PATH", name="/tmp/view") if "CREATE" in one.text]
    judge.expect("folders made, inside", len(made), good=len(before))
    judge.expect("lost inside", inner.lost(), good=0)

    # then the machine's records are the same ones.
    for state, good in before.items():
        kinds = {text.split(" ", 1)[0] for text in good}
        judge.expect(
            f"{state}: not tested", ", ".join(_TELLING[state] - kinds) or "none", good="none"
        )
        odd = [text for text in after[state] if text not in good]
        missing = [text for text in good if text not in after[state]]
        judge.expect(f"{state}: more than without", "\n".join(odd), good="")
        judge.expect(f"{state}: less than without", "\n".join(missing), good="")
        judge.expect(f"{state}: records", len(after[state]), good=len(good))

    # Where there are no rules it is not collected what a record in the midst could go with, and
    # where audit is off nothing is told.
    places = [text for text in before["no rules"] if text.startswith(("CWD ", "PATH "))]
    judge.expect("no rules: where it was", places, good=[])
    told = [text for text in after["off"] if 'comm="mkdir"' in text]
    judge.expect("off: told", told, good=[])
