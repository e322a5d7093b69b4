"""Fixtures that scenarios of all areas share: the daemon, its trail, passwords, containers.

And a look for leaks after each, where the kernel can tell (DEBUG_KMEMLEAK).
"""

from __future__ import annotations

import contextlib
import re
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

import paramiko
import pytest

from harness.audit import namespaces, records
from harness.audit.faults import Try
from harness.audit.records import Event, Trail
from harness.errors import GuestToolMissing
from harness.guest import debugfs, serial, ssh
from harness.guest.container import Container, start_container
from harness.guest.debugfs import DEBUGFS
from harness.guest.hosts import Hosts
from harness.guest.machine import Answer, Guest, Job
from harness.guest.polling import poll
from harness.jobs import Lab
from harness.kernel import kconfig
from harness.model import Arm, Expect
from harness.report import ktap
from harness.scenario import Judge
from harness.workspace import PROJECT

LOG = "/var/log/audit/audit.log"
_SYNC_LIMIT_S = 15.0
_SELFTEST_LIMIT_S = 60.0
# A test may skip what this machine cannot show.
_FINE = ("ok", "SKIP")
# The kernel takes nothing younger for a leak (MSECS_MIN_AGE, mm/kmemleak.c).
_LEAK_AGE_S = 5.0
_SCAN_LIMIT_S = 90.0


@pytest.fixture
def configured(arm: Arm, lab: Lab) -> Callable[[str], bool]:
    """Whether the kernel has an option built in: ``configured("KASAN")``."""

    def has(option: str) -> bool:
        return kconfig.is_built_in(lab.kernel(arm.stack).config, f"CONFIG_{option}")

    return has


@pytest.fixture(autouse=True)
def no_leaks(
    guests: Mapping[str, Guest], judge: Judge, arm: Arm, configured: Callable[[str], bool]
) -> Iterator[None]:
    """Has a good kernel look for objects that nothing points at, after the scenario.

    What it finds it says on its console, which has to be clean. Only a guest that booted is
    asked (``--cold``), and only where the configuration has kmemleak: in forked ones a scan was
    not seen to be right, and the result says that nobody looked.
    """
    if not configured("DEBUG_KMEMLEAK") or arm.expect is not Expect.PASS:
        yield
        return
    if any(guest.boot == "warm" for guest in guests.values()):
        yield
        judge.note(unlooked="leaks, for a guest was forked (--cold forks none)")
        return
    for guest in guests.values():
        debugfs.mount(guest)
        # What the boot left is not the scenario's.
        _kmemleak(guest, "scan", "clear")
    yield
    time.sleep(_LEAK_AGE_S)
    report = ""
    for guest in guests.values():
        if not guest.killed:
            # What was written to lately is told at the second time that nothing points at it.
            _kmemleak(guest, "scan", "scan")
            report += guest.get(f"{DEBUGFS}/kmemleak").decode(errors="replace")
    judge.keep("kmemleak.txt", report)
    judge.note(leaks=report.count("unreferenced object"))


def _kmemleak(guest: Guest, *words: str) -> None:
    for word in words:
        command = ["sh", "-c", f"echo {word} >{DEBUGFS}/kmemleak"]
        guest.run(command, deadline_s=_SCAN_LIMIT_S).require()


@pytest.fixture
def fail_any(guest: Guest) -> Callable[[], None]:
    """Has allocations that may sleep fail, too, where a task asks, and nobody told on the console.

    For kernels with FAILSLAB; debugfs is mounted already.
    """

    def change() -> None:
        for file, value in (("ignore-gfp-wait", "N"), ("verbose", "0")):
            guest.run(["sh", "-c", f"echo {value} >{DEBUGFS}/failslab/{file}"]).require()

    return change


@pytest.fixture
def expect_step(judge: Judge) -> Callable[..., None]:
    """Judges a step of which each allocation failed: ``expect_step(step, mine, states, …)``.

    Its ``mine`` lines leave things as ``states`` has it for the errno of each, and in the end,
    when nothing fails, the errno is ``end``. ``state_of`` finds the state of one.
    """

    def expect(
        step: str,
        mine: Sequence[Try],
        states: Mapping[str, tuple[str, ...]],
        *,
        state_of: Callable[[Try], str] = attrgetter("state"),
        end: str = "0",
    ) -> None:
        odd = [one for one in mine if state_of(one) not in states.get(one.errno, ())]
        judge.expect(f"{step}: half done", odd[:3], good=[])
        ended = [one.errno for one in mine if one.nth == "end"]
        judge.expect(f"{step}: in the end", ended, good=[end])
        judge.note(**{f"failed_{step}": len(mine) - len(ended)})

    return expect


@pytest.fixture
def payloads(request: pytest.FixtureRequest) -> tuple[Path, ...]:
    """What every scenario may call in the guest, see the head of each, and what lies beside it."""
    audit = PROJECT / "harness/audit/payload"
    return (
        audit / "flood.c",
        audit / "named.c",
        audit / "reader.c",
        audit / "rule.c",
        audit / "send.c",
        audit / "uring.c",
        PROJECT / "harness/guest/payload/syslog.c",
        *sorted(request.path.parent.glob("*.c")),
    )


_AUDIT_LINK = PROJECT / "harness/audit/payload/audit_link.py"


@pytest.fixture
def script(guest: Guest, request: pytest.FixtureRequest) -> Callable[[str], list[str]]:
    """Puts a program in Python beside the scenario into the guest: ``script("lives.py")``.

    Returns the command that runs it there, which may import ``audit_link``.
    """

    def put(name: str) -> list[str]:
        for path in (request.path.with_name(name), _AUDIT_LINK):
            guest.put(f"/run/{path.name}", path.read_bytes())
        return ["python3", "-B", f"/run/{name}"]

    return put


@dataclass
class Daemon:
    """Debian's auditd, in the guest or in a container ``box``, and the trail that it writes.

    Where there are several hosts, ``host`` is the name of its own, and ``seen`` is all theirs:
    for each how many records the kernel lost, and how many there are.
    """

    guest: Guest
    judge: Judge
    box: Container | None = None
    marks: int = field(default=0)
    host: str = ""
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def run(self) -> Callable[..., Answer]:
        """Runs a program where the daemon is."""
        return self.box.run if self.box else self.guest.run

    @property
    def spawn(self) -> Callable[..., Job]:
        """Starts one there, and returns at once."""
        return self.box.spawn if self.box else self.guest.spawn

    def start(self, wrap: Sequence[str] = ()) -> Answer:
        """Starts it; it returns when the daemon has told the kernel its pid, or could not."""
        return self.run([*wrap, "auditd"])

    def load(self, rules: str, deadline_s: float = 60.0) -> Answer:
        """Has auditctl read a file of rules, one a line."""
        command = "file=$(mktemp) && cat >$file && auditctl -R $file"
        return self.run(["sh", "-c", command], given=rules, deadline_s=deadline_s)

    def kill(self) -> None:
        """Kills it, stopped or not; it returns when the kernel has no daemon any more."""
        self.run(["kill", "-KILL", str(self.status().pid)]).require()

        def left() -> int:
            if not self.box:
                # The machine's kernel finds out when it has something to tell.
                self.run(["auditctl", "-m", "nsaudit-anybody-there"]).require()
            return self.status().pid

        poll(
            left,
            lambda pid: pid == 0,
            limit_s=_SYNC_LIMIT_S * self.guest.scale,
            what="the end of auditd",
        )

    def expect_start(self, what: str = "auditd in the container") -> bool:
        """Starts it where a good kernel has it run and a broken one has it exit; if it runs."""
        runs = self.start().status == 0
        self.judge.expect(what, "runs" if runs else "exits", good="runs", broken="exits")
        return runs

    def status(self) -> records.Status:
        """What the kernel says of the audit that is this daemon's."""
        return records.parse_status(self.run(["auditctl", "-s"]).require().stdout)

    def read(self) -> str:
        """The log as it is now."""
        if self.box:
            return self.box.run(["cat", LOG]).stdout
        return self.guest.get(LOG).decode(errors="replace")

    def mark(self) -> str:
        """A message of our own that comes after all that was sent before."""
        self.marks += 1
        mark = f"nsaudit-mark-{self.marks}"
        self.run(["auditctl", "-m", mark]).require()
        return mark

    def trail(self, name: str = "records.log") -> Trail:
        """All records up to now, once they have arrived; kept as an artifact, ``lost`` read."""
        mark = self.mark()
        text = poll(
            self.read,
            lambda text: mark in text,
            limit_s=_SYNC_LIMIT_S * self.guest.scale,
            what=f"a marker in {LOG}",
        )
        self.judge.keep(f"{self.host}/{name}" if self.host else name, text)
        trail = Trail.parse(text)
        if not self.box:
            self.seen[self.host] = self.lost(), len(trail.records)
            lost, found = (sum(counts) for counts in zip(*self.seen.values(), strict=True))
            self.judge.note(lost=lost, records=found)
        return trail

    def lost(self) -> int:
        """How many records the kernel says that it dropped."""
        return self.status().lost


@pytest.fixture
def daemon(guest: Guest, judge: Judge) -> Daemon:
    """The daemon, not started yet."""
    return Daemon(guest, judge)


@pytest.fixture
def daemons(hosts: Hosts, judge: Judge) -> Mapping[str, Daemon]:
    """The daemon of each host, not started yet."""
    seen: dict[str, tuple[int, int]] = {}
    return {name: Daemon(one, judge, host=name, seen=seen) for name, one in hosts.items()}


@pytest.fixture
def auditd(daemon: Daemon) -> Daemon:
    """The daemon, running in the initial namespaces."""
    answer = daemon.start()
    if answer.status != 0:
        raise GuestToolMissing(f"auditd does not start: {answer.stderr.strip()}")
    return daemon


@pytest.fixture
def passwords(guest: Guest) -> dict[str, str]:
    """A password for ``root`` and ``tester``, made for this run and known to nobody else.

    Few rounds: under emulation each login would spend seconds on the hash.
    """
    made = {user: secrets.token_urlsafe(12) for user in ("root", "tester")}
    lines = "".join(f"{user}:{password}\n" for user, password in made.items())
    guest.run(["chpasswd", "-c", "SHA256", "-s", "1000"], given=lines).require()
    return made


@pytest.fixture
def sshd(guest: Guest) -> Callable[..., Job]:
    """Starts sshd, with a host key made for this run: ``sshd(spawn)``, once it listens."""
    guest.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ssh.HOST_KEY]).require()
    guest.run(["mkdir", "-p", "/run/sshd"]).require()

    def start(spawn: Callable[..., Job]) -> Job:
        job = spawn(["/usr/sbin/sshd", "-D", "-e", "-h", ssh.HOST_KEY])
        guest.wait_until(
            lambda: b"Server listening" in job.err or job.status is not None, 20.0, "sshd"
        )
        if job.status is not None:
            raise GuestToolMissing(f"sshd does not start: {bytes(job.err).decode().strip()}")
        return job

    return start


@pytest.fixture
def syslog(guest: Guest) -> Callable[[], str]:
    """What programs in the guest said to syslog so far."""
    job = guest.spawn(["/run/nsaudit/syslog"])
    guest.wait_until(lambda: b"listening" in job.out, 10.0, "the listener on /dev/log")
    return lambda: bytes(job.out).decode(errors="replace")


@pytest.fixture
def container(guest: Guest) -> Iterator[Callable[..., Container]]:
    """Starts containers that live as long as the arm: ``container(*kinds, layer="")``."""
    with contextlib.ExitStack() as stack:

        def start(
            *kinds: str, layer: str = "", shift: int = 0, within: Container | None = None
        ) -> Container:
            made = start_container(guest, kinds, layer=layer, shift=shift, within=within)
            return stack.enter_context(made)

        yield start


# What a daemon of its own needs of a container: see kernel-patches/auditns/DESIGN.md.
_CONTAINED = ("user", "pid", "net", "mount", "uts", "ipc")


@pytest.fixture
def contained(
    guest: Guest, judge: Judge, container: Callable[..., Container]
) -> Callable[..., Daemon]:
    """A container whose daemon is not started yet, with a log of its own: ``contained()``.

    What can be said of it is what start_container() says.
    """

    def start(*, layer: str = "", shift: int = 0, within: Container | None = None) -> Daemon:
        box = container(*_CONTAINED, layer=layer, shift=shift, within=within)
        box.run(["mount", "-t", "tmpfs", "tmpfs", "/var/log/audit"]).require()
        if shift:
            # auditd wants its configuration to be root's.
            copy = "rm -rf /run/etc && cp -r /etc/audit /run/etc && chmod -R a+rX /run/etc"
            guest.run(["sh", "-c", copy]).require()
            box.run(["mount", "-t", "tmpfs", "tmpfs", "/etc/audit"]).require()
            box.run(["cp", "-r", "/run/etc/.", "/etc/audit"]).require()
        return Daemon(guest, judge, box)

    return start


# What the daemon of ``stuffed`` has to read first: 18 s of guest time, and more.
_HELD, _EVERY_MS = 300, 60


class Reader:
    """Another daemon than auditd, which reads slowly, and tells what it has read."""

    def __init__(self, guest: Guest, inner: Daemon, job: Job) -> None:
        self._guest = guest
        self._inner = inner
        self.job = job

    @property
    def answer(self) -> str:
        """``0`` if it is registered, or the errno; nothing where it ended without a word."""
        return bytes(self.job.out).decode().partition("\n")[0]

    def expect_start(self, what: str = "a daemon in the container") -> bool:
        """If it is registered, as on a good kernel, or refused, as on a broken one."""
        self._inner.judge.expect(what, self.answer, good="0", broken="ECONNREFUSED")
        return self.answer == "0"

    def told(self, kind: int, text: str) -> int:
        """How many records of a type (linux/audit.h) it has read that contain a text."""
        lines = bytes(self.job.out).decode(errors="replace").splitlines()
        return sum(text in line for line in lines if line.startswith(f"{kind} "))

    def read_all(self, mark: str, limit_s: float) -> None:
        """Waits until it has read all up to now, of which a message is the last."""
        _send(self._inner.run, mark)
        self._guest.wait_until(lambda: mark.encode() in self.job.out, limit_s, "a marker")

    def hurry(self) -> None:
        """From now on it reads as fast as it can."""
        if self._inner.box:
            self._inner.run(["kill", "-USR1", str(self._inner.status().pid)]).require()
        else:
            # Who asks the host's audit something waits while the queue is full.
            self.job.kill(signal.SIGUSR1)


@pytest.fixture
def slow_reader(guest: Guest) -> Callable[..., Reader]:
    """Gives a container such a daemon: ``slow_reader(inner, held, every_ms, limit_s, …)``.

    ``held`` records are queued for it before it begins. It reads one each ``every_ms``. What else
    is said goes to the program, see its head.
    """

    def start(inner: Daemon, held: int, every_ms: int, limit_s: float, *more: str) -> Reader:
        job = inner.spawn(["/run/nsaudit/reader", str(held), str(every_ms), *more])
        guest.wait_until(lambda: b"\n" in job.out or job.status is not None, limit_s, "a reader")
        return Reader(guest, inner, job)

    return start


@pytest.fixture
def stuffed(slow_reader: Callable[..., Reader]) -> Callable[[Daemon], Reader]:
    """Gives a container a slow daemon and a queue that is full: ``stuffed(inner)``.

    The kernel is busy with older records, which the daemon reads one by one, so that the queue
    stays full meanwhile, and who waits for room there waits as long. The host's own daemon has
    nobody wait, until somebody says how long.
    """

    def start(inner: Daemon) -> Reader:
        words = () if inner.box else ("0",)
        reader = slow_reader(inner, _HELD, _EVERY_MS, 60.0, *words)
        if reader.answer != "0":
            raise GuestToolMissing(f"the reader says {bytes(reader.job.out or reader.job.err)!r}")
        return reader

    return start


@pytest.fixture
def old_tools(guest: Guest, judge: Judge) -> Callable[..., None]:
    """Debian's ausearch, aureport and auditctl find one event whole, and do not complain.

    ``old_tools(event, key, program, shown, *types)``: the key of the rule that asked for it, the
    program that did it, and what ausearch has to print of a record that it does not know; and
    more types of records, by their numbers, of which it has to find some.
    """

    def ask(event: Event, key: str, program: str, shown: str, *types: int) -> None:
        for how, words in (
            ("key", ("-k", key)),
            ("serial", ("-a", str(event.serial))),
            ("program", ("-x", program, "-k", key)),
        ):
            found = guest.run(["ausearch", "--input-logs", "--raw", *words])
            judge.expect(f"ausearch by {how}, status", found.status, good=0)
            judge.expect(f"ausearch by {how}, complaints", found.stderr.strip(), good="")
            lines = [one for one in found.stdout.splitlines() if f":{event.serial})" in one]
            judge.expect(f"ausearch by {how}, records", len(lines), good=len(event.records))
        told = guest.run(["ausearch", "--input-logs", "-i", "-k", key])
        judge.expect("ausearch -i, status", told.status, good=0)
        judge.expect("ausearch -i, complaints", told.stderr.strip(), good="")
        judge.expect("ausearch -i, the new record", shown in told.stdout, good=True)
        for kind in types:
            found = guest.run(["ausearch", "--input-logs", "--raw", "-m", str(kind)])
            judge.expect(f"ausearch -m {kind}, status", found.status, good=0)
            judge.expect(f"ausearch -m {kind}, complaints", found.stderr.strip(), good="")
            judge.expect(f"ausearch -m {kind}", f"UNKNOWN[{kind}]" in found.stdout, good=True)
        for report in ("", "-x --summary", "-e", "-au"):
            made = guest.run(["aureport", "--input-logs", *report.split()])
            judge.expect(f"aureport {report}".strip(), made.stderr.strip(), good="")
            judge.expect(f"aureport {report}, status", made.status, good=0)
            if report == "-e":
                # A line is its number, date, time, serial number, type, auid and success.
                serials = [
                    line.split()[3] for line in made.stdout.splitlines() if line[:1].isdigit()
                ]
                judge.expect("the event in it", str(event.serial) in serials, good=True)
        for option in ("-s", "-l"):
            listed = guest.run(["auditctl", option])
            judge.expect(f"auditctl {option}", f"{listed.status}{listed.stderr}", good="0")

    return ask


@pytest.fixture
def selftests(guest: Guest, judge: Judge, arm: Arm, lab: Lab) -> Callable[[str], None]:
    """Runs the selftests that a series brings along: where it lacks, none passes or fails."""

    def ask(series: str) -> None:
        for program in lab.selftests(series, lab.kernel(arm.stack).base):
            inside = f"/run/{program.name}"
            guest.put(inside, program.read_bytes(), 0o755)
            # On a kernel that has a part of the series one may wait for what does not come: that is
            # an answer, too, and need not be asked for again.
            limit_s = _SELFTEST_LIMIT_S * guest.scale
            limited = ["timeout", "-s", "KILL", str(limit_s), inside]
            said = guest.run(limited, deadline_s=2 * limit_s)
            judge.keep(f"selftest-{program.name}.ktap", said.stdout + said.stderr)
            ends = said.status != 128 + signal.SIGKILL
            judge.expect(f"{program.name} ends", ends, good=True)
            _judge_ktap(judge, program.name, said.stdout if ends else "")

    return ask


@pytest.fixture
def kunit(guest: Guest, judge: Judge) -> Callable[[str], None]:
    """Reads what the kernel said of a suite of KUnit tests, which it ran when it booted."""

    def ask(suite: str) -> None:
        debugfs.mount(guest)
        said = guest.run(["cat", f"{DEBUGFS}/kunit/{suite}/results"])
        judge.keep(f"kunit-{suite}.ktap", said.stdout + said.stderr)
        _judge_ktap(judge, suite, said.stdout)

    return ask


def _judge_ktap(judge: Judge, name: str, text: str) -> None:
    """No test fails, and some pass; where there is nothing to test, none do."""
    results = ktap.parse(text)
    wrong = [f"{test}: {one}" for test, one in results.items() if one not in _FINE]
    judge.expect(f"failures of {name}", wrong, good=[])
    passed = sum(one == "ok" for one in results.values())
    judge.note(**{f"passed_{name}": passed})
    judge.expect(f"{name} tests something", passed > 0, good=True, broken=False)


# NS_GET_ID of linux/nsfs.h, _IOR(0xb7, 13, __u64).
_ASK_IDS = """
import fcntl, os, struct, sys
for path in sys.argv[1:]:
    place = os.open(path, os.O_RDONLY)
    print(*struct.unpack("Q", fcntl.ioctl(place, 0x8008B70D, bytes(8))))
"""


@pytest.fixture
def ns_ids(guest: Guest) -> Callable[..., namespaces.Places]:
    """What the kernel itself says of a process's namespaces: ``KIND-id``, for every kind.

    Empty where the kernel has no ids, and does not know that ioctl.
    """

    def one(pid: int | str = "self") -> namespaces.Places:
        files = [f"/proc/{pid}/ns/{kind}" for kind in namespaces.KINDS]
        said = guest.run(["python3", "-c", _ASK_IDS, *files])
        if said.status and "Inappropriate ioctl" in said.stderr:
            return {}
        keys = [f"{kind}-id" for kind in namespaces.KINDS]
        return dict(zip(keys, said.require().stdout.split(), strict=True))

    return one


@pytest.fixture
def places(
    guest: Guest, ns_ids: Callable[..., namespaces.Places]
) -> Callable[[int], namespaces.Places]:
    """The namespaces of a process as the host sees them, and as NS_INFO has to name them."""

    def one(pid: int) -> namespaces.Places:
        files = [f"/proc/{pid}/ns/{kind}" for kind in namespaces.KINDS]
        said = guest.run(["stat", "-L", "-c", "%d %i", *files]).require().stdout.split()
        device = int(said[0])
        return {
            "dev": f"{device >> 8 & 0xFFF:02x}:{device & 0xFF:02x}",
            **dict(zip(namespaces.KINDS, said[1::2], strict=True)),
            **ns_ids(pid),
        }

    return one


@dataclass(frozen=True)
class Sent:
    """What the raw sender was told: the errno's name, and by which call."""

    errno: str
    how: str
    pid: int


_SENT = re.compile(r"(\w+) (\w+) pid=(\d+)")


def _send(run: Callable[..., Answer], text: str, wrap: Sequence[str] = ()) -> Sent:
    answer = run([*wrap, "/run/nsaudit/send", text])
    found = _SENT.search(answer.stdout)
    if not found:
        raise GuestToolMissing(f"the sender says {answer.stdout or answer.stderr!r}")
    return Sent(errno=found[1], how=found[2], pid=int(found[3]))


@pytest.fixture
def send() -> Callable[..., Sent]:
    """Sends one user message, raw, by a guest's or a container's ``run``: ``send(run, text)``."""

    return _send


@pytest.fixture
def su() -> Callable[..., str]:
    """Becomes ``tester`` by su: ``granted``, or what su says."""

    def one(run: Callable[..., Answer]) -> str:
        answer = run(["su", "tester", "-c", "id -u"])
        if answer.status == 0 and answer.stdout.strip() == "1000":
            return "granted"
        return (answer.stderr or answer.stdout).strip() or f"status {answer.status}"

    return one


@pytest.fixture
def by_ssh(ssh_client: ssh.Client) -> Callable[..., str]:
    """Logs in to a container as root, with the guest as jump host: ``granted`` or ``refused``."""

    def one(jump: paramiko.SSHClient, address: str, password: str) -> str:
        try:
            session = ssh_client.login("root", password, via=jump, to=(address, 22))
        except ssh.LoginRefused:
            return "refused"
        return "granted" if ssh_client.run(session, ["id", "-u"]).strip() == "0" else "no session"

    return one


@pytest.fixture
def by_console(console_login: serial.Console) -> Callable[..., str]:
    """Logs in on a container's console as root: ``granted``, or what login says."""
    terminal = f"exec setsid --ctty --wait login <{serial.DEVICE} >{serial.DEVICE} 2>&1"
    answers = {r"# $": "granted", "System error": "System error", "incorrect": "Login incorrect"}

    def one(box: Container, password: str) -> str:
        job = box.spawn(["sh", "-c", terminal])
        console_login.expect(["login: "])
        console_login.send("root")
        console_login.expect(["Password: "])
        console_login.send(password)
        outcome = list(answers.values())[console_login.expect(list(answers))]
        # A login that was refused asks again, and would get the next one's answers.
        box.run(["pkill", "--signal", "KILL", "--exact", "login|bash"])
        job.wait()
        # What it still said is not the next one's either: go on behind a word of our own.
        box.run(["sh", "-c", f"echo end of login >{serial.DEVICE}"]).require()
        console_login.expect(["end of login"])
        return outcome

    return one
