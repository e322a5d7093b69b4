"""Can a container have an audit daemon of its own?

Debian's auditd, as it is, in a container with user, PID, network and mount namespaces of its
own. It must start there, get what the container's programs log, with the container's pids,
and survive its own end; and the machine's daemon must see nothing of all this. Before the
first daemon, between two and after the last one, a program in the container is told that
there is no audit, as on any other kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness.audit import records
from harness.audit.records import Trail
from harness.guest.container import Container
from harness.guest.machine import Answer, Guest
from harness.scenario import Judge

_LOG = "/var/log/audit/audit.log"
_LIMIT_S = 15.0
# Whoever makes this namespace has no rights above it, and all in it.
_ANYBODY = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "unshare", "--user")
_BYPASS = (*_ANYBODY, "--map-root-user", "unshare", "--user", "--map-root-user")


def _log(box: Container) -> str:
    return box.run(["cat", _LOG]).stdout


def _trail(box: Container, judge: Judge, name: str) -> Trail:
    """What the container's daemon has written, up to a message of our own."""
    mark = f"nsaudit-{name}"
    box.run(["auditctl", "-m", mark]).require()
    box.guest.wait_until(lambda: mark in _log(box), _LIMIT_S, f"a marker in the container's {_LOG}")
    text = _log(box)
    judge.keep(f"{name}.log", text)
    return Trail.parse(text)


def _status(run: Callable[..., Answer]) -> records.Status:
    return records.parse_status(run(["auditctl", "-s"]).require().stdout)


def _end(box: Container, signal: str) -> None:
    """Ends the container's daemon by a signal from inside, and waits until it is gone."""
    pid = _status(box.run).pid
    box.run(["kill", f"-{signal}", str(pid)]).require()

    def gone() -> bool:
        # The first process of the container collects nobody.
        said = box.run(["cat", f"/proc/{pid}/status"])
        return said.status != 0 or "State:\tZ" in said.stdout

    box.guest.wait_until(gone, _LIMIT_S, "the end of the container's daemon")


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "USER_NS", "PID_NS", "NET_NS"])
def test_auditns_daemon(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    container: Callable[..., Container],
    send: Callable[..., Any],
    su: Callable[..., str],
) -> None:
    # Given the machine's daemon, and a container where nobody has started audit,
    box = container("user", "pid", "net", "mount", "uts", "ipc")
    box.run(["mount", "-t", "tmpfs", "tmpfs", "/var/log/audit"]).require()
    judge.expect("before: a message", send(box.run, "told-before").errno, good="ECONNREFUSED")
    asked = box.run(["auditctl", "-s"])
    judge.expect("before: auditctl -s", "pid" in asked.stdout, good=False)

    # when auditd is started in it, it runs, and the kernel knows it by its pid there.
    started = box.run(["auditd"])
    judge.keep("transcript-auditd.txt", started.stdout + started.stderr)
    runs = "runs" if started.status == 0 else "exits"
    judge.expect("auditd in the container", runs, good="runs", broken="exits")
    if started.status != 0:
        return
    status = _status(box.run)
    comm = box.run(["cat", f"/proc/{status.pid}/comm"]).stdout.strip()
    judge.expect("process of that pid", comm, good="auditd")
    judge.expect("enabled inside", status.enabled, good=1)
    judge.expect("rules inside", box.run(["auditctl", "-l"]).stdout.strip(), good="No rules")

    # What programs of the container log arrives, with the pids of the container.
    sent = send(box.run, "told-inside")
    judge.expect("a message", sent.errno, good="0")
    judge.expect("su", su(box.run), good="granted")
    nested = send(box.run, "told-nested", ("unshare", "--user", "--map-root-user"))
    judge.expect("a message from a container in it", nested.errno, good="0")
    trail = _trail(box, judge, "inside")
    judge.expect("unreadable lines", len(trail.unparsed), good=0)
    for name, one in (("a message", sent), ("nested", nested)):
        text = "told-inside" if one is sent else "told-nested"
        found = [record for record in trail.records if f"msg='{text}" in record.text]
        judge.expect(f"records of {name}", len(found), good=1)
        judge.expect(f"pid of {name}", found and found[0].get("pid"), good=str(one.pid))
        judge.expect(f"uid of {name}", found and found[0].get("uid"), good="0")
    kinds = {record.type for record in trail.records}
    judge.expect("records of su", "USER_START" in kinds and "CRED_ACQ" in kinds, good=True)
    foreign = kinds & {"CONTAINER_ID", "NS_INFO", "NS_INIT", "NS_DEL", "SYSCALL"}
    judge.expect("records of the machine's", ", ".join(sorted(foreign)) or "none", good="none")

    # Who could be anybody is told what he was always told.
    for what, wrap in (("made by anybody", (*_ANYBODY, "--map-root-user")), ("in it", _BYPASS)):
        told = send(box.run, "told-by-anybody", wrap).errno
        judge.expect(f"a message from a namespace {what}", told, good="ECONNREFUSED")
    told = send(box.run, "told-without", ("setpriv", "--bounding-set=-audit_write")).errno
    judge.expect("a message without the capability", told, good="EPERM")

    # A rule is refused, and so is a second daemon; what is set inside stays inside.
    rule = box.run(["auditctl", "-a", "always,exit", "-S", "sethostname"])
    judge.expect("a rule", "not supported" in rule.stderr, good=True)
    judge.expect("a second daemon", _exits(box.run, ["auditd"]), good=True)
    box.run(["auditctl", "-b", "99", "-r", "1000"]).require()
    outside = _status(guest.run)
    judge.expect("backlog limit outside", outside.backlog_limit == 99, good=False)
    judge.expect("rate limit outside", outside.rate_limit, good=0)

    # It ends when it is told to, and says by whom; killed, it leaves no trace. After both there
    # is no audit in the container, until it is started again.
    for signal in ("TERM", "KILL"):
        _end(box, signal)
        told = send(box.run, "told-nobody").errno
        judge.expect(f"after SIG{signal}", told, good="ECONNREFUSED")
        judge.expect(f"su after SIG{signal}", su(box.run), good="granted")
        judge.expect(f"auditd after SIG{signal}", box.run(["auditd"]).status, good=0)
    ends = _trail(box, judge, "restarted").matching(type="DAEMON_END")
    judge.expect("ends of the daemon", len(ends), good=1)

    # And the machine's daemon knows nothing of it.
    host = auditd.trail()
    leaked = [one.text for one in host.records if "told-" in one.text]
    judge.expect("records at the machine's daemon", len(leaked), good=0)
    judge.expect("logins at the machine's daemon", len(host.matching(type="USER_START")), good=0)
    changed = [one for one in host.matching(type="CONFIG_CHANGE") if one.get("new") == "99"]
    judge.expect("changes at the machine's daemon", len(changed), good=0)


def _exits(run: Callable[..., Answer], argv: Sequence[str]) -> bool:
    return run(argv).status != 0
