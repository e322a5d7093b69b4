"""Says that whoever speaks to a full audit waits for room as long as can be, and waits itself.

Begins at the end of its input. Prints a line when the kernel has taken that, which it answers
before the sender waits (audit_receive() in kernel/audit.c), and ends when there was room.
"""

import socket
import sys
import threading

from audit_link import SET, WAIT, audit_socket, status, tell

_LONGEST = 150000  # 10 * AUDIT_BACKLOG_WAIT_TIME, at 250 ticks a second


def say(word: str) -> None:
    """A line, at once."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def look() -> None:
    """Leaves the answer for who has asked."""
    link.recv(9000, socket.MSG_PEEK)
    say("taken")


link = audit_socket()
say("ready")
sys.stdin.read()
threading.Thread(target=look, daemon=True).start()
sys.exit(tell(link, SET, status(WAIT, wait=_LONGEST)) != "0")
