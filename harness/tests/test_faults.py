"""What programs say that have their allocations fail, and what a trail tells of it."""

from __future__ import annotations

import pytest

from harness.audit import faults
from harness.audit.faults import Try
from harness.audit.records import Trail

SAID = """\
call 1 0 - 1
call 2 0 - 0
call end 0 - 0
message 1 ENOMEM - 0
message 2 0 - 0
message end 0 - 0
exec 1 ENOMEM 41,refused 0
"""
LOG = """\
type=SYSCALL msg=audit(1.000:1): arch=c000003e syscall=140 a0=0 a1=0 a2=2
type=SYSCALL msg=audit(1.000:2): arch=c000003e syscall=140 a0=0 a1=0 a2=3
type=PROCTITLE msg=audit(1.000:2): proctitle="fault"
"""


def test_each_step_is_counted_by_itself() -> None:
    tries = list(faults.parse(SAID))
    assert [(one.step, one.number) for one in tries][2:5] == [
        ("call", 3),
        ("message", 1),
        ("message", 2),
    ]
    assert tries[0] == Try(step="call", number=1, nth="1", errno="0", state="-", lost=1)
    assert (tries[-1].pid, tries[-1].end) == ("41", "refused")
    with pytest.raises(ValueError, match="unpack"):
        list(faults.parse("a task ended with status 100\n"))


def test_what_is_neither_told_nor_lost_is_found() -> None:
    tries = list(faults.parse(SAID))
    trail = Trail.parse(LOG)
    # The first is lost, of the second a record is missing, and the third is whole.
    assert faults.untold_calls(trail, tries, {"SYSCALL", "PROCTITLE"}) == ["2: 2"]
    assert faults.untold_calls(trail, tries, {"SYSCALL"}) == []
    # The first was refused.
    assert faults.untold_messages(["msg='nsaudit-fault-3-'"], tries) == ["2: 0"]
