"""Do the KUnit tests of the series auditns pass when the kernel boots?

They are in the kernels of the configuration debug, where KASAN watches them, and in those of uring.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.mark.scenario(
    feature=["auditns"],
    config=["AUDIT", "AUDITSYSCALL", "USER_NS", "KUNIT", "KUNIT_DEBUGFS"],
    under=["debug", "uring"],
    # They ran before anybody could save the guest; the look for leaks comes after them.
    boot="cold",
)
def test_auditns_kunit(kunit: Callable[[str], None]) -> None:
    kunit("audit_userns")
