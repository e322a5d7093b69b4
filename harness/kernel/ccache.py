"""How builds use ccache, where it is there: what it may take for the same file.

ccache's own answer is the preprocessed text with its line numbers, for which a line more in a
header that everything includes is a different file everywhere: a new number in
``include/uapi/linux/audit.h`` is 800 files in a kernel of 1,200. Where no line number gets into
an object file, the lines of headers do not count (``lineless-gcc``). A warning about a header,
repeated from the cache, can then name a line that has moved since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import proc
from harness.kernel.kconfig import Kconfig
from harness.workspace import digest

_LINELESS = Path(__file__).with_name("lineless-gcc")
# What writes places in the source into files it makes, beside __LINE__, which is text by then.
_KEEP_LINES = (
    "CONFIG_DEBUG_INFO",
    "CONFIG_GCOV_KERNEL",
    "CONFIG_KASAN",
    "CONFIG_KCSAN",
    "CONFIG_UBSAN",
)


def make_words() -> Sequence[str]:
    """What make is told of it."""
    return ("CC=ccache gcc",) if proc.find_tool("ccache") else ()


def environment(root: Path, actual: Kconfig, compiler: str) -> Mapping[str, str]:
    """Its settings (man ccache) for a kernel configured as ``actual`` by this compiler.

    Names of files below ``root`` are the same wherever that is.
    """
    common = {"CCACHE_BASEDIR": str(root), "CCACHE_NOHASHDIR": "1"}
    if any(actual.options.get(name, "n") != "n" for name in _KEEP_LINES):
        return common
    return {
        **common,
        "CCACHE_COMPILER": str(_LINELESS),
        "CCACHE_COMPILERTYPE": "gcc",
        # Not the script's time, which differs in each checkout.
        "CCACHE_COMPILERCHECK": f"string:{digest(compiler, _LINELESS.read_bytes())}",
    }
