"""What ccache takes for the same file when builds use it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness import proc
from harness.errors import CommandFailed
from harness.kernel import ccache
from harness.kernel.kconfig import Kconfig

pytestmark = pytest.mark.tools

_HEADER = "#define FIRST 1\nstruct small { int field; };\n"
_SOURCE = '#include "some.h"\nint get(struct small *s)\n{\n\treturn s->field + FIRST;\n}\n'


class Desk:
    """A folder with a file and its header, and a ccache that knows nothing."""

    def __init__(self, folder: Path, options: Mapping[str, str]) -> None:
        # A plus and a dot: what paths of lanes have, and what sed takes for something else.
        self.folder = folder / "6.12+more"
        self.folder.mkdir()
        self.header, self.source = self.folder / "some.h", self.folder / "file.c"
        self.header.write_text(_HEADER)
        self.source.write_text(_SOURCE)
        settings = ccache.environment(folder, Kconfig(options, {}), "gcc 12")
        self.env = {**settings, "CCACHE_DIR": str(folder / "ccache"), "PATH": os.environ["PATH"]}

    def compile(self) -> str:
        """Compiles the file; which of ccache's counters has gone up."""
        before = self._count()
        proc.run(
            ["ccache", "gcc", "-O2", "-c", "-o", "file.o", self.source],
            cwd=self.folder,
            env=self.env,
        )
        after = self._count()
        (name,) = (name for name in after if after[name] != before[name])
        return name

    def _count(self) -> dict[str, int]:
        said = proc.run(["ccache", "--print-stats"], env=self.env).stdout
        numbers = dict(line.split("\t") for line in said.splitlines())
        wanted = ("direct_cache_hit", "preprocessed_cache_hit", "cache_miss")
        return {name: int(numbers[name]) for name in wanted}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, {})


def test_lines_added_to_a_header_are_no_other_file(desk: Desk) -> None:
    assert desk.compile() == "cache_miss"
    desk.header.write_text("#define SECOND 2\n" + "\n" * 20 + _HEADER)
    assert desk.compile() == "preprocessed_cache_hit"
    assert desk.compile() == "direct_cache_hit"


def test_a_declaration_added_to_a_header_is_another_file(desk: Desk) -> None:
    desk.compile()
    desk.header.write_text(_HEADER + "struct other;\n")
    assert desk.compile() == "cache_miss"


def test_lines_added_to_the_file_itself_are_another_file(desk: Desk) -> None:
    desk.compile()
    desk.source.write_text("\n" * 20 + _SOURCE)
    assert desk.compile() == "cache_miss"


def test_an_included_header_counts_though_it_adds_nothing(desk: Desk) -> None:
    """Or make would be told the prerequisites of another file."""
    desk.compile()
    (desk.folder / "none.h").write_text("#define THIRD 3\n")
    desk.header.write_text('#include "none.h"\n' + _HEADER)
    assert desk.compile() == "cache_miss"


@pytest.mark.parametrize("option", ["CONFIG_DEBUG_INFO", "CONFIG_KASAN", "CONFIG_UBSAN"])
def test_lines_count_where_they_get_into_object_files(tmp_path: Path, option: str) -> None:
    desk = Desk(tmp_path, {option: "y"})
    desk.compile()
    desk.header.write_text("#define SECOND 2\n" + "\n" * 20 + _HEADER)
    assert desk.compile() == "cache_miss"


def test_the_compiler_s_complaints_pass(desk: Desk) -> None:
    desk.source.write_text("int get(void) { return nothing; }\n")
    with pytest.raises(CommandFailed, match="undeclared"):
        desk.compile()


def test_make_is_told_only_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ccache.make_words() == (("CC=ccache gcc",) if shutil.which("ccache") else ())
    monkeypatch.setattr(proc, "find_tool", lambda _name: None)
    assert ccache.make_words() == ()
