"""Do records with their containers' ids reach a collector, though the network fails?

Debian's audisp-remote sends what two hosts record to auditd on a third one. The network is cut
and the senders' daemons are restarted before it is mended. The queue that audisp-remote keeps
in a file (``mode = forward``) promises that nothing is lost then; the one in memory does not,
and what it loses is named. ``nsaudit trail`` reads all three logs and has each record once.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.audit.records import Trail
from harness.guest.hosts import Hosts
from harness.guest.machine import Guest
from harness.jobs import Lab
from harness.scenario import Judge
from harness.trail import questions
from harness.trail.asked import Asked
from harness.trail.index import read_logs
from harness.trail.model import Model
from harness.trail.sources import find_sources

_NAMED, _SEND = "/run/nsaudit/named", "/run/nsaudit/send"
_CONTAINER = "4711"
_EACH = 6
_ARRIVAL_S = 40.0
_REMOTE = Path(__file__).with_name("audisp-remote.conf").read_text()
_QUEUES = {
    "keeper": "mode = forward\nqueue_file = /var/spool/audit/queue\n",
    "forgetter": "mode = immediate\n",
}
_SPOOL = "/var/spool/audit"
_PLUGIN = """active = yes
direction = out
path = /sbin/audisp-remote
type = always
format = string
"""
# By default it takes one connection of each host, and so none while one that was cut lingers.
_LISTEN = "tcp_listen_port = 60\ntcp_max_per_addr = 4\ntransport = TCP\n"
_END = "the-end"
_SAID = re.compile(r"msg='(\w+-\d+)'")


@dataclass(frozen=True)
class Shipped:
    """One host's records, as lines: those in its own log, and how often the collector's has each.

    Only the kernel's, up to the message that ends them.
    """

    sent: Sequence[str]
    arrived: Counter[str]

    @property
    def received(self) -> int:
        """How many the collector has, each counted once, whether the host's log has it or not."""
        return len(self.arrived)

    @property
    def lost(self) -> list[str]:
        """Those that did not arrive."""
        return [line for line in self.sent if line not in self.arrived]

    @property
    def twice(self) -> int:
        """How many arrived more often than once."""
        return sum(count > 1 for count in self.arrived.values())


def _configure(guest: Guest, more: str) -> None:
    """Has the daemon name its host in each record, and adds lines to its configuration."""
    text = guest.get("/etc/audit/auditd.conf").decode()
    assert "name_format = NONE" in text
    text = text.replace("name_format = NONE", "name_format = HOSTNAME") + more
    guest.put("/etc/audit/auditd.conf", text, 0o640)


def _set_up_sender(guest: Guest, queue: str) -> None:
    _configure(guest, "")
    guest.run(["mkdir", "-p", _SPOOL]).require()
    guest.put("/etc/audit/audisp-remote.conf", _REMOTE + queue, 0o640)
    guest.put("/etc/audit/plugins.d/au-remote.conf", _PLUGIN, 0o640)
    # audisp-remote does nothing else while it connects: let that fail after 3 s.
    guest.run(["sysctl", "-q", "net.ipv4.tcp_syn_retries=1"]).require()


def _record(guest: Guest, when: str) -> None:
    """In a container, a few messages with a number, one after the other."""
    loop = f"for n in $(seq {_EACH}); do {_NAMED} {_CONTAINER} {_SEND} {when}-$n || exit; done"
    guest.run(["sh", "-c", loop]).require()


def _restart(guests: Sequence[Guest]) -> None:
    """Ends their daemons with their plugins, and starts both again."""
    ended = "while pgrep -x 'auditd|audisp-remote' >/dev/null; do sleep 0.1; done"
    stop = f"kill $(cat /run/auditd.pid) && {ended} && exec auditd"
    for job in [guest.spawn(["sh", "-c", stop]) for guest in guests]:
        job.wait().require()


def _await(happened: Callable[[], bool], scale: float) -> bool:
    """Whether something happens in time."""
    end = time.monotonic() + _ARRIVAL_S * scale
    while not happened():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def _compare(host: str, own: str, collected: str) -> Shipped:
    """What a host's own log has, beside what the collector's has of it."""
    return Shipped(sent=_records(own, host), arrived=Counter(_records(collected, host)))


def _records(log: str, host: str) -> list[str]:
    """The kernel's records of a host in a log, up to the end; none if the log has no end."""
    lines = [line for line in log.splitlines() if line.startswith(f"node={host} ")]
    ends = [number for number, line in enumerate(lines, 1) if f"msg='{_END}'" in line]
    return [line for line in lines[: min(ends, default=0)] if " type=DAEMON_" not in line]


def _messages(lines: Sequence[str]) -> list[str]:
    """What the messages among these records say."""
    return [found[1] for line in lines if (found := _SAID.search(line))]


def _named(arrived: Counter[str]) -> list[str]:
    """The messages whose event names the container, by what they say."""
    events = Trail.parse("".join(f"{line}\n" for line in arrived))
    return [
        said
        for event in events
        for said in _messages([record.text for record in event.records])
        if _CONTAINER in {one.get("contid") for one in event.records}
    ]


@pytest.mark.scenario(
    feature=["contid"],
    config=["AUDIT", "INET"],
    hosts={"keeper": 0, "forgetter": 7.5, "collector": -3},
)
def test_shipping(hosts: Hosts, judge: Judge, lab: Lab, daemons: Mapping[str, Any]) -> None:
    # Given kernels that name containers, a collector that listens, and two hosts that send to it,
    first = hosts["keeper"].run([_NAMED, _CONTAINER, "true"])
    judge.expect("naming one", first.stderr.strip() or "0", good="0", broken="ENOENT")
    if first.stderr:
        return
    collector = daemons["collector"]
    _configure(hosts["collector"], _LISTEN)
    collector.start().require()
    for name, queue in _QUEUES.items():
        _set_up_sender(hosts[name], queue)
        daemons[name].start().require()

    # when they record in a container before, while and after the network is cut, and their
    # daemons are restarted meanwhile,
    senders = {name: hosts[name] for name in _QUEUES}
    scale = hosts["collector"].scale
    for guest in senders.values():
        _record(guest, "before")
    judge.expect("before", _await(lambda: _has(collector, f"before-{_EACH}"), scale), good=True)
    for name, guest in senders.items():
        hosts.cut(name)
        _record(guest, "cut")
    # What the daemon has not handed on when it ends is lost with any queue.
    search = ["grep", "-q", f"msg='cut-{_EACH}'", f"{_SPOOL}/queue"]
    kept = _await(lambda: senders["keeper"].run(search).status == 0, scale)
    judge.expect("kept in the file", kept, good=True)
    _restart(list(senders.values()))
    judge.expect("arrived while it was cut", _has(collector, f"cut-{_EACH}"), good=False)
    for name, guest in senders.items():
        hosts.mend(name)
        _record(guest, "after")
        guest.run([_SEND, _END]).require()
    judge.expect("the end", _await(lambda: _has(collector, _END), scale), good=True)

    # then all that the queue in the file promised arrives, with the container that each
    # message is from, and what the one in memory lost is of that time and can be named.
    shipped, records = {}, {}
    for name in senders:
        text = daemons[name].read()
        records[name] = len(daemons[name].trail().records)
        one = shipped[name] = _compare(name, text, collector.read())
        counts = f"{len(one.sent)} sent, {one.received} received, {len(one.lost)} lost"
        judge.note(**{name: f"{counts}, {one.twice} twice"})
        judge.keep(f"{name}/lost.log", "".join(f"{line}\n" for line in one.lost))
        arrived = len(one.sent) - len(one.lost)
        judge.expect(f"records received from the {name}", one.received, good=arrived)
    collected = collector.read()
    judge.keep("collector/records-all.log", collected)
    sent = [f"{when}-{n}" for when in ("before", "cut", "after") for n in range(1, _EACH + 1)]
    judge.expect("messages sent", _messages(shipped["keeper"].sent), good=sent)
    judge.expect("records lost, with a file", len(shipped["keeper"].lost), good=0)
    named = _named(shipped["keeper"].arrived)
    judge.expect("arrived with their container", named, good=sent)
    lost = _messages(shipped["forgetter"].lost)
    judge.expect(
        "messages lost, in memory", lost, good=[one for one in sent if one.startswith("cut-")]
    )

    # And the trail of all three logs has each record once, with what is in one log only.
    own = [f"{name}={judge.folder}/{name}/records.log" for name in senders]
    found = find_sources([*own, f"{judge.folder}/collector/records-all.log"])
    model = Model(read_logs(found, lab.workspace))
    mine = [line for line in collected.splitlines() if line.startswith("node=collector ")]
    records["collector"] = len(mine)
    judge.expect("records in the trail", _count(model), good=dict(sorted(records.items())))
    rows = questions.events(model, Asked(container=_CONTAINER)).rows
    for name in senders:
        inside = [one for row in rows if row["host"] == name for one in row["records"]]
        judge.expect(f"messages of the {name} in the trail", _messages(inside), good=sent)


def _count(model: Model) -> Mapping[str, int]:
    """How many records a trail has of each host; those of none have an empty name."""
    hosts = {one.number: one.host for one in model.index.boots}
    lines = model.index.table("lines")
    counts: Counter[str] = Counter()
    for row in model.rows(lines.group_by("boot").agg(number=lines.count())):
        counts[hosts.get(row["boot"], "")] += row["number"]
    return dict(sorted(counts.items()))


def _has(collector: Any, said: str) -> bool:
    """Whether the collector has this message, from each host."""
    lines = [line for line in collector.read().splitlines() if f"msg='{said}'" in line]
    return all(any(line.startswith(f"node={name} ") for line in lines) for name in _QUEUES)
