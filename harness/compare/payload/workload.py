"""Runs in the guest as its root, and causes events of which it is known who caused them.

The argument names the host, which is what chooses the cases. Each line of the output is a JSON
object, a ``fact``::

    container  name, host, contid ("" for none), namespaces by kind, and mark: what was done on
               the host once it had started
    deed       key, host, case, by ("path", "signal", "packet"), role, truth: the containers
    work       host, and by orchestrator's step: how often, writes (contid), reads (nsid)
    reused     host, kind: which namespaces had the number of one that was gone

A deed is a system call that an audit rule has recorded, with its key in an argument: the last
part of a path, the number of a signal, the mark of a packet. This process is the orchestrator:
one process, because the kernel lets an id be given again only by who gave it first.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.compare.payload.boxes import FOLDER, USUAL, Box, act, do_enter, enter, in_child

FIRST_SIGNAL = 36
FIRST_MARK = 0x1000
DISCARD, ARRIVAL_S = 9, 30.0
SHORT, MANY, TRIES = 40, 10, 20
# Pids below the first are not given out again (RESERVED_PIDS, kernel/pid.c).
FIRST_PID, FEW_PIDS = 300, 460


def tell(fact: str, **more: Any) -> None:
    sys.stdout.write(json.dumps({"fact": fact, "host": sys.argv[1], **more}) + "\n")
    sys.stdout.flush()


class Orchestrator:
    """Starts containers and says what is true; ``next`` numbers deeds, ids and signals."""

    def __init__(self) -> None:
        self.deeds = self.ids = self.signals = self.marks = 0
        self.work: dict[str, Counter[str]] = {}

    def start(
        self,
        name: str,
        kinds: Sequence[str] = USUAL,
        *,
        contid: str | None = None,
        told: bool = True,
        join: Mapping[str, int] | None = None,
    ) -> Box:
        """A container. Without ``told`` no orchestrator knows of it, and it has no id."""
        if contid is None:
            self.ids += 1
            contid = str(4100 + self.ids)
        box = Box(name, kinds, contid if told else "", join)
        if told:
            self.register("start", name, box.contid, box.namespaces)
        return box

    def register(
        self,
        step: str,
        name: str,
        contid: str,
        namespaces: Mapping[str, str],
        *,
        known: bool = True,
    ) -> None:
        """Writes down who is where, and when: with nsid nothing else says it."""
        mark = f"at-{name}"
        act(mark)
        tell("container", name=name, contid=contid, namespaces=namespaces, mark=mark)
        if known:
            self.worked(step, writes=1, reads=len(namespaces))

    def worked(self, step: str, *, writes: int, reads: int) -> None:
        self.work.setdefault(step, Counter()).update(times=1, writes=writes, reads=reads)

    def expect(self, case: str, *truth: str, by: str = "path", role: str = "subject") -> str:
        """The key of a deed that is of these containers, of the host for none."""
        self.deeds += 1
        key = f"{self.deeds:04}"
        if by == "packet":
            self.marks += 1
            key = f"{FIRST_MARK + self.marks:#x}"
        tell("deed", key=key, case=case, by=by, role=role, truth=truth)
        return key

    # -- cases --

    def plain(self) -> None:
        """Containers beside each other, and the host."""
        boxes = [self.start(f"plain-{number}") for number in (1, 2)]
        for box in boxes:
            for _ in range(MANY):
                box.do("act", self.expect("plain", box.name))
        for _ in range(MANY):
            act(self.expect("host"))
        self.enter_it(boxes[0])
        for box in boxes:
            box.end()

    def enter_it(self, box: Box) -> None:
        """An exec, as the orchestrator does it: with the id; and an administrator's nsenter."""
        ours, theirs = os.pipe()
        key = self.expect("exec by the orchestrator", box.name)
        pid = os.fork()
        if pid == 0:
            os.read(ours, 1)
            enter(box.pid, USUAL)
            in_child(lambda: act(key))
            os._exit(0)
        Path(f"/proc/{pid}/audit_containerid").write_text(box.contid)
        os.write(theirs, b"x")
        os.waitpid(pid, 0)
        self.worked("exec", writes=1, reads=0)
        do_enter(self.expect("nsenter from the host"), box.pid, USUAL)

    def nested(self) -> None:
        outer = self.start("outer")
        contid = str(4900)
        namespaces = outer.do("nest", "inner", ("mnt", "pid", "uts"), contid)
        self.register("start", "inner", contid, namespaces)
        for _ in range(MANY):
            outer.do("act", self.expect("nested", "outer"))
            outer.do("in_nested", self.expect("nested", "inner"))
        outer.end()

    def pod(self) -> None:
        """Two in one network namespace: what they do, and a packet that comes in."""
        first = self.start("pod-1")
        second = self.start("pod-2", ("mnt", "pid", "uts", "ipc"), join={"net": first.pid})
        for box in (first, second):
            for _ in range(MANY):
                box.do("act", self.expect("two in one network namespace", box.name))
        case = "packet into a network namespace of two"
        self.send_packet(first, 1, self.expect(case, "pod-1", "pod-2", by="packet", role="packet"))
        second.end()
        first.end()
        alone = self.start("listener")
        case = "packet into a network namespace of one"
        self.send_packet(alone, 2, self.expect(case, "listener", by="packet", role="packet"))
        alone.end()

    def send_packet(self, box: Box, number: int, mark: str) -> None:
        """From the host into the container, whose own rules log it, and until it is there.

        The first packet waits for an answer to ARP, and a container may end before that comes.
        """
        name, inside = f"veth{number}", f"10.8.{number}.2"
        rules = (
            "table ip audit {\n\tchain input {\n\t\ttype filter hook input priority 0;\n"
            f"\t\tudp dport {DISCARD} meta mark set {mark} log level audit\n\t}}\n}}\n"
        )
        pair = ["ip", "link", "add", name, "type", "veth", "peer", "name", "eth0"]
        subprocess.run([*pair, "netns", str(box.pid)], check=True)
        box.do("run", ["ip", "addr", "add", f"{inside}/24", "dev", "eth0"], "")
        box.do("run", ["ip", "link", "set", "eth0", "up"], "")
        box.do("run", ["nft", "-f", "-"], rules)
        box.do("listen", inside, DISCARD, ARRIVAL_S)
        subprocess.run(["ip", "addr", "add", f"10.8.{number}.1/24", "dev", name], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", (inside, DISCARD))
        box.do("receive")

    def parts(self) -> None:
        """A task of one enters a part of the namespaces of another."""
        one = self.start("entering", ("mnt", "net"))
        other = self.start("entered", ("mnt", "net"))
        for kinds in (("net",), ("mnt",), ("mnt", "net")):
            key = self.expect(f"setns into {' and '.join(kinds)}", "entering")
            one.do("enter", key, other.pid, kinds)
        for _ in range(3):
            self.signals += 1
            number = FIRST_SIGNAL + self.signals
            for role, what, name in (
                ("subject", "sender", "entering"),
                ("target", "target", "entered"),
            ):
                tell(
                    "deed",
                    **{"key": str(number), "case": f"{what} of a signal between containers"},
                    **{"by": "signal", "role": role, "truth": [name]},
                )
            one.do("signal", other.pid, number)
        one.end()
        other.end()

    def reuse(self) -> None:
        """Containers one after the other, until one has the numbers of an earlier one."""
        seen: list[Mapping[str, str]] = []
        again: list[str] = []
        while len(seen) < TRIES and not again:
            box = self.start(f"reuse-{len(seen) + 1}", ("mnt", "uts"))
            box.do("act", self.expect("namespace numbers used again", box.name))
            box.end()
            again = [
                kind for kind in box.kinds if box.namespaces[kind] in [one[kind] for one in seen]
            ]
            seen.append(box.namespaces)
        tell("reused", kinds=again)

    def pids(self) -> None:
        """A task has the pid of one that ended, in another container."""
        first = self.start("pid-first", ("mnt", "net"))
        second = self.start("pid-second", ("mnt", "net"))
        most = Path("/proc/sys/kernel/pid_max")
        before = most.read_text()
        most.write_text(str(FEW_PIDS))
        pid = first.do("by_child", self.expect("pid used again", "pid-first"), FIRST_PID)
        if not second.do("at_pid", self.expect("pid used again", "pid-second"), pid, FEW_PIDS):
            raise SystemExit("no pid was used again")
        most.write_text(before)
        first.end()
        second.end()

    def short(self) -> None:
        box = self.start("short")
        box.do("short", [self.expect("short-lived tasks", "short") for _ in range(SHORT)])
        box.end()

    def attackers(self) -> None:
        hiding = self.start("hiding", (*USUAL, "user"))
        for _ in range(3):
            hiding.do("hide", self.expect("attacker unshares and forks", "hiding"))
        hiding.end()
        fleeing = self.start("fleeing", ("mnt", "net", "uts"))
        for _ in range(3):
            key = self.expect("attacker enters the host's namespaces", "fleeing")
            fleeing.do("enter", key, 1, fleeing.kinds)
        fleeing.end()

    def odd(self) -> None:
        """One that nobody named, and one that is not made of namespaces."""
        stray = self.start("stray", told=False)
        self.register("none", "stray", "", stray.namespaces, known=False)
        bare = self.start("bare", ())
        for _ in range(3):
            stray.do("act", self.expect("container that no orchestrator knows", "stray"))
            bare.do("act", self.expect("container without namespaces of its own", "bare"))
        bare.end()
        stray.end()

    def leaving(self) -> None:
        """Before a migration."""
        for number in (1, 2):
            box = self.start(f"mover-{number}", contid=str(4800 + number))
            box.do("act", self.expect("migration", box.name))
            box.end()

    def arriving(self) -> None:
        """After it, on the other host: one restore tells the id, and one forgets it."""
        box = self.start("mover-1", contid="4801")
        for _ in range(3):
            box.do("act", self.expect("migration", "mover-1"))
        box.end()
        box = self.start("mover-2", told=False)
        for _ in range(3):
            box.do("act", self.expect("migration of which the restore tells nothing", "mover-2"))
        box.end()


def main() -> None:
    os.makedirs(FOLDER, mode=0o777, exist_ok=True)  # noqa: PTH103
    os.chmod(FOLDER, 0o777)  # noqa: PTH101
    one = Orchestrator()
    cases = {
        "a": (
            *(one.plain, one.nested, one.pod, one.parts, one.reuse, one.pids, one.short),
            *(one.attackers, one.odd, one.leaving),
        ),
        "b": (one.arriving,),
    }
    for case in cases[sys.argv[1]]:
        case()
    tell("work", steps={step: dict(counts) for step, counts in one.work.items()})


main()
