"""SSH into a guest, and through it into its containers: paramiko.

Host keys are made in the guest for each run and read over the command channel, so they are
known before the first connection; an unknown one is refused.
"""

from __future__ import annotations

import base64
import socket
from collections.abc import Sequence

import paramiko

from harness.errors import DeadlineExceeded, GuestLost
from harness.guest.machine import Guest

HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
_LIMIT_S = 20.0


class LoginRefused(Exception):
    """The server let nobody in; the text is what it said."""


class Client:
    """Connections to one guest's sshd; ``via`` hops from there to an address it can reach."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._open: list[paramiko.SSHClient] = []
        self._port = 0
        public = guest.get(f"{HOST_KEY}.pub").decode().split()
        self._host_key = paramiko.Ed25519Key(data=base64.b64decode(public[1]))

    def login(
        self,
        user: str,
        password: str,
        *,
        via: paramiko.SSHClient | None = None,
        to: tuple[str, int] = ("127.0.0.1", 22),
    ) -> paramiko.SSHClient:
        """A session on the guest, or on ``to`` with ``via`` as the jump host.

        Raises LoginRefused when the server refuses, DeadlineExceeded when it does not answer.
        """
        limit = _LIMIT_S * self._guest.scale
        client = paramiko.SSHClient()
        if not self._port:
            self._port = self._guest.require_port(22)
        host, port = to if via else ("127.0.0.1", self._port)
        name = host if port == 22 else f"[{host}]:{port}"
        client.get_host_keys().add(name, "ssh-ed25519", self._host_key)
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        hop = _hop(via, to, limit) if via else None
        try:
            client.connect(
                host,
                port,
                user,
                password,
                sock=hop,
                timeout=limit,
                banner_timeout=limit,
                auth_timeout=limit,
                allow_agent=False,
                look_for_keys=False,
            )
            # A server may accept the password and refuse the session.
            self._open.append(client)
            self.run(client, ["true"])
        except TimeoutError as error:
            raise DeadlineExceeded(f"sshd at {name} does not answer") from error
        except (paramiko.SSHException, EOFError, ConnectionError) as error:
            client.close()
            raise LoginRefused(str(error) or type(error).__name__) from error
        return client

    def run(self, client: paramiko.SSHClient, argv: Sequence[str]) -> str:
        """What a command prints in a session."""
        limit = _LIMIT_S * self._guest.scale
        _, stdout, _ = client.exec_command(" ".join(argv), timeout=limit)
        try:
            return stdout.read().decode(errors="replace")
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer to {argv[0]} over SSH") from error

    def close(self) -> None:
        """Closes every connection, the last one first."""
        while self._open:
            self._open.pop().close()


def _hop(via: paramiko.SSHClient, to: tuple[str, int], limit_s: float) -> socket.socket:
    transport = via.get_transport()
    if transport is None:
        raise GuestLost("the jump host's connection is closed")
    channel = transport.open_channel("direct-tcpip", to, ("127.0.0.1", 0), timeout=limit_s)
    return channel  # type: ignore[return-value]
