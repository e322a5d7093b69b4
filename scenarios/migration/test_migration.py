"""Is a container the same one after it was moved to another host?

Two containers count on one host. CRIU takes each down to files, these go over the network, and
CRIU puts it up on the other host, where it counts on. The orchestrator there sets the id of the
first one again and forgets that of the second, which the trail has to tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.guest.hosts import Hosts
from harness.guest.machine import Guest
from harness.guest.polling import poll
from harness.jobs import Lab
from harness.scenario import Judge
from harness.trail import questions
from harness.trail.asked import Asked
from harness.trail.index import read_logs
from harness.trail.model import Model
from harness.trail.questions import Row
from harness.trail.sources import find_sources

_HERE = Path(__file__).parent
_NAMED = "/run/nsaudit/named"
_SPACES = ("unshare", "--uts", "--pid", "--fork", "setsid")
_QUIET = 'exec "$@" </dev/null >/dev/null 2>&1'
# The container whose id is set again, and the one whose id is forgotten.
_KEPT, _FORGOTTEN = "4711", "4712"
_PROBE = "4710"
_NEIGHBOURS = ("4713", "4714")
_KINDS = ("pid", "uts")
_COUNT = re.compile(r'a1="box-(\d+)-(\d+)"')
_CRIU_S = 60.0
_COUNT_S = 20.0


def _start(guest: Guest, name: str) -> int:
    """A container that counts; the pid of its first process."""
    counter = [*_SPACES, "/run/count.sh", f"box-{name}"]
    guest.spawn([_NAMED, name, "sh", "-c", _QUIET, "sh", *counter])
    return _pid_of(guest, name)


def _pid_of(guest: Guest, name: str) -> int:
    """The first process of a container, as the host has it, once it runs."""
    find = f"until pgrep -o -f '^/bin/sh /run/count.sh box-{name}$'; do sleep 0.1; done"
    return int(guest.run(["sh", "-c", find]).require().stdout)


def _spaces(guest: Guest, pid: int) -> Mapping[str, str]:
    """The numbers of a process's namespaces."""
    files = [f"/proc/{pid}/ns/{kind}" for kind in _KINDS]
    said = guest.run(["stat", "-L", "-c", "%i", *files]).require().stdout.split()
    return dict(zip(_KINDS, said, strict=True))


def _criu(
    guest: Guest, judge: Judge, host: str, name: str, words: Sequence[str], *wrap: str
) -> None:
    """Runs CRIU on a container's files, and keeps what it says."""
    folder = f"/run/box-{name}"
    guest.run(["mkdir", "-p", folder]).require()
    log = f"{words[0]}.log"
    # The containers have no cgroups of their own.
    options = ["--images-dir", folder, "--log-file", log, "-v2", "--manage-cgroups=ignore"]
    argv = [*wrap, "criu", *words, *options]
    answer = guest.run(argv, deadline_s=_CRIU_S)
    judge.keep(f"{host}/criu-{name}.txt", guest.get(f"{folder}/{log}"))
    answer.require()


def _move(source: Guest, target: Guest, host: str, name: str) -> None:
    """Sends a container's files over the private network."""
    archive = f"/run/box-{name}.tar"
    job = target.spawn(["python3", "/run/receive.py", archive])
    target.wait_until(lambda: b"listening" in job.out or job.status is not None, 20.0, "a port")
    send = f"tar -C /run -c box-{name} >/dev/tcp/{host}/7000"
    source.run(["bash", "-c", send]).require()
    job.wait().require()
    target.run(["tar", "-C", "/run", "-x", "-f", archive]).require()


def _counts(text: str, name: str) -> list[int]:
    """The numbers that a container counted, in these records."""
    return [int(number) for box, number in _COUNT.findall(text) if box == name]


def _await_counts(daemon: Any, scale: float) -> None:
    """Waits until both containers have counted twice where this daemon is."""
    poll(
        daemon.read,
        lambda log: all(len(_counts(log, name)) >= 2 for name in (_KEPT, _FORGOTTEN)),
        limit_s=_COUNT_S * scale,
        what="two counts of each container that was restored",
    )


def _counts_of(rows: Iterable[Row], name: str) -> list[int]:
    """The numbers that a container counted, in these events."""
    return _counts("\n".join(one for row in rows for one in row["records"]), name)


@pytest.mark.scenario(
    feature=["contid", "nsid"],
    config=["AUDIT", "AUDITSYSCALL", "CHECKPOINT_RESTORE", "PID_NS"],
    under=["checkpoint"],
    hosts={"north": 0, "south": 2.5},
)
def test_migration(
    hosts: Hosts,
    judge: Judge,
    lab: Lab,
    daemons: Mapping[str, Any],
) -> None:
    # Given two hosts, and two containers that count on the first one,
    north, south = hosts["north"], hosts["south"]
    first = north.run([_NAMED, _PROBE, "true"])
    judge.expect("naming one", first.stderr.strip() or "0", good="0", broken="ENOENT")
    if first.stderr:
        return
    for name, guest in hosts.items():
        daemons[name].start().require()
        rule = ["always,exit", "-F", "arch=b64", "-S", "execve", "-F", "exe=/usr/bin/hostname"]
        guest.run(["auditctl", "-a", *rule, "-k", "count"]).require()
        guest.put("/run/count.sh", (_HERE / "count.sh").read_bytes(), 0o755)
        guest.put("/run/receive.py", (_HERE / "receive.py").read_bytes())
    before = {}
    for name in (_KEPT, _FORGOTTEN):
        before[name] = _spaces(north, _start(north, name))
    # The numbers of namespaces are each host's own. Both hosts give the same ones out: those
    # of the containers that will come are taken there by others.
    for name in _NEIGHBOURS:
        judge.note(**{f"namespaces of {name}": f"{_spaces(south, _start(south, name))}"})

    # when each is taken down there and put up on the second one,
    after = {}
    for name, wrap in ((_KEPT, [_NAMED, _KEPT]), (_FORGOTTEN, [])):
        pid = _pid_of(north, name)
        _criu(north, judge, "north", name, ["dump", "--tree", str(pid)])
        _move(north, south, "south", name)
        _criu(south, judge, "south", name, ["restore", "--restore-detached"], *wrap)
        after[name] = _spaces(south, _pid_of(south, name))
    _await_counts(daemons["south"], south.scale)
    for name in hosts:
        daemons[name].trail()

    # then the id is as it was, though every namespace is another one,
    found = find_sources([f"{name}={judge.folder}/{name}/records.log" for name in hosts])
    model = Model(read_logs(found, lab.workspace))
    for name in (_KEPT, _FORGOTTEN):
        same = [kind for kind in _KINDS if before[name][kind] == after[name][kind]]
        judge.note(**{f"namespaces of {name}": f"{before[name]} then {after[name]}"})
        judge.expect(f"namespaces that {name} still has", same, good=[])
    kept = questions.events(model, Asked(container=_KEPT)).rows
    counted = {}
    for host in hosts:
        counted[host] = _counts_of([row for row in kept if row["host"] == host], _KEPT)
    judge.note(counted=f"{counted}")
    last = counted["north"][-1:]
    judge.expect("it counts on", counted["south"][:1], good=[number + 1 for number in last])
    judge.expect("why it is said to be the same", {row["reason"] for row in kept}, good={"id"})

    # the trail follows it,
    stays = questions.containers(model, Asked()).rows
    told = [(one["host"], one["moved"]) for one in stays if one["container"] == _KEPT]
    judge.expect("where it was", told, good=[("north", ""), ("south", "moved from north")])

    # and the one that was forgotten is missed, found, and named: after its PID namespace, as what
    # CRIU made and nobody gave an id to.
    there, here = ([one for one in stays if one["host"] == name] for name in hosts)
    ids = [{one["container"] for one in ones} - {_PROBE} for ones in (there, here)]
    judge.expect("nowhere since", sorted(ids[0] - ids[1]), good=[_FORGOTTEN])
    strays = [one for one in here if not one["container"].isdecimal()]
    names = [one["container"].partition("/")[0] for one in strays]
    judge.expect("without an id", names, good=[f"ns:pid{after[_FORGOTTEN]['pid']}"])
    by = [one["by"].partition("[")[0] for one in strays]
    judge.expect("who made it", by, good=["criu"])

    # Its events are all its own, and it counts on where it was when it was taken down.
    rows = questions.events(model, Asked(host="south")).rows
    found_in = {one["container"] for one in strays}
    did = [row for row in rows if row["container"] in found_in and row["role"] == "subject"]
    judge.keep("strays.log", "".join(f"{one}\n" for row in did for one in row["records"]))
    last = _counts_of(questions.events(model, Asked(container=_FORGOTTEN)).rows, _FORGOTTEN)[-1:]
    again = _counts_of(did, _FORGOTTEN)
    judge.note(**{"counted without an id": f"{again}"})
    judge.expect("it counts on, too", again[:1], good=[number + 1 for number in last])
    others = [name for name in (_KEPT, *_NEIGHBOURS) if _counts_of(did, name)]
    judge.expect("others that count there", others, good=[])
    home = _counts_of([row for row in rows if not row["container"]], _FORGOTTEN)
    judge.expect("its counts that are the host's", home, good=[])
