"""A memory cgroup of a guest, whose charges tell who pays for what, and what is left over.

Version 2, see Documentation/admin-guide/cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.guest.machine import Guest

_ROOT = "/sys/fs/cgroup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroup:
    """A cgroup without limits; it needs a kernel with CONFIG_MEMCG."""

    guest: Guest
    name: str

    @classmethod
    def make(cls, guest: Guest, name: str) -> Cgroup:
        """Makes it at the top of the tree, which is mounted if it is not yet."""
        mount = f"mountpoint -q {_ROOT} || mount -t cgroup2 cgroup2 {_ROOT}"
        allow = f"echo +memory > {_ROOT}/cgroup.subtree_control"
        guest.run(["sh", "-ec", f"{mount}; {allow}; mkdir {_ROOT}/{name}"]).require()
        return cls(guest=guest, name=name)

    def enter(self, argv: Sequence[str]) -> list[str]:
        """The command that runs another in it, also in a container that sees the same tree."""
        join = f'echo $$ > {_ROOT}/{self.name}/cgroup.procs && exec "$@"'
        return ["sh", "-c", join, "sh", *argv]

    def charged(self) -> int:
        """All bytes that are charged to it now."""
        return int(self._read("memory.current"))

    def kernel(self) -> int:
        """The bytes of it that are the kernel's own: slab, stacks, page tables and the like."""
        return int(dict(line.split() for line in self._read("memory.stat").splitlines())["kernel"])

    def _read(self, file: str) -> str:
        return self.guest.get(f"{_ROOT}/{self.name}/{file}").decode()
