"""Errors: what is behind one."""

from __future__ import annotations

import errno

import pytest

from harness.errors import BuildError, CommandFailed, is_out_of_room


@pytest.mark.parametrize(
    ("cause", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (CommandFailed("tar failed", output="tar: x: No space left on device\ntar: bye"), True),
        (CommandFailed("tar failed", output="tar: x: No such file"), False),
    ],
)
def test_a_full_disk_is_seen_through_what_was_made_of_it(cause: Exception, full: bool) -> None:
    assert is_out_of_room(cause) is full
    outer = BuildError("it does not build")
    outer.__cause__ = cause
    assert is_out_of_room(outer) is full
    assert not is_out_of_room(None)
