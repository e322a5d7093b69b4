"""Does an FTP login through the real vsftpd work, and is it recorded, rightly?

As its author releases it, vsftpd clones each session into a PID namespace (``isolate=YES``, its
default) and asks PAM there. Debian's build, which this is, asks for CLONE_NEWIPC and no
CLONE_NEWPID (strace shows it); ``isolate.so.c`` gives it back. The session is root with every
capability: audit must take its messages, and report the pids of the initial namespace. Without
CAP_AUDIT_WRITE the answer is EPERM, as documented.
"""

from __future__ import annotations

import contextlib
import ftplib
import time
from collections.abc import Callable
from typing import Any

import pytest

from harness.errors import DeadlineExceeded, GuestToolMissing
from harness.guest.container import Container
from harness.guest.machine import Guest
from harness.scenario import Judge

ISOLATE = ("env", "LD_PRELOAD=/run/nsaudit/isolate.so")
WITHOUT_WRITE = ("capsh", "--drop=cap_audit_write", "--shell=/bin/sh", "--", "-c", 'exec "$0" "$@"')


@pytest.mark.scenario(broken=["pidns-user"], config=["AUDIT", "PID_NS"], layers=["pam-1.2"])
def test_vsftpd_pidns(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    passwords: dict[str, str],
    container: Callable[..., Container],
    send: Callable[..., Any],
) -> None:
    # Given vsftpd with Debian's PAM, and then with a 1.2-era one, in the initial PID namespace,
    seen: set[str] = set()
    for era, layer in (("modern", ""), ("1.2", "pam-1.2")):
        box = container("mount", layer=layer)
        server = box.spawn([*ISOLATE, "vsftpd", "-oisolate=YES"])

        # when somebody logs in, in a session that has a PID namespace of its own,
        reply, mine = _log_in(guest, passwords["tester"], era, judge)
        trail = auditd.trail(f"records-{era}.log")
        server.kill()

        # then the login works, and its records name a process of vsftpd.
        broken = "230" if era == "modern" else "530"
        judge.expect(f"FTP's reply, PAM {era}", reply, good="230", broken=broken)
        # (messages only: a kernel may also record what vsftpd does)
        records = [
            one
            for one in trail.matching(exe="/usr/sbin/vsftpd")
            if one.user and one.fields["pid"] not in seen
        ]
        kinds = sorted({one.type for one in records})
        judge.expect(
            f"records of it, PAM {era}",
            " ".join(kinds) or "none",
            good="CRED_ACQ USER_ACCT USER_AUTH",
            broken="none",
        )
        pids = {one.fields["pid"] for one in records}
        right = "nothing to look at" if not pids else "yes" if pids <= mine else "no"
        judge.expect(
            f"pids name vsftpd's session, PAM {era}", right, good="yes", broken="nothing to look at"
        )
        seen |= pids
    judge.note(pids=sorted(seen))

    # And a raw message from a PID namespace: only the capability may decide.
    box = container("pid", "mount")
    with_it = send(box.run, "with-capability")
    judge.note(errno=with_it.errno)
    judge.expect("errno with CAP_AUDIT_WRITE", with_it.errno, good="0", broken="EPERM")
    without = send(box.run, "without-capability", WITHOUT_WRITE)
    judge.expect("errno without CAP_AUDIT_WRITE", without.errno, good="EPERM")


def _log_in(guest: Guest, password: str, era: str, judge: Judge) -> tuple[str, set[str]]:
    """FTP's reply to the password, and the pids of vsftpd while the session is open."""
    port = guest.require_port(21)
    transcript = [f"# PAM {era}"]
    with contextlib.closing(_connect(port, guest.scale)) as ftp:
        transcript.append(ftp.getwelcome())
        places = guest.run(["sh", "-c", 'readlink $(printf "/proc/%s/ns/pid " $(pidof vsftpd))'])
        own = len(set(places.require().stdout.split())) > 1
        judge.expect(f"session in a PID namespace, PAM {era}", "yes" if own else "no", good="yes")
        try:
            transcript.append(ftp.sendcmd("USER tester"))
            transcript.append(ftp.sendcmd(f"PASS {password}"))
        except ftplib.error_perm as refusal:
            transcript.append(str(refusal))
        pids = guest.run(["pidof", "vsftpd"]).stdout.split()
    judge.keep(f"transcript-ftp-{era}.txt", "\n".join(transcript) + "\n")
    return transcript[-1][:3], set(pids)


def _connect(port: int, scale: float) -> ftplib.FTP:
    """The server answers through QEMU's port even before it listens: ask until it greets."""
    end = time.monotonic() + 10.0 * scale
    while time.monotonic() < end:
        ftp = ftplib.FTP(timeout=15.0 * scale)
        try:
            ftp.connect("127.0.0.1", port)
        except (EOFError, ConnectionError):
            ftp.close()
            time.sleep(0.05)
        except TimeoutError as error:
            ftp.close()
            raise DeadlineExceeded("vsftpd does not answer") from error
        except ftplib.Error as error:
            ftp.close()
            raise GuestToolMissing(f"vsftpd does not work: {error}") from error
        else:
            return ftp
    raise GuestToolMissing("nothing listens on the guest's FTP port")
