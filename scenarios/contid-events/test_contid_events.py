"""Does each event say in which containers its tasks are?

Of the task itself in system calls, user messages and anomalies; of the targets of ptrace and
of signals, each by its number; of all that share a network namespace where a packet has no
task; and of who signalled the daemon. Events of uncontained tasks say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness.audit.records import Event, Record
from harness.guest.container import Container
from harness.guest.machine import Guest
from harness.scenario import Judge

_NAMED = "/run/nsaudit/named"
_READY = ("sh", "-c", "echo ready; exec sleep 300")
_RULES = (
    ("-a", "always,exit", "-F", "arch=b64", "-S", "sethostname", "-k", "call"),
    ("-a", "always,exit", "-F", "arch=b64", "-S", "execve", "-F", "path=/bin/true", "-k", "exec"),
    ("-a", "always,exit", "-F", "arch=b64", "-S", "ptrace", "-k", "trace"),
    ("-a", "always,exit", "-F", "arch=b64", "-S", "kill", "-k", "signal"),
    ("-w", "/etc/machine-id", "-p", "w", "-k", "watch"),
)
_SECCOMP = "import ctypes, os; ctypes.CDLL(None).prctl(22, 1, 0, 0, 0); os.getpid()"
_ATTACH = "import ctypes, sys; ctypes.CDLL(None).ptrace(16, int(sys.argv[1]), 0, 0)"
_UDP = "import socket; socket.socket(2, 2).sendto(b'x', ('127.0.0.1', 9))"
# What a task does, and how its event is known.
_DEEDS: dict[str, tuple[Sequence[str], Callable[[Record], bool]]] = {
    "system call": (
        ("python3", "-c", "import socket; socket.sethostname('box')"),
        lambda one: one.get("key") == "call",
    ),
    "exec": (("true",), lambda one: one.get("key") == "exec"),
    "watched file": (("touch", "/etc/machine-id"), lambda one: one.get("key") == "watch"),
    "user message": (
        ("/run/nsaudit/send", "a-message"),
        lambda one: "msg='a-message" in one.text,
    ),
    "seccomp": (("python3", "-c", _SECCOMP), lambda one: one.type == "SECCOMP"),
    "anomaly": (("sh", "-c", "kill -SEGV $$"), lambda one: one.type == "ANOM_ABEND"),
    "configuration": (("auditctl", "-r", "0"), lambda one: "audit_rate_limit" in one.fields),
    "login": (
        ("sh", "-c", "echo 1000 >/proc/self/loginuid"),
        lambda one: one.type == "LOGIN" and one.get("auid") == "1000",
    ),
}
_PACKETS = """
table ip audit {
	chain output {
		type filter hook output priority 0;
		udp dport 9 log level audit
	}
}
"""


@pytest.mark.scenario(
    feature=["contid"],
    config=["AUDIT", "AUDITSYSCALL", "SECCOMP", "COREDUMP", "NET_NS", "NFT_LOG"],
    # What nobody sets in a record's buffer is poison then, under debug, and not what its last owner
    # left there (Documentation/mm/slub.rst).
    arguments=["audit=1", "audit_backlog_limit=8192", "slub_debug=P,audit_buffer"],
)
def test_contid_events(
    guest: Guest, judge: Judge, daemon: Any, container: Callable[..., Container]
) -> None:
    # Given a kernel that names containers,
    first = guest.run([_NAMED, "1", "true"])
    judge.expect("naming one", first.stderr.strip() or "0", good="0", broken="ENOENT")
    if first.stderr:
        return

    # who signals the daemon is told once, with the container,
    signal = ("sh", "-c", "kill -USR2 $NSAUDIT_DAEMON")
    for good, wrapped in (
        ("61", [_NAMED, "61"]),
        ("63,^62", [_NAMED, "62", _NAMED, "63"]),
        ("-", []),
    ):
        said = guest.run(["/run/nsaudit/siginfo", *wrapped, *signal]).require().stdout
        lists = [line.split()[-1] for line in said.splitlines()]
        judge.expect(f"signal to the daemon from {good}", lists, good=[good, "-"])

    daemon.start().require()
    for rule in _RULES:
        guest.run(["auditctl", *rule]).require()

    # each deed of a contained task names its container in the one event that it makes,
    for number, (what, (argv, known)) in enumerate(_DEEDS.items()):
        identity = str(100 + number)
        for place in ("contained", "uncontained"):
            wrap = [_NAMED, identity] if place == "contained" else []
            before = len(daemon.trail())
            guest.run([*wrap, *argv])
            events = [e for e in daemon.trail()[before:] if any(map(known, e.records))]
            judge.expect(f"{what}, {place}, events", len(events), good=1)
            good = identity if wrap else "nothing"
            judge.expect(f"{what}, {place}", [_subject(one) for one in events], good=[good])

    # and so do the targets of a tracer, and of one signal to three of them.
    traced = guest.spawn([_NAMED, "51", *_READY])
    guest.wait_until(lambda: b"ready" in traced.out, 20.0, "a container")
    target = guest.run(["pidof", "sleep"]).require().stdout.strip()
    guest.run(["python3", "-c", _ATTACH, target]).require()
    (event,) = daemon.trail().keyed("trace")
    judge.expect("tracer", _subject(event), good="nothing")
    judge.expect("traced", _targets(event), good=["51"])

    crowd = " & ".join(f"{_NAMED} {name} {' '.join(_READY[:2])} '{_READY[2]}'" for name in "789")
    group = guest.spawn(["sh", "-c", f"echo $$; {crowd} & wait"])
    guest.wait_until(lambda: group.out.count(b"ready") == 3, 20.0, "three containers")
    leader = bytes(group.out).decode().split()[0]
    guest.run([_NAMED, "52", "sh", "-c", f"kill -0 -{leader}"]).require()
    (event,) = daemon.trail().keyed("signal")[-1:]
    judge.expect("sender", _subject(event), good="52")
    named = sorted(one for one in _targets(event) if one != "nothing")
    judge.expect("receivers", named, good=["7", "8", "9"])
    numbers = [r.get("record") for r in event.records if r.type == "CONTAINER_ID"]
    judge.expect("numbers", numbers, good=["1", "2", "3", "4"])

    # A packet names all containers of its network namespace, whoever sent it, and those around
    # them; none, where none is there.
    box, empty, other = container("net"), container("net"), container("net")
    for one in (box, empty, other):
        one.run(["ip", "link", "set", "lo", "up"]).require()
        one.run(["nft", "-f", "-"], given=_PACKETS).require()
    inmates = []
    for names in (("31",), ("32",), ("33", "34")):
        wrap = [word for name in names for word in (_NAMED, name)]
        inmates.append(box.spawn([*wrap, *_READY]))
        guest.wait_until(lambda: b"ready" in inmates[-1].out, 20.0, "a container")
    # One that was named elsewhere is where its tasks have gone, though there are two of them.
    both = ("sh", "-c", '"$@" & "$@" & wait', "sh")
    inmates.append(guest.spawn([_NAMED, "36", *both, *other.enter(_READY)]))
    guest.wait_until(lambda: inmates[-1].out.count(b"ready") == 2, 20.0, "a container that moves")
    for one, good, wrap in (
        (box, "31,32,33,34,^33", []),
        (box, "31,32,33,34,^33,35", [_NAMED, "35"]),
        (other, "36", []),
        (empty, "nothing", []),
    ):
        before = len(daemon.trail())
        one.run([*wrap, "python3", "-c", _UDP]).require()
        (event,) = [e for e in daemon.trail()[before:] if _has(e, "NETFILTER_PKT")]
        judge.expect(f"packet among {good}", _subject(event, "NETFILTER_PKT"), good=good)
    (packet,) = [one for one in event.records if one.type == "NETFILTER_PKT"]
    judge.expect("number where none is", packet.get("record"), good=None)
    judge.expect("records of containers there", _has(event, "CONTAINER_ID"), good=False)


def _has(event: Event, kind: str) -> bool:
    return any(one.type == kind for one in event.records)


def _subject(event: Event, kind: str = "SYSCALL") -> str:
    """What an event says of the task that it is of, or of the packet."""
    calls = [one for one in event.records if one.type == kind]
    number = calls[0].get("record") if calls else "1"
    return event.containers.get(str(number), "nothing")


def _targets(event: Event) -> list[str]:
    """What an event says of each of the tasks that it was aimed at."""
    return [
        event.containers.get(str(one.get("record")), "nothing")
        for one in event.records
        if one.type == "OBJ_PID"
    ]
