"""Can people log in to a container that has a user namespace of its own?

Audit must tell such a container that it is not there (ECONNREFUSED). Linux-PAM up to 1.2
takes EPERM for a failure to log and refuses root's programs: su says "System error", login(1)
"Login incorrect", sshd closes the connection, and syslog has the reason. A later PAM lets the
login go on, and nothing is recorded either way. So the errno is asked at the netlink edge, and
three ways in are tried with both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.audit.records import Record
from harness.guest import ssh
from harness.guest.container import Container
from harness.guest.machine import Guest, Job
from harness.scenario import Judge

KINDS = ("user", "pid", "net", "mount", "uts", "ipc")


@pytest.mark.scenario(
    broken=["userns-eperm"], config=["AUDIT", "USER_NS", "PID_NS", "NET_NS"], layers=["pam-1.2"]
)
def test_pam_econnrefused(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    passwords: dict[str, str],
    sshd: Callable[..., Job],
    syslog: Callable[[], str],
    container: Callable[..., Container],
    send: Callable[..., Any],
    su: Callable[..., str],
    ssh_client: ssh.Client,
    by_ssh: Callable[..., str],
    by_console: Callable[..., str],
) -> None:
    # Given a guest with the daemon and sshd, and in it two containers that differ in their PAM.
    sshd(guest.spawn)
    jump = ssh_client.login("root", passwords["root"])

    for number, (era, layer) in enumerate((("1.2", "pam-1.2"), ("modern", "")), 1):
        box = container(*KINDS, layer=layer)
        address = box.connect(number)
        server = sshd(box.spawn)
        old = era == "1.2"

        # When a program there logs, and people come in by su, SSH and the console,
        sent = send(box.run, f"from-{era}")
        in_by_su = su(box.run)
        in_by_ssh = by_ssh(jump, address, passwords["root"])
        in_by_console = by_console(box, passwords["root"])

        # then the kernel's answer decides.
        if old:
            judge.note(errno=sent.errno)
        judge.expect(f"errno, PAM {era}", sent.errno, good="ECONNREFUSED", broken="EPERM")
        judge.expect(
            f"su, PAM {era}", in_by_su, good="granted", broken="su: System error" if old else None
        )
        judge.expect(
            f"SSH, PAM {era}", in_by_ssh, good="granted", broken="refused" if old else None
        )
        judge.keep(f"transcript-sshd-{era}.txt", bytes(server.err))
        judge.expect(
            f"login on the console, PAM {era}",
            in_by_console,
            good="granted",
            broken="Login incorrect" if old else None,
        )
        trail = auditd.trail(f"records-{era}.log")
        gone = [one for one in trail.records if _is_from(one, address.replace(".2", ".1"))]
        judge.expect(f"records of it, PAM {era}", len(gone), good=0)

    # The same program outside is recorded: it is the namespace that silences it.
    su(guest.run)
    outside = auditd.trail().sessions("/usr/bin/su")
    judge.expect("records of su outside", len(outside), good=1)

    said = syslog()
    judge.keep("transcript-syslog.txt", said)
    complaint = "audit_log_acct_message() failed: Operation not permitted"
    judge.expect(
        "PAM's complaint in syslog", "yes" if complaint in said else "no", good="no", broken="yes"
    )


def _is_from(record: Record, client: str) -> bool:
    """Whether a record is of su, of login, or of an SSH login by the container's neighbour."""
    exe = record.user.get("exe", "")
    return exe.endswith(("/su", "/login")) or record.user.get("addr") == client
