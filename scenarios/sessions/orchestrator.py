"""A daemon that runs a container, and whatever else people ask it to run in there.

    orchestrator.py ID COMMAND...           starts COMMAND in container ID, and serves requests
    orchestrator.py ask|hand-on COMMAND...  has it run COMMAND in that container, too

Who asks is the parent of nothing that it has run: that goes back to the daemon, which has no
login. With ``hand-on`` the daemon looks up the login of who asks and sets it before it runs
COMMAND; with ``ask`` it does not care, as most do.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

PLACE = "/run/orchestrator"


def start(identity: str, argv: Sequence[str], login: str = "") -> int:
    """The pid of a command that is in the container from its beginning."""
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        if os.read(ready, 1) != b"!":
            os._exit(1)
        if login:
            Path("/proc/self/loginuid").write_text(login)
        os.execvp(argv[0], list(argv))
    Path(f"/proc/{pid}/audit_containerid").write_text(identity)
    os.write(go, b"!")
    os.close(ready)
    os.close(go)
    return pid


def serve(identity: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(PLACE)
        Path(PLACE).chmod(0o666)
        listener.listen()
        while True:
            connection, _ = listener.accept()
            with connection:
                asker = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                number, _, _ = struct.unpack("3i", asker)
                login = Path(f"/proc/{number}/loginuid").read_text()
                verb, *argv = json.loads(connection.recv(65536))
                pid = start(identity, argv, login if verb == "hand-on" else "")
                _, status = os.waitpid(pid, 0)
                connection.sendall(b"%d" % os.waitstatus_to_exitcode(status))


def ask(words: Sequence[str]) -> int:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(PLACE)
        connection.sendall(json.dumps(words).encode())
        return int(connection.recv(16))


def main() -> None:
    if sys.argv[1] in ("ask", "hand-on"):
        sys.exit(ask(sys.argv[1:]))
    start(sys.argv[1], sys.argv[2:])
    serve(sys.argv[1])


main()
