"""Do rules tell containers apart, on each list and with each operator?

The exit, user, exclude and task lists know the field, with = and != and the word for no
container; everything else is refused when the rule is added.
"""

from __future__ import annotations

from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge

_NAMED = ("/run/nsaudit/named",)
_RULE = "/run/nsaudit/rule"
_SEND = "/run/nsaudit/send"
_SETHOSTNAME = "170"
_SET = ("python3", "-c", "import socket; socket.sethostname(socket.gethostname())")
_PLACES: dict[str, tuple[str, ...]] = {
    "one": (*_NAMED, "41"),
    "two": (*_NAMED, "42"),
    "none": (),
}
# What each rule lets through, of the three places.
_MATCHES = {
    ("=", "41"): ["one"],
    ("!=", "41"): ["two", "none"],
    ("=", "unset"): ["none"],
    ("!=", "unset"): ["one", "two"],
    ("=", "43"): [],
}
_REFUSED = {
    "less": ("exit", "contid", "<", "41"),
    "at least": ("exit", "contid", ">=", "41"),
    "bit mask": ("exit", "contid", "&", "41"),
    "filesystem list": ("filesystem", "contid", "=", "41"),
    "4 bytes": ("exit", "27", "=", "4"),
    "8 bytes that are not there": ("exit", "27", "=", "8"),
    "0 bytes": ("exit", "27", "=", "0"),
}
_USER_LOGIN = "1112"
_EXCLUDE_CONTAINER_ID = ("12", "=", "1340")


@pytest.mark.scenario(feature=["contid"], config=["AUDIT", "AUDITSYSCALL"])
def test_contid_filter(guest: Guest, judge: Judge, auditd: Any) -> None:
    # Given a kernel that knows the field, and says so in its status,
    first = guest.run([_RULE, "add", "exit", "always", "contid", "=", "41"]).require().stdout
    judge.expect("adding a rule", first.strip(), good="0", broken="EINVAL")
    if first.strip() != "0":
        return
    guest.run(["auditctl", "-D"]).require()

    # rules on the exit list match the tasks of the containers they name,
    for (op, value), good in _MATCHES.items():
        key = f"exit{op}{value}"
        rule = ["contid", op, value, "-S", _SETHOSTNAME, "-k", key]
        guest.run([_RULE, "add", "exit", "always", *rule]).require()
        seen = []
        for place, wrap in _PLACES.items():
            before = len(auditd.trail().matching(type="SYSCALL", key=key))
            guest.run([*wrap, *_SET]).require()
            seen += [place] * (len(auditd.trail().matching(type="SYSCALL", key=key)) - before)
        deleted = guest.run([_RULE, "del", "exit", "always", *rule]).require().stdout.strip()
        judge.expect(f"exit {op} {value}", seen, good=good)
        judge.expect(f"exit {op} {value}, deleted", deleted, good="0")

    # on the user and exclude lists they suppress their messages,
    for name, action in (("user", "never"), ("exclude", "always")):
        rule = ["contid", "=", "41"]
        guest.run([_RULE, "add", name, action, *rule]).require()
        for place, wrap in _PLACES.items():
            guest.run([*wrap, _SEND, f"{name}-{place}"]).require()
        guest.run([_RULE, "del", name, action, *rule]).require()
    texts = [one.text for one in auditd.trail().records if one.type == "USER_LOGIN"]
    for name in ("user", "exclude"):
        seen = [place for place in _PLACES if any(f"msg='{name}-{place}'" in t for t in texts)]
        judge.expect(f"{name} list", seen, good=["two", "none"])

    # and on the task list the whole life of a task that is made in one.
    guest.run(["auditctl", "-a", "always,exit", "-S", "sethostname", "-k", "task-list"]).require()
    guest.run([_RULE, "add", "task", "never", "contid", "=", "41"]).require()
    seen = []
    for place, wrap in _PLACES.items():
        before = len(auditd.trail().matching(type="SYSCALL", key="task-list"))
        guest.run([*wrap, "sh", "-c", "hostname -b box; true"]).require()
        seen += [place] * (len(auditd.trail().matching(type="SYSCALL", key="task-list")) - before)
    judge.expect("task list", seen, good=["two", "none"])
    guest.run(["auditctl", "-D"]).require()

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
