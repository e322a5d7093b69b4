"""Where a cluster is, and what it is asked for; light to import, unlike what talks to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from harness.errors import UsageError

_FORM = "--executor dask://HOST:PORT, or dask://HOST:PORT?need=kvm"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A scheduler's address, and what a worker must offer to run guests."""

    address: str
    guest: Mapping[str, float]

    @classmethod
    def parse(cls, text: str) -> Cluster:
        """``dask://HOST:PORT[?need=RESOURCE]``. Raises UsageError."""
        parts = urlsplit(text)
        try:
            port = parts.port
        except ValueError:
            port = None
        asked = parse_qs(parts.query, keep_blank_values=True)
        if parts.scheme != "dask" or not parts.hostname or not port or asked.keys() - {"need"}:
            raise UsageError(f"{text!r} is no executor", hint=_FORM)
        needs = dict.fromkeys(asked.get("need", []), 1.0)
        return cls(f"tcp://{parts.netloc}", {"guest": 1.0, **needs})
