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

from harness.guest.machine import Answer, Guest
from harness.guest.polling import poll
from harness.scenario import Judge

_LIMIT_S = 15.0
# Whoever makes this namespace has no rights above it, and all in it.
_ANYBODY = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "unshare", "--user")
_BYPASS = (*_ANYBODY, "--map-root-user", "unshare", "--user", "--map-root-user")


def _end(inner: Any, signal: str) -> None:
    """Ends the container's daemon by a signal from inside, and waits until it is gone."""
    box = inner.box
    pid = inner.status().pid
    box.run(["kill", f"-{signal}", str(pid)]).require()

    def gone() -> bool:
        # The first process of the container collects nobody.
        said = box.run(["cat", f"/proc/{pid}/status"])
        return said.status != 0 or "State:\tZ" in said.stdout

    limit_s = _LIMIT_S * box.guest.scale
    poll(gone, bool, limit_s=limit_s, what="the end of the container's daemon")


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "USER_NS", "PID_NS", "NET_NS"])
def test_auditns_daemon(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    contained: Callable[..., Any],
    send: Callable[..., Any],
    su: Callable[..., str],
) -> None:
    # Given the machine's daemon, and a container where nobody has started audit,
    inner = contained()
    box = inner.box
    judge.expect("before: a message", send(box.run, "told-before").errno, good="ECONNREFUSED")
    asked = box.run(["auditctl", "-s"])
    judge.expect("before: auditctl -s", "pid" in asked.stdout, good=False)

    # when auditd is started in it, it runs, and the kernel knows it by its pid there.
    started = inner.start()
    judge.keep("transcript-auditd.txt", started.stdout + started.stderr)
    runs = "runs" if started.status == 0 else "exits"
    judge.expect("auditd in the container", runs, good="runs", broken="exits")
    if started.status != 0:
        return
    status = inner.status()
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
    trail = inner.trail("inside.log")
    judge.expect("unreadable lines", len(trail.unparsed), good=0)
    for name, one in (("a message", sent), ("nested", nested)):
        text = "told-inside" if one is sent else "told-nested"
        found = trail.saying(f"msg='{text}")
        judge.expect(f"records of {name}", len(found), good=1)
        judge.expect(f"pid of {name}", found and found[0].get("pid"), good=str(one.pid))
        judge.expect(f"uid of {name}", found and found[0].get("uid"), good="0")
    messages = [one for one in trail.records if one.type.startswith(("USER_", "CRED_"))]
    numbers = {one.serial for one in messages}
    judge.expect("numbers of messages", len(numbers), good=len(messages))
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

    # A second daemon is refused; what is set inside stays inside.
    judge.expect("a second daemon", _exits(box.run, ["auditd"]), good=True)
    box.run(["auditctl", "-b", "99", "-r", "1000"]).require()
    outside = auditd.status()
    judge.expect("backlog limit outside", outside.backlog_limit == 99, good=False)
    judge.expect("rate limit outside", outside.rate_limit, good=0)

    # It ends when it is told to, and says by whom; killed, it leaves no trace. After both there
    # is no audit in the container, until it is started again.
    for signal in ("TERM", "KILL"):
        _end(inner, signal)
        told = send(box.run, "told-nobody").errno
        judge.expect(f"after SIG{signal}", told, good="ECONNREFUSED")
        judge.expect(f"su after SIG{signal}", su(box.run), good="granted")
        judge.expect(f"auditd after SIG{signal}", box.run(["auditd"]).status, good=0)
    ends = inner.trail("restarted.log").matching(type="DAEMON_END")
    judge.expect("ends of the daemon", len(ends), good=1)

    # And the machine's daemon knows nothing of it.
    host = auditd.trail()
    judge.expect("records at the machine's daemon", len(host.saying("told-")), good=0)
    judge.expect("logins at the machine's daemon", len(host.matching(type="USER_START")), good=0)
    changed = [one for one in host.matching(type="CONFIG_CHANGE") if one.get("new") == "99"]
    judge.expect("changes at the machine's daemon", len(changed), good=0)


def _exits(run: Callable[..., Answer], argv: Sequence[str]) -> bool:
    return run(argv).status != 0
