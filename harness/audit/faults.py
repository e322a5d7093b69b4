"""What programs print that have each of their allocations in the kernel fail in turn.

The format is in ``payload/fault.h``: a line for each time that a step was done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

from harness.audit.records import Trail

_GETPRIORITY = "140"


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """A line of such a program's, and which one of the step it is, from 1 on.

    ``nth`` is the allocation that failed, or ``end``; ``errno`` a name, 0 for none; ``state``
    what was found afterwards, and ``lost`` how many records were counted as lost meanwhile.
    """

    step: str
    number: int
    nth: str
    errno: str
    state: str
    lost: int

    @property
    def pid(self) -> str:
        """The task that did it, where the state begins with that."""
        return self.state.partition(",")[0]

    @property
    def end(self) -> str:
        """The state after that."""
        return self.state.partition(",")[2]


def parse(text: str) -> Iterator[Try]:
    """The lines of a program's output. Raises ValueError for what is none."""
    numbers: Counter[str] = Counter()
    for line in text.splitlines():
        step, nth, errno, state, lost = line.split()
        numbers[step] += 1
        yield Try(
            step=step, number=numbers[step], nth=nth, errno=errno, state=state, lost=int(lost)
        )


def untold_calls(trail: Trail, tries: Iterable[Try], types: Set[str]) -> list[str]:
    """Times of the step ``call`` whose event lacks one of the types, and no loss was counted.

    The third argument of the call, getpriority(2), is the number of the time.
    """
    told = set()
    for event in trail:
        if types <= {record.type for record in event.records}:
            # Not by its key: without memory the kernel leaves that out.
            told |= {
                int(str(record.get("a2")), 16)
                for record in event.records
                if record.get("syscall") == _GETPRIORITY
            }
    return [
        f"{one.number}: {one.nth}"
        for one in tries
        if one.step == "call" and one.number not in told and not one.lost
    ]


def untold_messages(told: Sequence[str], tries: Iterable[Try]) -> list[str]:
    """Times of the step ``message`` that were accepted, and are in no record told, nor lost."""
    return [
        f"{one.number}: {one.errno}"
        for one in tries
        if one.step == "message"
        and one.errno == "0"
        and not one.lost
        and not any(f"nsaudit-fault-{one.number}-" in text for text in told)
    ]
