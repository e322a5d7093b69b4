"""Do the selftests of the series nsid pass on a kernel that has it, and only there?

They are what a maintainer runs: made by the kernel's own makefiles, as the series has them.
Without the series they skip what they cannot test.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.mark.scenario(feature=["nsid"], config=["AUDIT", "AUDITSYSCALL", "USER_NS"])
def test_nsid_selftest(selftests: Callable[[str], None]) -> None:
    selftests("nsid")
