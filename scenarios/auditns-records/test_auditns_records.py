"""Are all records of an event there, for the machine's daemon and for a container's?

Some system calls have a record of their own kind: of a pipe, of a queue that is given away, of
arguments that take more than one record, of a change of the clock. Each daemon gets them, with the
ids that it knows; and is told who signalled it by that one's login. What is said while there is no
daemon of the machine's is on the console.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.audit.records import Trail
from harness.guest.machine import Guest
from harness.guest.polling import poll
from harness.scenario import Judge

_SHIFT = 100_000
# What calls.c makes of a queue.
_USER, _GROUP, _MODE = 61, 62, "0640"
# More than one record holds (MAX_EXECVE_AUDIT_LEN is 7500), and many that fill some.
_LONG, _COUNT, _SHORT = 20_000, 20, 1000
_ARGUMENTS = ["x" * _LONG, *(str(n % 10) * _SHORT for n in range(_COUNT))]
# The C library has adjtime by the clock.
_CALLS = ("pipe2", "msgctl", "clock_adjtime", "capset")
_LOGIN = "1001"
_LOG_IN = f"echo {_LOGIN} >/proc/self/loginuid; "
_LIMIT_S = 20.0
# The machine's title is the one of the task's first event, which the exec is here.
_TITLES = {"inside": "true", "outside": "/init"}
_CONFIG = "/etc/audit/auditd.conf"
_DROP = "echo $$; exec setpriv --inh-caps=-all true"
# struct vfs_cap_data, revision 2: CAP_CHOWN, for whoever runs a file, and effective if the second
# argument says so (linux/capability.h).
_ENDOW = """
import os, struct, sys
path, effective = sys.argv[1:]
caps = struct.pack("<5I", 2 << 24 | int(effective), 1, 0, 0, 0)
os.setxattr(path, "security.capability", caps)
"""
# A program where files may have capabilities, to be run by one who is not root.
_PROGRAM = "/mnt/gaining"
_PLACE = f"mount -t tmpfs tmpfs /mnt && cp /bin/true {_PROGRAM}"
_AS_TESTER = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")
# Two addresses: a long one, and one that is only the first byte of a family.
_INET = 2  # AF_INET
_CONNECT = f"""
import ctypes, socket
connect = ctypes.CDLL(None).connect
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    connect(one.fileno(), bytes([1]) * 128, 128)
    connect(one.fileno(), bytes([{_INET}]), 1)
"""
_DEFAULT = "audit_backlog_limit: using default of 8192, unable to parse many"


def _arguments(trail: Trail, key: str) -> list[str]:
    """What a program that a rule told of was called with, as its records have it."""
    called = trail.having(type="SYSCALL", key=key, comm="true")
    found: dict[int, str] = {}
    for record in called.matching(type="EXECVE"):
        for name, value in record.fields.items():
            number = name[1:].partition("[")[0]
            if name[0] == "a" and number.isdigit():
                found[int(number)] = found.get(int(number), "") + value
    return [found[number] for number in sorted(found)]


def _await_reading(reader: Any, times: int) -> None:
    """Until a daemon has read its configuration again so often."""
    poll(
        reader.read,
        lambda text: text.count("op=reconfigure") == times,
        limit_s=_LIMIT_S * reader.guest.scale,
        what=f"a configuration that was read again, {times}",
    )


@pytest.mark.scenario(
    feature=["auditns"],
    config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS", "SYSVIPC"],
    # Not with audit=1, by which records are kept for a daemon to come.
    arguments=["audit_backlog_limit=8192", "audit_backlog_limit=many"],
)
def test_auditns_records(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    contained: Callable[..., Any],
    send: Callable[..., Any],
) -> None:
    # Given the machine, booted with a limit that is no number, and a container,
    console = guest.console_log.read_text(errors="replace")
    judge.expect("the limit, told so", _DEFAULT in console, good=True)
    judge.expect("limits, each in a line", console.count("audit_backlog_limit: "), good=2)
    inner = contained(shift=_SHIFT)
    if not inner.expect_start():
        return

    for where, reader, more in (("inside", inner, ()), ("outside", auditd, ("time",))):
        # each of the calls has its record,
        names = [word for call in _CALLS for word in ("-S", call)]
        rule = ["always,exit", "-F", "arch=b64", *names, "-k", "calls"]
        reader.run(["auditctl", "-a", *rule]).require()
        if reader is inner:
            # Only the machine's daemon hears of a clock, which nobody in a container can set.
            guest.run(["/run/nsaudit/calls", "time"]).require()
        ends = reader.run(["/run/nsaudit/calls", *more]).require().stdout.split()
        dropper = reader.run(["sh", "-c", _DROP]).require().stdout.strip()
        trail = reader.trail(f"calls-{where}.log")
        pairs = [[one.get("fd0"), one.get("fd1")] for one in trail.matching(type="FD_PAIR")]
        judge.expect(f"pipes, {where}", ends in pairs, good=True)
        told = [
            tuple(one.get(name) for name in ("ouid", "ogid", "mode"))
            for one in trail.matching(type="IPC_SET_PERM")
        ]
        judge.expect(f"queues given away, {where}", told, good=[(str(_USER), str(_GROUP), _MODE)])
        owners = {(one.get("ouid"), one.get("ogid")) for one in trail.matching(type="IPC")}
        judge.expect(f"owners of queues, {where}", ("0", "0") in owners, good=True)
        dropped = {one.get("pid") for one in trail.matching(type="CAPSET")}
        judge.expect(f"who dropped capabilities, {where}", dropped, good={dropper})
        # One call changes both, in a record each.
        for value in ("freq", "tick"):
            raised = [
                int(str(one.get("new"))) > int(str(one.get("old")))
                for one in trail.matching(type="TIME_ADJNTPVAL", op=value)
            ]
            judge.expect(f"{value}, {where}", raised, good=[True, False] if more else [])
        # The kernel, with our series or without, repeats the one of an earlier call.
        offsets = {one.get("nsec") for one in trail.matching(type="TIME_INJOFFSET")}
        judge.expect(f"offsets, {where}", offsets, good={"1"} if more else set())
        reader.run(["auditctl", "-D"]).require()

        # and so has a program all its arguments, and its title.
        rule = ["always,exit", "-F", "arch=b64", "-S", "execve", "-k", "program"]
        reader.run(["auditctl", "-a", *rule]).require()
        reader.run(["true", *_ARGUMENTS]).require()
        reader.run(["auditctl", "-D"]).require()
        trail = reader.trail(f"program-{where}.log")
        seen = _arguments(trail, "program")
        titles = trail.having(type="SYSCALL", comm="true").matching(type="PROCTITLE")
        named = [str(one.get("proctitle")).partition("\0")[0].split(" ")[0] for one in titles]
        judge.expect(f"titles, {where}", named, good=[_TITLES[where]])
        lengths = [len(one) for one in seen[1:]]
        judge.expect(f"arguments, {where}", lengths, good=[len(one) for one in _ARGUMENTS])
        judge.expect(f"the same, {where}", seen[1:] == _ARGUMENTS, good=True)

        # An address, a program that has capabilities, and a call that does not return, too.
        for key, asked in (
            ("address", f"-S connect -F saddr_fam={_INET}"),
            ("gaining", "-S execve"),
            ("leaving", "-S exit_group"),
        ):
            line = f"always,exit -F arch=b64 {asked} -k {key}"
            reader.run(["auditctl", "-a", *line.split()]).require()
        reader.run(["python3", "-c", _CONNECT]).require()
        reader.run(["sh", "-c", _PLACE]).require()
        reader.run(["python3", "-c", _ENDOW, _PROGRAM, "1"]).require()
        reader.run([*_AS_TESTER, _PROGRAM]).require()
        reader.run(["auditctl", "-D"]).require()
        trail = reader.trail(f"more-{where}.log")
        sent = trail.keyed("address").matching(type="SOCKADDR")
        addresses = [one.fields["saddr"] for one in sent]
        judge.expect(f"addresses, {where}", addresses, good=[f"{_INET:02X}"])
        owned = [one.get("frootid") for one in trail.matching(type="BPRM_FCAPS")]
        judge.expect(f"root of a program's capabilities, {where}", owned, good=["0"])
        left = trail.matching(type="SYSCALL", key="leaving", comm="gaining")
        judge.expect(f"ends of a program, {where}", len(left), good=1)

        # Who changes rules, makes a call that one names, or has the daemon read its configuration
        # again is known by the login.
        pid = reader.status().pid
        kills = "always,exit -F arch=b64 -S kill -k login"
        act = f"{_LOG_IN} auditctl -a {kills}; kill -HUP {pid}"
        reader.run(["sh", "-c", act]).require()
        _await_reading(reader, 1)
        trail = reader.trail(f"reconfigured-{where}.log")
        told = [one.get("auid") for one in trail.records if "op=reconfigure" in one.text]
        judge.expect(f"who signalled, {where}", set(told), good={_LOGIN})
        for kind in ("CONFIG_CHANGE", "SYSCALL"):
            told = [one.get("auid") for one in trail.matching(type=kind, key="login")]
            judge.expect(f"who it was, {kind} {where}", set(told), good={_LOGIN})
        reader.run(["auditctl", "-D"]).require()

        # What the daemon does itself is not told, by a rule about calls or one about a file.
        number = reader.run(["stat", "--format=%i", _CONFIG]).require().stdout.strip()
        for asked in ("-S openat -k call", f"-S all -F inode={number} -k file"):
            own = f"always,exit -F arch=b64 {asked}"
            reader.run(["auditctl", "-a", *own.split()]).require()
        reader.run(["kill", "-HUP", str(pid)]).require()
        _await_reading(reader, 2)
        reader.run(["python3", "-c", _ENDOW, _CONFIG, "0"]).require()
        reader.run(["stat", _CONFIG]).require()
        trail = reader.trail(f"own-{where}.log")
        paths = trail.matching(type="PATH", name=_CONFIG)
        owners = {(one.get("ouid"), one.get("ogid")) for one in paths}
        judge.expect(f"owners of the file, {where}", owners, good={("0", "0")})
        roots = {one.get("cap_frootid") for one in paths if one.get("cap_fver") == "2"}
        judge.expect(f"root of its capabilities, {where}", roots, good={"0"})
        told = trail.matching(type="SYSCALL")
        for key in ("call", "file"):
            who = {str(one.get("comm")) for one in told if one.get("key") == key}
            judge.expect(f"told of the daemon by a {key}, {where}", "auditd" in who, good=False)
            judge.expect(f"told of others by a {key}, {where}", "stat" in who, good=True)
        reader.run(["auditctl", "-D"]).require()
        judge.expect(f"lost, {where}", reader.lost(), good=0)

    # What is said while the machine has no daemon is on the console, and nowhere else where nobody
    # has asked for audit at the boot. (libaudit may take the first record for an answer to the
    # daemon's registration, and drop it.)
    auditd.kill()

    def said_again() -> str:
        # The kernel prints so many lines in some seconds, and no more.
        send(guest.run, "unkept.")
        return guest.console_log.read_text(errors="replace")

    poll(
        said_again,
        lambda text: text.count("unkept.") > 1,
        limit_s=_LIMIT_S * guest.scale,
        what="a message on the console",
    )
    judge.expect("auditd again", auditd.start().status, good=0)
    judge.expect("kept for it", len(auditd.trail("unkept.log").saying("unkept.")), good=0)
