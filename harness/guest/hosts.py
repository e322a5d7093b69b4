"""Several guests on a private network, each a host with a name, an identity and a clock.

Any guest whose machine has ``lan`` can be one, however it was started: what makes it a host is
done inside, after its boot or its fork. Host n, counted from 1, has the address 10.11.0.n.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import GuestLost
from harness.guest.lan import Lan
from harness.guest.machine import Guest
from harness.guest.qemu import LAN_MAC

_SCRIPT = Path(__file__).with_name("payload") / "host.sh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a host is called, where it is, and by how many seconds its clock is ahead."""

    name: str
    number: int
    ahead_s: float

    @property
    def address(self) -> str:
        """Its address, with 24 bits."""
        return f"10.11.0.{self.number}"

    @property
    def mac(self) -> str:
        """Its card's address."""
        return f"{LAN_MAC[:-2]}{self.number:02x}"


def plan_hosts(clocks: Mapping[str, float]) -> tuple[Host, ...]:
    """The hosts with these names, in this order; the numbers say what their clocks are ahead."""
    return tuple(
        Host(name=name, number=number, ahead_s=ahead_s)
        for number, (name, ahead_s) in enumerate(clocks.items(), 1)
    )


def hosts_file(hosts: tuple[Host, ...]) -> str:
    """hosts(5), the same for all of them."""
    return "".join(
        f"{address} {name}\n"
        for address, name in (
            ("127.0.0.1", "localhost"),
            *((one.address, one.name) for one in hosts),
        )
    )


class Hosts(Mapping[str, Guest]):
    """The guests by their hosts' names, and the network that they are on."""

    def __init__(self, hosts: tuple[Host, ...], lan: Lan) -> None:
        self._hosts = {one.name: one for one in hosts}
        self._guests: dict[str, Guest] = {}
        self.lan = lan

    def __getitem__(self, name: str) -> Guest:
        return self._guests[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._guests)

    def __len__(self) -> int:
        return len(self._guests)

    def add(self, name: str, guest: Guest) -> None:
        """Makes a guest that has just started the host with this name."""
        host = self._hosts[name]
        if guest.wire is None:
            raise GuestLost(f"the guest {name} has no card for a private network")
        self.lan.join(name, guest.wire)
        guest.put("/run/host.sh", _SCRIPT.read_bytes(), 0o755)
        now = time.time() + host.ahead_s
        words = [f"{now:.3f}", name, secrets.token_hex(16), LAN_MAC, host.address, host.mac]
        given = hosts_file(tuple(self._hosts.values()))
        guest.run(["/run/host.sh", *words], given=given).require()
        self._guests[name] = guest

    def address_of(self, name: str) -> str:
        """A host's address on the private network."""
        return self._hosts[name].address

    def cut(self, name: str) -> None:
        """Cuts a host off from the others: it sees its carrier, and no frame comes or goes."""
        self.lan.cut(name)

    def mend(self, name: str) -> None:
        """Connects it again."""
        self.lan.mend(name)
