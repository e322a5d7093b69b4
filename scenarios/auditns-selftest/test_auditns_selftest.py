"""Do the selftests of the series auditns pass on a kernel that has it, and only there?

They are what a maintainer runs: made by the kernel's own makefiles, as the series has them.
Without the series they skip what they cannot test.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.mark.scenario(feature=["auditns"], config=["AUDIT", "AUDITSYSCALL", "USER_NS"])
def test_auditns_selftest(selftests: Callable[[str], None]) -> None:
    selftests("auditns")
