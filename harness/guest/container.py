"""Containers in a guest, made of nothing but namespaces, with util-linux's own tools.

A container shares the guest's root; in a user namespace of its own the ids 0 to 65535 map to
themselves, so that files belong to whom they belong outside.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import GuestToolMissing
from harness.guest.machine import COMMAND_LIMIT_S, Answer, Guest, Job

_SCRIPT = Path(__file__).with_name("payload") / "container.sh"
# The order and the flags of unshare(1); ``time`` needs the fork that ``pid`` needs too.
KINDS: Mapping[str, Sequence[str]] = {
    "user": ("--user", "--map-users=0,0,65536", "--map-groups=0,0,65536"),
    "pid": ("--pid",),
    "net": ("--net",),
    "mount": ("--mount",),
    "uts": ("--uts",),
    "ipc": ("--ipc",),
    "cgroup": ("--cgroup",),
    "time": ("--time",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A running container, in the guest or ``within`` another one.

    ``pid`` is its first process as the one has it that it is in.
    """

    guest: Guest
    pid: int
    kinds: tuple[str, ...]
    within: Container | None = None

    def enter(self, argv: Sequence[str]) -> list[str]:
        """The command that runs another inside."""
        flags = [f"--{kind}" for kind in KINDS if kind in self.kinds]
        # A time namespace is entered by the children only; nsenter forks for it.
        return ["nsenter", "--target", str(self.pid), *flags, "--", *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        given: str | bytes = "",
        env: Mapping[str, str] | None = None,
        deadline_s: float = COMMAND_LIMIT_S,
    ) -> Answer:
        """Runs a program inside, as the container's root, to its end."""
        around = self.within or self.guest
        return around.run(self.enter(argv), given=given, env=env, deadline_s=deadline_s)

    def spawn(self, argv: Sequence[str], *, keep_input: bool = False) -> Job:
        """Starts a program inside and returns at once."""
        around = self.within or self.guest
        return around.spawn(self.enter(argv), keep_input=keep_input)

    def connect(self, number: int) -> str:
        """A veth pair into the container's network namespace; the address inside.

        The guest has 10.9.NUMBER.1, the container 10.9.NUMBER.2, each with 24 bits.
        """
        outside = f"veth{number}"
        pair = ["ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0"]
        self.guest.run([*pair, "netns", str(self.pid)]).require()
        self.guest.run(["ip", "addr", "add", f"10.9.{number}.1/24", "dev", outside]).require()
        self.guest.run(["ip", "link", "set", outside, "up"]).require()
        inside = f"10.9.{number}.2"
        self.run(["ip", "addr", "add", f"{inside}/24", "dev", "eth0"]).require()
        self.run(["ip", "link", "set", "eth0", "up"]).require()
        return inside


@contextlib.contextmanager
def start_container(
    guest: Guest,
    kinds: Sequence[str],
    *,
    layer: str = "",
    shift: int = 0,
    within: Container | None = None,
) -> Iterator[Container]:
    """A container with namespaces of these kinds of its own; it ends with the block.

    ``layer`` names a layer of the image whose files stand in for the root's (that needs a
    mount namespace). ``shift`` is which id of the guest is 0 in its user namespace; the root's
    files belong to nobody there, if it is not 0. ``within`` is the container that it is in.
    Raises GuestToolMissing when it does not come up.
    """
    guest.put("/run/container.sh", _SCRIPT.read_bytes(), 0o755)
    flags = [flag for kind, words in KINDS.items() if kind in kinds for flag in words]
    if shift:
        # newuidmap(1) maps what subuid(5) gives, root's ids too.
        more = ["sed", "-i", f"1i root:{shift}:65536", "/etc/subuid", "/etc/subgid"]
        guest.run(more).require()
        flags = [flag.replace("=0,0,", f"={shift},0,") for flag in flags]
        flags += ["--setuid=0", "--setgid=0"]
    job = (within or guest).spawn(
        [
            *("unshare", *flags, "--fork", "--kill-child", "--"),
            *("/run/container.sh", "yes" if "pid" in kinds else "no"),
            f"/run/layers/{layer}" if layer else "-",
        ],
        keep_input=True,
    )
    guest.wait_until(
        lambda: b"\n" in job.out or job.status is not None, COMMAND_LIMIT_S, "a container"
    )
    if job.status is not None:
        said = bytes(job.err).decode(errors="replace").strip()
        raise GuestToolMissing(f"a container with {', '.join(kinds)} does not start: {said}")
    try:
        yield Container(guest=guest, pid=int(job.out), kinds=tuple(kinds), within=within)
    finally:
        # With a lost guest there is nothing left to end.
        with contextlib.suppress(Exception):
            job.close_input()
