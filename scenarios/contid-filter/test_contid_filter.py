"""Do rules tell containers apart, on each list and with each operator?

The exit, user, exclude and task lists know the field, with = and != and the word for no
container; everything else is refused when the rule is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge

_NAMED = ("/run/nsaudit/named",)
_RULE = "/run/nsaudit/rule"
_SEND = "/run/nsaudit/send"
_SETHOSTNAME = "170"
_SET = ("hostname", "-b", "box")
# What a task that has been made in the container does.
_SET_BY_A_CHILD = ("sh", "-c", "hostname -b box; true")
_IDS = {"41": "one", "42": "two", None: "none"}
_PLACES = {place: (*_NAMED, number) if number else () for number, place in _IDS.items()}
# What each rule matches, of the three places.
_MATCHES = {
    ("=", "41"): ["one"],
    ("!=", "41"): ["two", "none"],
    ("=", "unset"): ["none"],
    ("!=", "unset"): ["one", "two"],
    ("=", "43"): [],
}
_REFUSED = {
    **{op: ("exit", "contid", op, "41") for op in ("<", ">", "<=", ">=", "&", "&=")},
    "filesystem list": ("filesystem", "contid", "=", "41"),
    "4 bytes": ("exit", "27", "=", "4"),
    "8 bytes that are not there": ("exit", "27", "=", "8"),
    "0 bytes": ("exit", "27", "=", "0"),
    "7 bytes": ("exit", "27", "=", ":" + 7 * "x"),
    "16 bytes": ("exit", "27", "=", ":" + 16 * "x"),
}
# AUDIT_GET's reply: struct audit_status has the features as its ninth number (linux/audit.h).
_FEATURES = """
import socket, struct
kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)
kernel.send(struct.pack("=IHHII", 16, 1000, 1, 1, 0))
print(struct.unpack_from("=16x9I", kernel.recv(8192))[8])
"""
_CONTAINERID = 0x80
_EXCLUDE_CONTAINER_ID = ("12", "=", "1340")


@pytest.mark.scenario(feature=["contid"], config=["AUDIT", "AUDITSYSCALL"])
def test_contid_filter(guest: Guest, judge: Judge, auditd: Any) -> None:
    # Given a kernel that knows the field, and says so in its status,
    features = int(guest.run(["python3", "-c", _FEATURES]).require().stdout)
    judge.expect("feature", bool(features & _CONTAINERID), good=True, broken=False)
    first = guest.run([_RULE, "add", "exit", "always", "contid", "=", "41"]).require().stdout
    judge.expect("adding a rule", first.strip(), good="0", broken="EINVAL")
    if first.strip() != "0":
        return
    # of which auditctl does not know the field,
    listed = guest.run(["auditctl", "-l"])
    judge.expect("auditctl -l", f"{listed.status}{listed.stderr}", good="0")
    guest.run(["auditctl", "-D"]).require()

    # and of which two are two though they differ in the upper half of the id alone,
    both = [
        guest.run([_RULE, "add", "exit", "always", "contid", "=", one]).require().stdout.strip()
        for one in ("41", str(41 + 2**32))
    ]
    judge.expect("rules for two containers", both, good=["0", "0"])
    guest.run(["auditctl", "-D"]).require()

    # when things happen under rules on the exit list,
    for op, value in _MATCHES:
        rule = ["contid", op, value, "-S", _SETHOSTNAME, "-k", _key("exit", op, value)]
        guest.run([_RULE, "add", "exit", "always", *rule]).require()
        _everywhere(guest, _SET)
        deleted = guest.run([_RULE, "del", "exit", "always", *rule]).require().stdout.strip()
        judge.expect(f"exit {op} {value}, deleted", deleted, good="0")

    # also where the number is at an odd place of the buffer,
    rule = ["-k", "odd", "contid", "=", "41", "-S", _SETHOSTNAME]
    guest.run([_RULE, "add", "exit", "always", *rule]).require()
    _everywhere(guest, _SET)
    judge.expect("odd, listed", guest.run(["auditctl", "-l"]).stdout.count("key=odd"), good=1)
    deleted = guest.run([_RULE, "del", "exit", "always", *rule]).require().stdout.strip()
    judge.expect("odd, deleted", deleted, good="0")

    # on the user and exclude lists, of messages,
    for name, action in (("user", "never"), ("exclude", "always")):
        for op, value in _MATCHES:
            guest.run([_RULE, "add", name, action, "contid", op, value]).require()
            for place, wrap in _PLACES.items():
                guest.run([*wrap, _SEND, f"{_key(name, op, value)}-{place}"]).require()
            guest.run([_RULE, "del", name, action, "contid", op, value]).require()

    # and on the task list, of all that a task does which is made under it,
    for op, value in _MATCHES:
        calls = ["-a", "always,exit", "-S", "sethostname", "-k", _key("task", op, value)]
        guest.run(["auditctl", *calls]).require()
        guest.run([_RULE, "add", "task", "never", "contid", op, value]).require()
        _everywhere(guest, _SET_BY_A_CHILD)
        guest.run(["auditctl", "-D"]).require()

    # then each of them matches the tasks of the containers that it names, and no others.
    trail = auditd.trail()
    texts = [one.text for one in trail.records if one.type == "USER_LOGIN"]
    judge.expect("exit, at an odd place", _audited(trail, "odd"), good=["one"])
    for (op, value), matched in _MATCHES.items():
        rest = [place for place in _PLACES if place not in matched]
        audited = _audited(trail, _key("exit", op, value))
        judge.expect(f"exit {op} {value}", audited, good=matched)
        audited = _audited(trail, _key("task", op, value))
        judge.expect(f"task {op} {value}", audited, good=rest)
        for name in ("user", "exclude"):
            said = f"msg='{_key(name, op, value)}-"
            seen = [place for place in _PLACES if any(f"{said}{place}'" in t for t in texts)]
            judge.expect(f"{name} {op} {value}", seen, good=rest)

    # What the kernel cannot do, it refuses.
    for what, (name, *rule) in _REFUSED.items():
        errno = guest.run([_RULE, "add", name, "always", *rule]).require().stdout.strip()
        judge.expect(f"refused: {what}", errno, good="EINVAL")

    # The new records can be excluded as all others can.
    guest.run([_RULE, "add", "exclude", "always", *_EXCLUDE_CONTAINER_ID]).require()
    guest.run([*_PLACES["one"], _SEND, "without-its-container"]).require()
    trail = auditd.trail()
    (event,) = [e for e in trail if any("without-its-container" in r.text for r in e.records)]
    judge.expect("excluded", [one.type for one in event.records], good=["USER_LOGIN"])


def _key(name: str, op: str, value: str) -> str:
    """One for each rule, without what auditctl takes for an operator."""
    return f"{name}-{'not-' if op == '!=' else ''}{value}"


def _everywhere(guest: Guest, argv: Sequence[str]) -> None:
    for wrap in _PLACES.values():
        guest.run([*wrap, *argv]).require()


def _audited(trail: Any, key: str) -> list[str]:
    """The places of the system calls that a rule asked for, one for each event."""
    return [
        _IDS[next((one.get("contid") for one in event.records if one.type == "CONTAINER_ID"), None)]
        for event in trail.keyed(key)
    ]
