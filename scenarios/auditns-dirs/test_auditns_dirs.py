"""Does a container's daemon hear of what happens beneath the directories that it watches?

A rule names a directory, and holds for all that is in it while it is looked up, however it came
there and by whatever path: it is about directories and not about names. It goes with the
directory when that is renamed, and ends with it. What is mounted below when the rule is added
counts, what is mounted later does not. It says nothing of who is outside, and the machine's
rules about the same directory say what they always did.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.guest.machine import Answer, Guest
from harness.guest.polling import poll
from harness.scenario import Judge

_HERE = Path(__file__).parent
_SHIFT = 100_000
_MOST = 128
_LIMIT_S = 20.0
_FULL = "No space left on device"
_DIR = "107"  # AUDIT_DIR, linux/audit.h
_TMPFS = "0x1021994"  # linux/magic.h
_WATCH = "-w /srv/tree -p wa -k tree"
_BELOW = ("unshare", "--user", "--map-root-user")

# Acts by their names, see acts.py. These are told,
_TOLD = {
    "made": "write /srv/tree/made",
    "made-deep": "write /srv/tree/sub/deep/made",
    "changed": "chmod /srv/tree/sub/file",
    "folder": "mkdir /srv/tree/folder",
    "no-folder": "rmdir /srv/tree/folder",
    "removed": "unlink /srv/tree/made",
    "moved": "rename /srv/tree/file /srv/tree/sub/moved",
    "in": "rename /srv/aside/in /srv/tree/in",
    "in-changed": "chmod /srv/tree/in",
    "folder-in": "rename /srv/aside/folder /srv/tree/sub/folder",
    "in-folder": "chmod /srv/tree/sub/folder/file",
    "out": "rename /srv/tree/out /srv/aside/out",
    "itself": "chmod /srv/tree",
    "by-link": "chmod /srv/link/file",
    "by-alias": "chmod /srv/alias/file",
    "deep-by-alias": "write /srv/alias/deep/another",
    "on-mount": "write /srv/tree/mount/file",
}
# these are not: what they are done to is not in the directory, or a rule says so,
_SILENT = {
    "above": "chmod /srv",
    "namesake": "write /srv/trees/file",
    "out-changed": "chmod /srv/aside/out",
    "on-late": "write /srv/tree/late/file",
    "quiet": "write /srv/tree/quiet/file",
}
# and these are where a rule asks for them.
_USED = {"read": "read /srv/tree/sub/file", "exec": "run /srv/tree/exec"}
# Whatever the machine is told when the tree is restored.
_RESTORERS = ("mv", "rm")
# What is done to a watched directory in its life, and to another one that has its name later.
_GONE = {
    "gone-write": "write /srv/gone/file",
    "gone-unlink": "unlink /srv/gone/file",
    "gone-rmdir": "rmdir /srv/gone",
}
_RENAMED = {"name-rename": "rename /srv/named /srv/other", "name-write": "write /srv/other/file"}
_ANOTHER = {
    "gone-mkdir": "mkdir /srv/gone",
    "gone-rewrite": "write /srv/gone/file",
    "name-mkdir": "mkdir /srv/named",
    "name-rewrite": "write /srv/named/file",
}
# Directories that end, and more of them that may get an inode of theirs. Those are watched by
# somebody, for else nobody looks for rules about them.
_ENDED, _SUCCESSORS = 40, 100
_END = {f"ended-{n}": f"rmdir /srv/ended/{n}" for n in range(_ENDED)}
_SUCCEED = {
    **{f"after-{n}": f"mkdir /srv/after/{n}" for n in range(_SUCCESSORS)},
    **{f"watch-{n}": f"watch /srv/after/{n}" for n in range(_SUCCESSORS)},
    **{f"in-{n}": f"write /srv/after/{n}/file" for n in range(_SUCCESSORS)},
}
# A file, a link, which is not where it leads, and a directory that the overlay has to copy up.
_OTHERS = ("/srv/single", "/srv/pointer", "/etc/skel")
_OTHERS_TOLD = {
    "single": "chmod /srv/single",
    "pointer": "unlink /srv/pointer",
    "copied": "write /etc/skel/file",
    "below-copied": "write /etc/skel/.bashrc",
}
# Each rule with what auditctl prints when the kernel refuses it.
_REFUSED = {
    _WATCH: "Rule exists",
    "-a always,exit -F dir=/srv/none": "No such file or directory",
    "-a always,exit -F dir!=/srv/tree": "Invalid argument",
    "-a always,exit -F dir=/srv/tree -F dir=/srv/aside": "Invalid argument",
    "-a always,exit -F dir=/srv/tree -F path=/srv/aside/in": "Invalid argument",
    "-a always,exit -F dir=/srv/tree -F inode=1": "Invalid argument",
    "-t": "Operation not supported",
}
# The same of other lists, which auditctl does not ask for.
_LISTS = {"io_uring": "0", "user": "EINVAL", "exclude": "EINVAL"}


def _do(run: Callable[..., Answer], acts: Mapping[str, str], wrap: tuple[str, ...] = ()) -> None:
    lines = "".join(f"{name} {act}\n" for name, act in acts.items())
    run([*wrap, "python3", "-B", "/run/acts.py"], given=lines).require()


def _rule(path: str, key: str, perm: str = "wa") -> str:
    return f"always,exit -F dir={path} -F perm={perm} -k {key}"


def _change(where: Any, *lines: str) -> list[str]:
    """Changes rules, each by a line of auditctl's; what is printed of those that are refused."""
    said = where.load("\n".join(("-c", *lines, "")))
    return re.findall(r"\((.*)\)", said.stderr)


def _list(run: Callable[..., Answer]) -> list[str]:
    return run(["auditctl", "-l"]).require().stdout.splitlines()


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS"])
def test_auditns_dirs(
    guest: Guest, judge: Judge, auditd: Any, contained: Callable[..., Any]
) -> None:
    # Given a container with a daemon, and a directory that the machine watches, too,
    for name in ("acts.py", "tree.sh"):
        guest.put(f"/run/{name}", (_HERE / name).read_bytes())
    inner = contained()
    run = inner.run
    if not inner.expect_start():
        return
    for each in (guest.run, run):
        each(["auditctl", "-b", "8192"]).require()
    run(["sh", "/run/tree.sh", "make"]).require()
    late = {"late": "tmpfs /srv/tree/late"}
    guest.run(["auditctl", "-w", "/srv/tree", "-p", "wa", "-k", "host"]).require()
    _do(run, late | _TOLD | _SILENT)
    before = auditd.trail("host-before.log").commands("host")
    run(["sh", "/run/tree.sh", "restore"]).require()

    # whose daemon can watch it,
    refused = _change(inner, _WATCH)
    judge.expect("the watch, refused", refused, good=[])
    if refused:
        return
    judge.expect("the watch, listed", _list(run), good=[_WATCH])
    more = (f"-a {_rule('/srv/tree', 'use', 'rx')}", "-A never,exit -F dir=/srv/tree/quiet")
    refused = _change(inner, *more, *_REFUSED)
    judge.expect("rules, refused", refused, good=list(_REFUSED.values()))
    for kind, good in _LISTS.items():
        raw = ("/run/nsaudit/rule", "add", kind, "always", _DIR, "=", ":/srv/tree")
        judge.expect(f"in the list {kind}", run(raw).require().stdout.strip(), good=good)
    raw = ("/run/nsaudit/rule", "add", "exit", "always", _DIR, "=", ":srv/tree")
    judge.expect("a relative path", run(raw).require().stdout.strip(), good="EINVAL")
    judge.expect("rules, listed", len(_list(run)), good=4)

    # is told what happens there, as is the machine's of what it was told before,
    _do(run, late | _TOLD | _SILENT | _USED)
    trail = inner.trail("tree.log")
    judge.expect("told", trail.commands("tree"), good=list(_TOLD))
    # From 7.3 on a stat() counts as reading, and auditctl looks at what it shall watch.
    used = [one for one in trail.commands("use") if one != "auditctl"]
    judge.expect("told of use", used, good=list(_USED))
    host = [one for one in auditd.trail("host.log").commands("host") if one not in _RESTORERS]
    judge.expect("told outside, before and now", host, good=before * 2)

    # and of whoever is in the container, or below, but of nobody else, whose rules are their own.
    shifted = contained(shift=_SHIFT)
    judge.expect("auditd with other ids", shifted.start().status, good=0)
    guest.run(["mkdir", "--mode=711", "/srv/closed"]).require()
    theirs = (f"-a {_rule(path, 'theirs')}" for path in ("/srv/tree", "/srv/closed"))
    refused = _change(shifted, *theirs)
    judge.expect("one that cannot be read", refused, good=["Permission denied"])
    whose = {
        "outside": (guest.run, ()),
        "mine": (run, ()),
        "below": (run, (*_BELOW, *_BELOW)),
        "theirs": (shifted.run, ()),
    }
    for who, (as_one, wrap) in whose.items():
        _do(as_one, {who: f"write /srv/tree/shared/{who}"}, wrap)
    told = inner.trail("whose.log").commands("tree")[len(_TOLD) :]
    judge.expect("told of whom", told, good=["mine", "below"])
    told = shifted.trail("theirs.log").commands("theirs")
    judge.expect("told next door", told, good=["theirs"])
    told = auditd.trail("all.log").commands("host")[-len(whose) :]
    judge.expect("told outside", told, good=list(whose))

    # What is on a file system that rules leave out is not told.
    left_out = ("never,filesystem", "-F", f"fstype={_TMPFS}")
    run(["auditctl", "-a", *left_out]).require()
    _do(run, {"left-out": "write /srv/tree/mount/left-out"})
    run(["auditctl", "-d", *left_out]).require()

    # When the mount goes, the rule stays; when the machine's rule goes, too, and the reverse.
    judge.expect("unmounting", run(["umount", "/srv/tree/mount"]).stderr, good="")
    _do(run, {"unmounted": "write /srv/tree/mount/file"})
    guest.run(["auditctl", "-D"]).require()
    _do(run, {"no-host": "write /srv/tree/file"})
    guest.run(["auditctl", "-w", "/srv/tree", "-p", "wa", "-k", "host"]).require()
    judge.expect("deleting the watch", _change(inner, _WATCH.replace("-w", "-W")), good=[])
    _do(run, {"no-watch": "write /srv/tree/file"})
    told = inner.trail("rules.log").commands("tree")[len(_TOLD) + 2 :]
    judge.expect("told after that", told, good=["unmounted", "no-host"])
    told = auditd.trail("host-rules.log").commands("host")[-1:]
    judge.expect("told last outside", told, good=["no-watch"])

    _expect_lives(guest, judge, inner)
    _expect_limit(judge, inner)
    judge.expect("lost inside", inner.lost(), good=0)


def _expect_lives(guest: Guest, judge: Judge, inner: Any) -> None:
    """A rule ends with its directory and goes with it; it can be deleted all the same."""
    run = inner.run
    places = """
    mkdir /srv/gone /srv/named /srv/aim /srv/ended /srv/after
    touch /srv/single
    ln -s aim /srv/pointer
    """
    run(["sh", "-c", places]).require()
    rules = [_rule(f"/srv/{name}", "life") for name in ("gone", "named")]
    others = [_rule(path, "other") for path in _OTHERS]
    added = _change(inner, *(f"-a {rule}" for rule in (*rules, *others)))
    judge.expect("rules of lives, refused", added, good=[])
    # Nothing that the kernel may forget is missed.
    guest.run(["sysctl", "-q", "vm.drop_caches=3"]).require()
    _do(run, _GONE | _RENAMED | _ANOTHER | {"aim": "write /srv/pointer/file"} | _OTHERS_TOLD)
    guest.run(["sysctl", "-q", "vm.drop_caches=3"]).require()
    _do(run, {"copied-again": "write /etc/skel/file"})
    trail = inner.trail("lives.log")
    judge.expect("told of lives", trail.commands("life"), good=[*_GONE, *_RENAMED])
    judge.expect("told of others", trail.commands("other"), good=[*_OTHERS_TOLD, "copied-again"])
    # Nor does a rule go over to another directory that has the inode in memory.
    _do(run, {f"begun-{n}": f"mkdir /srv/ended/{n}" for n in range(_ENDED)})
    ends = [_rule(f"/srv/ended/{n}", "ended") for n in range(_ENDED)]
    added = _change(inner, *(f"-a {rule}" for rule in ends))
    judge.expect("rules of ends, refused", added, good=[])
    _do(run, _END | _SUCCEED)
    judge.expect("told of ends", inner.trail("ended.log").commands("ended"), good=[*_END])
    judge.expect("deleting those", _change(inner, *(f"-d {rule}" for rule in ends)), good=[])
    judge.expect("deleting these", _change(inner, *(f"-d {rule}" for rule in rules)), good=[])
    # The machine's rule ends with its directory, too, even if it is removed by who is told of while
    # the machine is not.
    run(["mkdir", "/srv/theirs"]).require()
    guest.run(["auditctl", "-w", "/srv/theirs", "-p", "wa", "-k", "host"]).require()
    guest.run(["auditctl", "-e", "0"]).require()
    _do(run, {"theirs": "rmdir /srv/theirs"})
    guest.run(["auditctl", "-e", "1"]).require()
    poll(
        partial(_list, guest.run),
        lambda rules: not any("/srv/theirs" in one for one in rules),
        limit_s=_LIMIT_S * guest.scale,
        what="the end of the machine's rule",
    )
    run(["auditctl", "-D"]).require()
    judge.expect("rules after deleting all", _list(run), good=["No rules"])


def _expect_limit(judge: Judge, inner: Any) -> None:
    """A directory with too many mounts below is refused, and leaves nothing behind."""
    run = inner.run
    run(["sh", "-c", f"mkdir -p $(seq -f /srv/many/%g {_MOST})"]).require()
    _do(run, {f"mount-{n}": f"tmpfs /srv/many/{n}" for n in range(1, _MOST + 1)})
    many, one = f"-a {_rule('/srv/many', 'many')}", "-w /srv/one-more -p wa"
    refused = _change(inner, many)
    judge.expect("more mounts than that", refused, good=[_FULL])
    run(["umount", "/srv/many/1"]).require()
    for when in ("as many", "as many again"):
        refused = _change(inner, many, one, "-D")
        judge.expect(f"{when}, and one", refused, good=[_FULL])
