"""Is it known who did what in a container, whichever way they came in?

Somebody logs in to a container by SSH and becomes root there by sudo; and logs in to the host,
starts a container of their own, and enters the first one with nsenter and by setns. The login
is followed through all of it. The container is followed where an orchestrator named it: who
only joins its namespaces is on the host still, as far as the id goes, and is seen there.
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
from harness.trail.index import read_logs
from harness.trail.model import Model
from harness.trail.questions import Asked
from harness.trail.sources import find_sources

_NAMED = "/run/nsaudit/named"
_SPACES = ("unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--mount-proc")
_PORT = 2222
_BOX, _OWN = "4711", "4712"
_TESTER = "1000"
_ENTER = Path(__file__).with_name("enter.py")


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
    sshd(lambda argv: guest.spawn([_NAMED, _BOX, *_SPACES, *argv, "-p", str(_PORT)]))
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
    ways = {
        "ssh": (box, [], _BOX, "box"),
        "ssh-sudo": (box, ["sudo"], _BOX, "box"),
        "host": (host, [], "", "host"),
        "own": (host, ["sudo", _NAMED, _OWN, *_SPACES], _OWN, "host"),
        "nsenter": (host, ["sudo", "nsenter", "-t", inside, "-m", "-u", "-i", "-p"], "", "host"),
        "setns": (host, ["sudo", "python3", "/run/enter.py", inside], "", "host"),
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
    for way, (_, _, container, session_of) in ways.items():
        made = [row for row in rows if any(f'name="/tmp/{way}"' in one for one in row["records"])]
        seen = [(row["container"], row["auid"], row["ses"]) for row in made]
        judge.expect(way, seen, good=[(container, _TESTER, numbers[session_of])])
    judge.expect("two sessions", len(set(numbers.values())), good=2)

    # what is asked of one login in one container is that and nothing else,
    did = questions.events(model, Asked(container=_BOX, auid=_TESTER)).rows
    folders = [
        one for row in did for one in ways if f'name="/tmp/{one}"' in "".join(row["records"])
    ]
    judge.expect("inside, by the login", folders, good=["ssh", "ssh-sudo"])

    # and who started each container is known.
    by = {row["container"]: row["by"] for row in questions.containers(model, Asked()).rows}
    judge.expect("started by the login", by[_OWN].endswith(f" for {_TESTER}"), good=True)
    judge.expect("started by no login", " for " in by[_BOX], good=False)
