"""Talks to the kernel's audit over netlink: what the scenarios' programs in a guest share.

It lies beside them there. See netlink(7), linux/audit.h and user_namespaces(7).
"""

import ctypes
import errno
import os
import socket
import struct
from pathlib import Path

NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
GET, SET, SIGNAL_INFO, USER_LOGIN, SYSCALL, CONFIG_CHANGE = 1000, 1001, 1010, 1112, 1300, 1305
ADD_RULE, DEL_RULE, LIST_RULES, GET_FEATURE = 1011, 1012, 1013, 1019
# Which members of struct audit_status are to be set.
ENABLED, PID, WAIT = 1, 4, 32
GETPRIORITY = 140  # x86-64
_NETLINK_AUDIT, _REQUEST, _ACK, _ERROR = 9, 1, 4, 2
# The multicast groups: of the machine's records, and of a user namespace's (series auditns).
READLOG, USERNS = 1, 2
_EXIT_LIST, _ALWAYS = 4, 2

libc = ctypes.CDLL(None, use_errno=True)


def call(done: int, what: str) -> None:
    """Raises OSError if a function of the C library has said that it failed."""
    if done:
        raise OSError(ctypes.get_errno(), what)


def enter(flags: int) -> None:
    """New namespaces, in whose user namespace the caller is root."""
    uid, gid = os.geteuid(), os.getegid()
    call(libc.unshare(flags), "unshare")
    for name, text in (
        ("uid_map", f"0 {uid} 1"),
        ("setgroups", "deny"),
        ("gid_map", f"0 {gid} 1"),
    ):
        Path("/proc/self", name).write_text(text)


def audit_socket(*, group: int = 0) -> socket.socket:
    """A socket of audit's, in a multicast group if it shall listen."""
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_AUDIT)
    if group:
        link.bind((0, 1 << (group - 1)))
    return link


def kind_of(message: bytes) -> int:
    """The type in the header of a netlink message."""
    kind: int = struct.unpack_from("=H", message, 4)[0]
    return kind


def tell(link: socket.socket, kind: int, payload: bytes = b"", *, plainly: bool = False) -> str:
    """Sends a message; the name of the errno that it was answered, or 0.

    What is sent ``plainly`` has no address, as by a program that writes to what it takes for
    its standard output: then who opened the socket counts, too (netlink_ns_capable()).
    """
    head = struct.pack("=IHHII", 16 + len(payload), kind, _REQUEST | _ACK, 1, 0)
    if plainly:
        link.send(head + payload)
    else:
        link.sendto(head + payload, (0, 0))
    while True:
        answer = link.recv(9000)
        if kind_of(answer) == _ERROR:
            code = -struct.unpack_from("=i", answer, 16)[0]
            return errno.errorcode[code] if code else "0"


def status(mask: int, *, enabled: int = 0, pid: int = 0, wait: int = 0) -> bytes:
    """struct audit_status, of which ``mask`` says what is to be set."""
    return struct.pack("=10I", mask, enabled, 0, pid, 0, 0, 0, 0, 0, wait)


def register(link: socket.socket, pid: int, *, plainly: bool = False) -> str:
    """Asks for a daemon of that pid, and for audit to be enabled: what tell() returns."""
    return tell(link, SET, status(ENABLED | PID, enabled=1, pid=pid), plainly=plainly)


def rule(*calls: int) -> bytes:
    """struct audit_rule_data: always on the list exit, no fields, and these system calls."""
    mask = [0] * 64
    for number in calls:
        mask[number // 32] |= 1 << number % 32
    return struct.pack("=3I64I", _EXIT_LIST, _ALWAYS, 0, *mask) + bytes(4 * (3 * 64 + 1))
