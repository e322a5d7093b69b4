"""Are logins to a container in the log of the container's own daemon?

People come in by su, SSH, the console and FTP, in a container with Linux-PAM of the 1.2 era and
in one with today's. Each way in works, and is recorded where the container's administrator looks
for it; the machine's log has nothing of it, as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from harness.guest import ssh
from harness.guest.machine import Answer, Guest, Job
from harness.guest.polling import poll
from harness.scenario import Judge

_PROGRAMS = {
    "su": "/usr/bin/su",
    "SSH": "/usr/sbin/sshd",
    "the console": "/usr/bin/login",
    "FTP": "/usr/sbin/vsftpd",
}
_FTP = """
import ftplib, sys
ftp = ftplib.FTP(timeout=60)
ftp.connect(sys.argv[1])
print(ftp.login("tester", sys.argv[2])[:3])
ftp.quit()
"""


def _listens(run: Callable[..., Answer]) -> bool:
    """Whether somebody listens on the port of FTP, 21."""
    return run(["sh", "-c", "grep -q ':0015 ' /proc/net/tcp /proc/net/tcp6"]).status == 0


@pytest.mark.scenario(
    feature=["auditns"], config=["AUDIT", "USER_NS", "PID_NS", "NET_NS"], layers=["pam-1.2"]
)
def test_auditns_logins(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    passwords: dict[str, str],
    sshd: Callable[..., Job],
    contained: Callable[..., Any],
    su: Callable[..., str],
    ssh_client: ssh.Client,
    by_ssh: Callable[..., str],
    by_console: Callable[..., str],
) -> None:
    # Given a guest with the daemon and sshd, and in it two containers that differ in their PAM,
    sshd(guest.spawn)
    jump = ssh_client.login("root", passwords["root"])
    for number, (era, layer) in enumerate((("1.2", "pam-1.2"), ("modern", "")), 1):
        inner = contained(layer=layer)
        if not inner.expect_start(f"auditd, PAM {era}"):
            continue
        address = inner.box.connect(number)
        sshd(inner.box.spawn)
        server = inner.box.spawn(["vsftpd", "-oisolate=NO", "-oisolate_network=NO"])
        poll(partial(_listens, inner.run), bool, limit_s=20.0 * guest.scale, what="vsftpd")

        # when people come in by su, SSH, the console and FTP,
        came = {
            "su": su(inner.run),
            "SSH": by_ssh(jump, address, passwords["root"]),
            "the console": by_console(inner.box, passwords["root"]),
            "FTP": guest.run(
                ["python3", "-c", _FTP, address, passwords["tester"]], deadline_s=60.0
            ).stdout.strip(),
        }
        server.kill()

        # then each of them gets in, and the container's daemon has a record of it,
        trail = inner.trail(f"inside-{era}.log")
        for way, exe in _PROGRAMS.items():
            good = "230" if way == "FTP" else "granted"
            judge.expect(f"{way}, PAM {era}", came[way], good=good)
            kinds = {one.type for one in trail.matching(exe=exe) if one.user}
            judge.expect(f"authentication by {way}, PAM {era}", "USER_AUTH" in kinds, good=True)
            if way != "FTP":
                opened = len(trail.sessions(exe))
                judge.expect(f"sessions of {way}, PAM {era}", opened, good=1)
        # and the machine's has none.
        outside = auditd.trail(f"outside-{era}.log")
        client = address.replace(".2", ".1")
        gone = [one for one in outside.records if one.user.get("addr") == client]
        judge.expect(f"records outside, PAM {era}", len(gone), good=0)
        judge.expect(f"su outside, PAM {era}", len(outside.sessions("/usr/bin/su")), good=0)
