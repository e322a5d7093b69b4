"""Does a container's daemon hear of the files that it watches, and of programs it names?

A watch follows its file: it is told that the file is made, changed, replaced and removed, and it
holds for whatever has the name then, until the directory is removed, moved or unmounted. It says
nothing of who is outside, even of the same file, and to follow a file takes the right to read its
directory. Rules can ask for a program by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.audit.records import Event
from harness.guest.machine import Guest
from harness.scenario import Judge

_FILE = "/root/watched"
_MOST = 128
_STEPS = {
    "made": f"echo first > {_FILE}",
    "changed": f"chmod 640 {_FILE}",
    "replaced": f"echo second > {_FILE}.new && mv {_FILE}.new {_FILE}",
    "written": f"echo third >> {_FILE}",
    "removed": f"rm {_FILE}",
    "made again": f"echo fourth > {_FILE}",
    "moved away": f"mv {_FILE} {_FILE}.old",
}
# Not of the file with the name: another one, one that had it, one that is only read.
_SILENT = {
    "another": "echo other > /root/other",
    "one that had the name": f"chmod 600 {_FILE}.old",
    "one that is read": f"echo fifth > {_FILE}.r && cat {_FILE}.r",
}

# What is done to a folder where its name has slashes at its end; each act is told.
_FOLDER_ACTS = """
mkdir /srv/folder
rmdir /srv/folder{slashes}
mkdir /srv/folder
mv /srv/folder{slashes} $(mktemp --directory --dry-run)
"""
_FOLDER_TOLD = ["mkdir", "rmdir", "mkdir", "mv"]
# renameat2(2), 316 on x86-64, with RENAME_EXCHANGE.
_EXCHANGE = """
import ctypes, errno
call = ctypes.CDLL(None, use_errno=True).syscall
failed = call(316, -100, b"/srv/pair/g", -100, b"/srv/pair/f", 2)
print(errno.errorcode[ctypes.get_errno()] if failed else 0)
"""
# Places so far down that overlayfs has more to do than 64 files to copy up what leads there.
_STACK = """
cd /run && mkdir -p stack/lower stack/upper stack/work stack/merged
for top in a b c d
do
	mkdir -p stack/lower/$top/1/2/3/4/5/6/7/8
	touch stack/lower/$top/1/2/3/4/5/6/7/8/file
done
cd stack
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged
"""
_DEEP = "/run/stack/merged/{top}/1/2/3/4/5/6/7/8/{name}"
# What is done in a place, and what its call does to the path.
_COPIES = ((["chmod", "640"], "file", "NORMAL"), (["mkdir"], "new", "CREATE"))
# The numbers of what three rules are about: a directory, a file in it, and a program.
_NUMBERS = ("stat", "--format=%d:%i")
# Paths that are relative or end in a slash, and the fields that take one: AUDIT_EXE, AUDIT_WATCH.
_NO_FILES = ("root/watched", "/", "/root/", "root/")
_FIELDS = ("112", "105")


def _kinds_of(event: Event, path: str) -> list[str]:
    """What the calls did to the path: CREATE, DELETE, NORMAL."""
    paths = [one for one in event.records if one.type == "PATH" and one.get("name") == path]
    return sorted({str(one.get("nametype")) for one in paths})


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS"])
def test_auditns_files(
    guest: Guest, judge: Judge, auditd: Any, contained: Callable[..., Any]
) -> None:
    # Given a container with a daemon that watches a file, which is not there yet,
    guest.run(["sh", "-ec", _STACK]).require()
    inner = contained()
    run = inner.run
    if not inner.expect_start():
        return
    watch = ("-w", _FILE, "-p", "wa", "-k", "watch")
    added = run(["auditctl", *watch])
    judge.expect("adding the watch", added.status, good=0)
    listed = run(["auditctl", "-l"]).require().stdout.strip()
    judge.expect("the watch, listed", listed, good=" ".join(watch))
    again = run(["auditctl", *watch])
    judge.expect("adding it again", "Rule exists" in again.stderr, good=True)

    for field in _FIELDS:
        rules = [("exit", "always", field, "=", f":{file}") for file in _NO_FILES]
        said = [run(["/run/nsaudit/rule", "add", *rule]).require().stdout for rule in rules]
        judge.expect(f"no file, {field}", set(said), good={"EINVAL\n"})

    # each thing that is done to it is told once, the removal too,
    seen, done = {}, 0
    for step, command in _STEPS.items():
        run(["sh", "-c", command]).require()
        events = inner.trail(f"{step.replace(' ', '-')}.log").keyed("watch")
        seen[step] = [_kinds_of(event, _FILE) for event in events[done:]]
        done = len(events)
    judge.expect("made", seen["made"], good=[["CREATE"]])
    judge.expect("changed", seen["changed"], good=[["NORMAL"]])
    judge.expect("replaced", seen["replaced"], good=[["CREATE", "DELETE"]])
    judge.expect("written", seen["written"], good=[["NORMAL"]])
    judge.expect("removed", seen["removed"], good=[["DELETE"]])
    judge.expect("made again", seen["made again"], good=[["CREATE"]])
    judge.expect("moved away", seen["moved away"], good=[["DELETE"]])

    # and of nothing else, nor of what somebody outside does to the same file.
    for what, command in _SILENT.items():
        run(["sh", "-c", command]).require()
        count = len(inner.trail("silent.log").keyed("watch")) - done
        judge.expect(f"events of {what}", count, good=0)
    guest.run(["sh", "-c", f"echo outside > {_FILE}; chmod 600 {_FILE}; rm {_FILE}"]).require()
    count = len(inner.trail("outside.log").keyed("watch")) - done
    judge.expect("events of what is done outside", count, good=0)
    host = auditd.trail("host.log")
    judge.expect("events at the machine's daemon", len(host.keyed("watch")), good=0)

    # A rule about a program is about that program.
    rule = ("always,exit", "-F", "arch=b64", "-S", "mkdir", "-F", "exe=/usr/bin/mkdir")
    run(["auditctl", "-a", *rule, "-k", "program"]).require()
    run(["mkdir", "/root/made-by-mkdir"]).require()
    run(["python3", "-c", "import os; os.mkdir('/root/made-by-python')"]).require()
    events = inner.trail("program.log").keyed("program")
    judge.expect("events of the program", len(events), good=1)

    # When the directory is gone, the rule is left, tells nothing, and can be deleted.
    run(["mkdir", "/root/gone"]).require()
    lost = ("/root/gone/file", "-p", "wa", "-k", "gone")
    run(["auditctl", "-w", *lost]).require()
    run(["sh", "-c", "echo > /root/gone/file && rm -r /root/gone"]).require()
    listed = run(["auditctl", "-l"]).require().stdout
    judge.expect("its rule is listed", "/root/gone/file" in listed, good=True)
    before = len(inner.trail("gone.log").keyed("gone"))
    judge.expect("what was done to it", before, good=2)
    run(["sh", "-c", "mkdir /root/gone && echo > /root/gone/file"]).require()
    after = len(inner.trail("later.log").keyed("gone"))
    judge.expect("what is done to another", after - before, good=0)
    deleted = run(["auditctl", "-W", *lost])
    judge.expect("deleting its rule", deleted.status, good=0)

    for more in (
        _expect_moved,
        _expect_exchanged,
        _expect_unmounted,
        _expect_slashes,
        _expect_copied,
    ):
        # An event has the key of the first rule that asks for it.
        run(["auditctl", "-D"]).require()
        more(judge, inner)

    # There are no more watches than that, and one that is deleted makes room.
    run(["auditctl", "-D"]).require()
    many = "".join(f"-w /root/many-{n} -p w\n" for n in range(_MOST + 2))
    filled = run(["sh", "-c", "cat > /tmp/many; auditctl -R /tmp/many"], given=f"-c\n{many}")
    judge.keep("transcript-many.txt", filled.stdout + filled.stderr)
    count = len(run(["auditctl", "-l"]).require().stdout.splitlines())
    judge.expect("watches", count, good=_MOST)
    judge.expect("told so", "No space left" in filled.stderr, good=True)
    run(["auditctl", "-W", "/root/many-0", "-p", "w"]).require()
    last = run(["auditctl", "-w", f"/root/many-{_MOST}", "-p", "w"])
    judge.expect("one more then", last.status, good=0)

    # To follow a file takes the right to read its directory.
    guest.run(["sh", "-c", "mkdir /srv/closed && chmod 711 /srv/closed"]).require()
    shifted = contained(shift=100_000)
    judge.expect("auditd with other ids", shifted.start().status, good=0)
    told = shifted.run(["auditctl", "-w", "/srv/closed/file", "-p", "w"])
    judge.expect("a directory that cannot be read", "Permission denied" in told.stderr, good=True)
    opened = shifted.run(["auditctl", "-w", "/srv/file", "-p", "w"])
    judge.expect("one that can", opened.status, good=0)


def _expect_moved(judge: Judge, inner: Any) -> None:
    """When the directory is moved, nothing that gets the name there brings the rule back."""
    run = inner.run
    run(["mkdir", "-p", "/srv/from/d", "/srv/to"]).require()
    watch = ("-F", "path=/srv/from/d/f", "-F", "perm=wa", "-k", "moved")
    run(["auditctl", "-a", "always,exit", *watch]).require()
    run(["sh", "-c", "echo > /srv/from/d/f"]).require()
    told = inner.trail("before-move.log").commands("moved")
    judge.expect("told before the move", told, good=["sh"])
    run(["mv", "/srv/from/d", "/srv/to/d"]).require()
    run(["sh", "-c", "cd /srv/to/d && touch x && mv x f && echo > f && rm f"]).require()
    told = inner.trail("after-move.log").commands("moved")[1:]
    judge.expect("told after the move", told, good=[])


def _expect_exchanged(judge: Judge, inner: Any) -> None:
    """A file that is exchanged with another has the other's name, and is watched by that."""
    run = inner.run
    run(["sh", "-c", "mkdir /srv/pair && cd /srv/pair && echo > f && echo > g"]).require()
    watch = ("-F", "path=/srv/pair/f", "-F", "perm=wa", "-k", "exchanged")
    run(["auditctl", "-a", "always,exit", *watch]).require()
    said = run(["python3", "-B", "-c", _EXCHANGE]).require().stdout
    judge.expect("to exchange", said.strip(), good="0")
    run(["sh", "-c", "echo > /srv/pair/f && echo > /srv/pair/g"]).require()
    told = inner.trail("exchanged.log").commands("exchanged")
    judge.expect("told of what is exchanged", told, good=["python3", "sh"])


def _expect_unmounted(judge: Judge, inner: Any) -> None:
    """What is mounted later may have the numbers of what was unmounted, and is another."""
    run = inner.run
    fill = "mkdir {0} && mount -t tmpfs tmpfs {0} && cd {0} && echo > {1} && cp /bin/mkdir {2}"
    run(["sh", "-c", fill.format("/srv/mounted", "f", "program")]).require()
    watch = ("-F", "path=/srv/mounted/f", "-F", "perm=wa", "-k", "mounted")
    program = ("-F", "arch=b64", "-S", "mkdir", "-F", "exe=/srv/mounted/program", "-k", "mounted")
    for rule in (watch, program):
        run(["auditctl", "-a", "always,exit", *rule]).require()
    run(["sh", "-c", "cd /srv/mounted && echo > f && ./program /srv/made-before"]).require()
    told = inner.trail("mounted.log").commands("mounted")
    judge.expect("told before it is unmounted", told, good=["sh", "program"])

    old = run([*_NUMBERS, *(f"/srv/mounted{one}" for one in ("", "/f", "/program"))]).require()
    run(["umount", "/srv/mounted"]).require()
    run(["sh", "-c", fill.format("/srv/elsewhere", "g", "another")]).require()
    new = run([*_NUMBERS, *(f"/srv/elsewhere{one}" for one in ("", "/g", "/another"))]).require()
    # Where these differ nothing is shown.
    judge.expect("numbers of what is mounted then", new.stdout.split(), good=old.stdout.split())
    acts = "echo > g && ./another /srv/made-after && touch f && rm f"
    run(["sh", "-c", f"cd /srv/elsewhere && {acts}"]).require()
    told = inner.trail("unmounted.log").commands("mounted")[2:]
    judge.expect("told of what is mounted then", told, good=[])
    listed = run(["auditctl", "-l"]).require().stdout
    judge.expect("the rules, listed", listed.count("/srv/mounted/"), good=2)


def _expect_slashes(judge: Judge, inner: Any) -> None:
    """A folder may be named with slashes at the end when it is removed, or moved away."""
    watch = ("-F", "path=/srv/folder", "-F", "perm=wa", "-k", "folder")
    inner.run(["auditctl", "-a", "always,exit", *watch]).require()
    done = 0
    for slashes in ("", "/", "//"):
        acts = _FOLDER_ACTS.format(slashes=slashes)
        inner.run(["sh", "-e", "-c", acts]).require()
        told = inner.trail(f"folder-{len(slashes)}.log").commands("folder")
        judge.expect(f"told of folder{slashes}", told[done:], good=_FOLDER_TOLD)
        done = len(told)


def _expect_copied(judge: Judge, inner: Any) -> None:
    """A call that copies up all directories on the way is told, and counts as no loss."""
    calls = "fchmodat,mkdir"
    inner.run(["auditctl", "-a", "always,exit", "-S", calls, "-k", "copied"]).require()
    for where, tops in (("without rules outside", "ab"), ("with rules outside", "cd")):
        if tops == "cd":
            rule = ("always,exit", "-S", calls, "-k", "outside")
            inner.guest.run(["auditctl", "-a", *rule]).require()
        for top, (act, name, kind) in zip(tops, _COPIES, strict=True):
            path = _DEEP.format(top=top, name=name)
            lost, known = inner.lost(), len(inner.trail("copying.log").keyed("copied"))
            inner.run([*act, path]).require()
            (event,) = inner.trail("copied.log").keyed("copied")[known:]
            what = f"{act[0]} {where}"
            judge.expect(f"told of {what}", _kinds_of(event, path), good=[kind])
            judge.expect(f"lost of {what}", inner.lost() - lost, good=0)
    inner.guest.run(["auditctl", "-D"]).require()
