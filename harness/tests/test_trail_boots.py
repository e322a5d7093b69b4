"""The boots of a host: what is plain is taken at a glance, and comes to what a close look finds."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from harness.trail import boots
from harness.trail.boots import Boot, Boots

_DAY_MS = 86_400_000
Rows = list[tuple[int, int, bool]]


def make_rows(dice: random.Random) -> Iterator[Rows]:
    """Blocks of (serial, ms, whether auditd's own) as kernels, and clocks, make them odd."""
    serial, ms = dice.randrange(1, 100), 1_795_000_000_000
    for _ in range(dice.randrange(2, 9)):
        block: Rows = []
        for _ in range(dice.randrange(1, 40)):
            serial += dice.choice((0, 0, 1, 3))
            ms += dice.choice((0, 1, 5_000))
            odd = dice.random()
            if odd < 0.01:
                serial = dice.randrange(1, 4)
            elif odd < 0.02:
                ms -= dice.choice((1, 59_000, 61_000, _DAY_MS))
            elif odd < 0.03:
                ms += dice.choice((50 * _DAY_MS, 100 * _DAY_MS))
            late = dice.random() < 0.05
            block.append((serial - late * (serial // 3), ms - late * 4_000, odd > 0.998))
        yield block


def tell(blocks: list[Rows]) -> tuple[list[list[int]], list[Boot]]:
    """The boot of each row, and all boots."""
    found = Boots()
    numbers = []
    for block in blocks:
        serial, ms, daemon = (np.array(column) for column in zip(*block, strict=True))
        numbers.append(found.assign(0, "alpha", "logs", serial, ms, daemon.astype(bool)).tolist())
    return numbers, found.all


def test_a_glance_finds_what_a_close_look_does(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(4711)
    logs = [list(make_rows(dice)) for _ in range(500)]
    glances: list[bool] = []
    goes_on = boots._goes_on

    def count(*about: object) -> bool:
        glances.append(goes_on(*about))  # type: ignore[arg-type]
        return glances[-1]

    monkeypatch.setattr(boots, "_goes_on", count)
    quickly = [tell(log) for log in logs]
    assert 0.2 < sum(glances) / len(glances) < 0.95
    monkeypatch.setattr(boots, "_goes_on", lambda *_about: False)
    assert quickly == [tell(log) for log in logs]
    found = [one for _, all_ in quickly for one in all_]
    for odd in ("jumps", "gap_ms", "strays", "collides"):
        assert any(getattr(one, odd) for one in found), odd
    assert any(one.order > 1 for one in found)
