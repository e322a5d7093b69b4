"""Runs the workload in guests, one for each host, and keeps what they logged and said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.audit.records import parse_status
from harness.compare.designs import Design, strip
from harness.compare.truth import RULE, Facts, Log, read_facts
from harness.errors import HarnessError, UsageError
from harness.guest.machine import Guest
from harness.guest.polling import poll
from harness.jobs import Lab
from harness.kernel.series import Catalogue
from harness.model import Kernel, Stack

HOSTS = ("a", "b")
SAID, LOG = "truth.jsonl", "audit.log"
_PAYLOAD = Path(__file__).with_name("payload")
# Where it is a package in the guest, as it is here.
_PATH, _MODULE = "/run/python", "harness.compare.payload.workload"
_IN_GUEST = "/var/log/audit/audit.log"
_CALLS = ("mkdir", "kill")
_LIMIT_S = 180.0
_SYNC_LIMIT_S = 15.0
_MARK = "nsaudit-compare-end"


def choose_stack(catalogue: Catalogue, designs: Sequence[Design], base: str) -> Stack:
    """The smallest stack on a base that has all designs. Raises UsageError if there is none."""
    wanted = {one.name for one in designs}
    found = [
        one
        for one in catalogue.stacks.values()
        if one.base.name == base and wanted <= {series.name for series in one.series}
    ]
    if not found:
        raise UsageError(
            f"no stack on base {base} has {' and '.join(sorted(wanted))}",
            hint="nsaudit stacks lists them",
        )
    return min(found, key=lambda one: len(one.series))


def run(lab: Lab, kernel: Kernel, folder: Path, on_step: Callable[[str], None]) -> None:
    """Keeps ``HOST/audit.log`` and ``HOST/truth.jsonl``. Raises HarnessError for lost records."""
    for host in HOSTS:
        on_step(f"running the workload of host {host} on {kernel.stack}")
        with lab.guest(kernel, folder / host, warm=True) as guest:
            _run(guest, host, folder / host)
            guest.end()


def _run(guest: Guest, host: str, folder: Path) -> None:
    guest.run(["auditd"]).require()
    for call in _CALLS:
        rule = ["-a", "always,exit", "-F", "arch=b64", "-S", call, "-k", RULE]
        guest.run(["auditctl", *rule]).require()
    place = f"{_PATH}/{_MODULE.rpartition('.')[0].replace('.', '/')}"
    guest.run(["mkdir", "-p", place]).require()
    for path in _PAYLOAD.glob("*.py"):
        guest.put(f"{place}/{path.name}", path.read_bytes())
    said = guest.run(
        ["python3", "-m", _MODULE, host], env={"PYTHONPATH": _PATH}, deadline_s=_LIMIT_S
    )
    (folder / SAID).write_text(said.stdout, encoding="utf-8")
    (folder / "transcript-workload.txt").write_text(said.stderr, encoding="utf-8")
    said.require()
    (folder / LOG).write_bytes(_read_log(guest))
    lost = parse_status(guest.run(["auditctl", "-s"]).require().stdout).lost
    if lost:
        raise HarnessError(f"host {host} lost {lost} records")


def _read_log(guest: Guest) -> bytes:
    """All records up to now, once they have arrived."""
    guest.run(["auditctl", "-m", _MARK]).require()
    return poll(
        lambda: guest.get(_IN_GUEST),
        lambda log: _MARK.encode() in log,
        limit_s=_SYNC_LIMIT_S * guest.scale,
        what=f"a marker in {_IN_GUEST}",
    )


def files(designs: Sequence[Design]) -> tuple[str, ...]:
    """All that ``read`` takes and makes, in the folder of a run: the truth, and each log."""
    logs = [f"{design.name}/{host}/{LOG}" for design in designs for host in HOSTS]
    return (*logs, *(f"{host}/{SAID}" for host in HOSTS))


def read(folder: Path, designs: Sequence[Design]) -> tuple[Facts, Mapping[str, Mapping[str, Log]]]:
    """What was said in a run, and each design's logs by host, kept as ``DESIGN/HOST/audit.log``."""
    lines: list[str] = []
    logs: dict[str, dict[str, Log]] = {design.name: {} for design in designs}
    for host in HOSTS:
        lines += (folder / host / SAID).read_text(encoding="utf-8").splitlines()
        whole = (folder / host / LOG).read_bytes()
        for design in designs:
            path = folder / design.name / host / LOG
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(strip(whole, design))
            logs[design.name][host] = Log(path.read_bytes())
    return read_facts(lines), logs
