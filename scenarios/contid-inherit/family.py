"""Runs in a container: makes tasks in every way, and says ``KIND PID TID`` of each.

All of them wait until they are killed. Of a thousand more the pids are in /run/many; these wait
for the end of the first.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading

CLONE_NEWNET = 0x40000000
# Small ones: a thousand copies of ourselves would fill the guest's memory under KASAN.
MANY = """
i=0
while [ $i -lt 1000 ]; do
	i=$((i + 1))
	read -r end <&$1 &
	echo $!
done >/run/many
"""


def say(kind: str, pid: int, tid: int | None = None) -> None:
    sys.stdout.write(f"{kind} {pid} {tid or pid}\n")
    sys.stdout.flush()


def fork(kind: str, then: str = "") -> None:
    pid = os.fork()
    if pid == 0:
        if then == "exec":
            os.execvp("sleep", ["sleep", "infinity"])
        if then == "leave":
            libc.unshare(CLONE_NEWNET)
            say(kind, os.getpid())
        if then == "double":
            if os.fork() == 0:
                say(kind, os.getpid())
                signal.pause()
            os._exit(0)
        signal.pause()
    if then == "double":
        os.waitpid(pid, 0)
    elif then != "leave":
        say(kind, pid)


def thread() -> None:
    say("thread", os.getpid(), threading.get_native_id())
    signal.pause()


libc = ctypes.CDLL(None)
say("first", os.getpid())
gate, _ = os.pipe()
subprocess.run(["sh", "-c", MANY, "sh", str(gate)], pass_fds=[gate], check=True)
say("after-many", os.getpid())
fork("fork")
fork("exec", "exec")
fork("double-fork", "double")
fork("new-network", "leave")
say("vfork", subprocess.Popen(["sleep", "infinity"], close_fds=False).pid)
threading.Thread(target=thread, daemon=True).start()
signal.pause()
