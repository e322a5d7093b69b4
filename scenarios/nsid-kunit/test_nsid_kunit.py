"""Do the KUnit tests of the series nsid pass when the kernel boots?

They are in the kernels of the configuration debug, where KASAN watches them.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.mark.scenario(
    feature=["nsid"],
    config=["AUDIT", "KUNIT", "KUNIT_DEBUGFS"],
    under=["debug"],
    # They ran before anybody could save the guest; the look for leaks comes after them.
    boot="cold",
)
def test_nsid_kunit(kunit: Callable[[str], None]) -> None:
    kunit("audit_ns")
