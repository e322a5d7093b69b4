"""Memory cgroups in a guest, by the unified hierarchy (Documentation/admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.guest.machine import Guest

_ROOT = "/sys/fs/cgroup"


@dataclass(frozen=True, slots=True)
class MemoryCgroup:
    """A cgroup ``name`` below the root, which containers see that start after it was made."""

    guest: Guest
    name: str

    @property
    def folder(self) -> str:
        """Where it is, in the guest."""
        return f"{_ROOT}/{self.name}"

    @property
    def charged(self) -> int:
        """Bytes that are charged to it, without what can be reclaimed.

        What each CPU keeps charged in advance, up to 64 pages, is given back for it, as always
        where more is charged than is allowed (memory_high_write() in mm/memcontrol.c).
        """
        drain = f"cd {self.folder} && echo 0 >memory.high && echo max >memory.high"
        known, now = -1, 0
        # Other CPUs give back theirs a little later.
        while now != known:
            self.guest.run(["sh", "-c", drain]).require()
            known, now = now, int(self.guest.get(f"{self.folder}/memory.current"))
        return now

    def limit(self, size: int) -> None:
        """Has its tasks be killed that need more bytes in all."""
        self.guest.run(["sh", "-c", f"echo {size} >{self.folder}/memory.max"]).require()

    def enter(self, argv: Sequence[str]) -> list[str]:
        """The command that runs another inside."""
        return ["sh", "-c", f'echo $$ >{self.folder}/cgroup.procs && exec "$@"', "sh", *argv]


def make_memory_cgroup(guest: Guest, name: str) -> MemoryCgroup:
    """Makes it, for which the hierarchy is mounted if it is not."""
    made = MemoryCgroup(guest, name)
    mount = f"mountpoint -q {_ROOT} || mount -t cgroup2 cgroup2 {_ROOT}"
    control = f"echo +memory >{_ROOT}/cgroup.subtree_control"
    guest.run(["sh", "-ec", f"{mount}; {control}; mkdir {made.folder}"]).require()
    return made
