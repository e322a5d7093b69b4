"""Is it known who did what in a container, whichever way they came in?

Somebody logs in to a container by SSH and becomes root there by sudo; and logs in to the host,
starts a container of their own, enters the first one with nsenter and by setns, and has its
orchestrator run something there. The login is followed through all that goes back to it, which
what a daemon runs does only if the daemon sees to that. The container is followed where an
orchestrator named it: who only joins its namespaces is on the host still, as far as the id
goes, and is seen there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.guest import ssh
from harness.guest.machine import Guest, Job
from harness.jobs import Lab
from harness.scenario import Judge
from harness.trail import questions
from harness.trail.asked import Asked
from harness.trail.index import read_logs
from harness.trail.model import Model
from harness.trail.questions import Row
from harness.trail.sources import find_sources

_NAMED = "/run/nsaudit/named"
_SPACES = ("unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--mount-proc")
_PORT = 2222
_BOX, _OWN = "4711", "4712"
_TESTER = "1000"
_ENTER = Path(__file__).with_name("enter.py")
_DAEMON = Path(__file__).with_name("orchestrator.py")


def _is_about(row: Row, way: str) -> bool:
    """Whether an event is the one in which the folder of a way in was made."""
    return any(f'name="/tmp/{way}"' in record for record in row["records"])


@pytest.mark.scenario(feature=["contid"], config=["AUDIT", "AUDITSYSCALL", "PID_NS", "UTS_NS"])
def test_sessions(
    guest: Guest,
    judge: Judge,
    lab: Lab,
    auditd: Any,
    passwords: Mapping[str, str],
    sshd: Callable[..., Job],
    ssh_client: ssh.Client,
) -> None:
    # Given a host with sshd, and a container with one of its own,
    first = guest.run([_NAMED, _BOX, "true"])
    judge.expect("naming one", first.stderr.strip() or "0", good="0", broken="ENOENT")
    if first.stderr:
        return
    sshd(guest.spawn)
    guest.put("/run/orchestrator.py", _DAEMON.read_bytes(), 0o755)
    orchestrator = ["python3", "/run/orchestrator.py"]
    sshd(lambda argv: guest.spawn([*orchestrator, _BOX, *_SPACES, *argv, "-p", str(_PORT)]))
    inside = guest.run(["pgrep", "-f", f"^sshd: .* -p {_PORT}"]).require().stdout.strip()
    guest.put("/etc/sudoers.d/tester", "tester ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    guest.put("/run/enter.py", _ENTER.read_bytes())
    rule = ["-a", "always,exit", "-F", "arch=b64", "-S", "mkdir", "-k", "sessions"]
    guest.run(["auditctl", *rule]).require()

    # when somebody comes in each way, and makes a folder there,
    host = ssh_client.login("tester", passwords["tester"])
    box = ssh_client.login("tester", passwords["tester"], via=host, to=("127.0.0.1", _PORT))
    numbers = {
        "box": ssh_client.run(box, ["cat", "/proc/self/sessionid"]),
        "host": ssh_client.run(host, ["cat", "/proc/self/sessionid"]),
    }
    enter = ["nsenter", "-t", inside, "-m", "-u", "-i", "-p"]
    ways = {
        "ssh": (box, [], _BOX, "box"),
        "ssh-sudo": (box, ["sudo"], _BOX, "box"),
        "host": (host, [], "", "host"),
        "own": (host, ["sudo", _NAMED, _OWN, *_SPACES], _OWN, "host"),
        "nsenter": (host, ["sudo", *enter], "", "host"),
        "setns": (host, ["sudo", "python3", "/run/enter.py", inside], "", "host"),
        "asked": (host, [*orchestrator, "ask", *enter], _BOX, ""),
        "handed-on": (host, [*orchestrator, "hand-on", *enter], _BOX, "new"),
    }
    for way, (session, words, _, _) in ways.items():
        tool = [] if way == "setns" else ["mkdir"]
        said = ssh_client.run(session, [*words, *tool, f"/tmp/{way}", "2>&1"])
        judge.expect(f"{way} says", said, good="")

    # then the trail tells for each where it was, and the login and session that it goes back to,
    auditd.trail()
    found = find_sources([f"guest={judge.folder}/records.log"])
    model = Model(read_logs(found, lab.workspace))
    rows = questions.events(model, Asked()).rows
    sessions = {}
    for way, (_, _, container, session_of) in ways.items():
        (made,) = [row for row in rows if _is_about(row, way)]
        sessions[way] = made["ses"]
        login = _TESTER if session_of else ""
        judge.expect(way, (made["container"], made["auid"]), good=(container, login))
        if session_of in numbers:
            judge.expect(f"session of {way}", made["ses"], good=numbers[session_of])
    judge.expect("asked by no login", sessions["asked"], good="")
    others = [*numbers.values(), ""]
    judge.expect("handed on as a new session", sessions["handed-on"] in others, good=False)
    judge.expect("two sessions", len(set(numbers.values())), good=2)

    # what is asked of one login in one container is that and nothing else,
    did = questions.events(model, Asked(container=_BOX, auid=_TESTER)).rows
    folders = [one for row in did for one in ways if _is_about(row, one)]
    judge.expect("inside, by the login", folders, good=["ssh", "ssh-sudo", "handed-on"])

    # and who started each container is known.
    by = {row["container"]: row["by"] for row in questions.containers(model, Asked()).rows}
    judge.expect("started by the login", by[_OWN].endswith(f" for {_TESTER}"), good=True)
    judge.expect("started by no login", " for " in by[_BOX], good=False)
