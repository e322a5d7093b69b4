"""What the scenarios' own conftest gives, which a plugin of pytest cannot override."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.workspace import PROJECT


@pytest.fixture
def payloads() -> tuple[Path, ...]:
    """The raw sender."""
    return (PROJECT / "harness/audit/payload/send.c",)
