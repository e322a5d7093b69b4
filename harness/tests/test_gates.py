"""Each gate passes and fails on a tree that is small, but made of git, make and gcc."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from harness.errors import GuestCrashed, HostMissing
from harness.kernel import gates
from harness.kernel.build import Builder
from harness.kernel.gates import Inspector
from harness.kernel.tree import export, git, open_tree
from harness.model import Base, DirectorySource, Kernel, PatchCheck, Series, Stack
from harness.report.gates import as_plain, print_checks, tabulate
from harness.workspace import PROJECT, Workspace

pytestmark = pytest.mark.tools

MAKEFILE = """\
-include $(O)/.config
allnoconfig:
\t@cp $(KCONFIG_ALLCONFIG) $(KCONFIG_CONFIG)
vmlinux: $(O)/a.o $(O)/b.o
\t@cat $^ > $(O)/vmlinux
$(O)/%.o: %.c a.h
\t@echo "  CC      $*.o"
\t@gcc -S -Wall $(if $(CONFIG_A),-DCONFIG_A) -I$(CURDIR) -o $@ $(CURDIR)/$<
"""
# They complain of a word each, as the real ones do of what they look for.
CHECKPATCH = """\
print STDERR "No codespell typos will be found\\n" if -e "no-dictionary";
@ARGV = grep { !/^--/ } @ARGV;
my $line = 0;
while (<>) { $line++; print "a.c:$line: WARNING:UGLY: ugly\\n" if /^\\+.*ugly/; }
"""
KERNEL_DOC = """\
#!/bin/sh
grep -n undocumented /dev/null a.c | sed 's/^\\(a.c:[0-9]*\\):.*/\\1: warning: undocumented/' >&2
"""
SOURCE = '#include "a.h"\nint first(void);\nint first(void)\n{\n\treturn 1;\n}\n'


class Boots:
    """Remembers what was booted; crashes on what it is told to."""

    def __init__(self) -> None:
        self.trees: list[str] = []
        self.crash = False

    def __call__(self, kernel: Kernel) -> None:
        assert kernel.vmlinux.is_file()
        self.trees.append(kernel.tree)
        if self.crash:
            raise GuestCrashed("the kernel crashed: Oops")


class Bench:
    """A base, a place for patches, and the gates."""

    def __init__(self, root: Path) -> None:
        self.source = root / "linux"
        (self.source / "scripts").mkdir(parents=True)
        for name, text in (
            ("Kconfig", ""),
            ("Makefile", MAKEFILE),
            ("a.h", "/* header */\n"),
            ("a.c", SOURCE),
            ("b.c", "static int unused_before;\n"),
            ("scripts/checkpatch.pl", CHECKPATCH),
            ("scripts/kernel-doc", KERNEL_DOC),
        ):
            (self.source / name).write_text(text)
        (self.source / "scripts" / "kernel-doc").chmod(0o755)
        kconfigs = root / "kconfigs"
        kconfigs.mkdir()
        (kconfigs / "configs.toml").write_text('[configs]\ndefault = ["on"]\noff = ["off"]\n')
        (kconfigs / "on.config").write_text("CONFIG_A=y\n")
        (kconfigs / "off.config").write_text("# CONFIG_A is not set\n")
        self.base = Base(name="6.12", source=DirectorySource(path=self.source))
        self.workspace = Workspace(root / "state")
        self.boots = Boots()
        builder = Builder(workspace=self.workspace, kconfigs=kconfigs, values={})
        self.inspector = Inspector(builder=builder, ignored={}, boot=self.boots)
        self.home = root / "s" / "6.12"
        self.home.mkdir(parents=True)

    def write(self, *changes: Callable[[str], str]) -> None:
        """Writes the series: a patch for each change of ``a.c``."""
        with self.workspace.lock("tree-6.12"):
            tree = open_tree(self.workspace, self.base)
        for path in self.home.iterdir():
            path.unlink()
        with self.workspace.scratch() as scratch:
            folder = scratch / "w"
            git(tree.folder, "worktree", "add", "--quiet", "--detach", folder, tree.root)
            for number, change in enumerate(changes, 1):
                file = folder / "a.c"
                file.write_text(change(file.read_text()))
                git(folder, "commit", "--quiet", "--all", "-m", f"a: change number {number}")
            export(folder, tree.root, "HEAD", self.home)
            git(tree.folder, "worktree", "remove", "--force", folder)

    @property
    def stack(self) -> Stack:
        patches = {"6.12": tuple(sorted(self.home.glob("*.patch")))}
        one = Series(
            name="s",
            title="T",
            origin="ours",
            needs=(),
            proves=(),
            patches=patches,
            without=("off",),
        )
        return Stack(name="s-6.12", base=self.base, series=(one,))

    def check(self) -> list[PatchCheck]:
        return list(self.inspector.check(self.stack))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def add(text: str) -> Callable[[str], str]:
    return lambda old: old + text


def failed(check: PatchCheck) -> set[str]:
    return {name for name, lines in check.gates.items() if lines}


GOOD = add("int more(void);\nint more(void)\n{\n\treturn 2;\n}\n")


def test_good_patches_pass_every_gate_and_once_is_enough(bench: Bench) -> None:
    bench.write(GOOD, lambda old: old.replace("return 2", "return 3"))
    for check in bench.check():
        assert check.passed
        assert list(check.gates) == [
            *(gates.APPLIES, gates.EXPORT, gates.CHECKPATCH, gates.DOC, gates.BUILDS),
            *("off", gates.BOOTS),
        ]
    assert len(bench.boots.trees) == 2
    bench.check()
    assert len(bench.boots.trees) == 2
    # Only what comes after a change is looked at again.
    bench.write(GOOD, lambda old: old.replace("return 2", "return 4"))
    assert all(check.passed for check in bench.check())
    assert len(bench.boots.trees) == 3


def test_an_old_kernel_doc_is_asked_for_every_warning_in_its_own_words(bench: Bench) -> None:
    old = """\
#!/bin/sh
case $* in
*-Wall*) echo 'Argument unknown!'; exit 1 ;;
*-v*) grep -n undocumented a.c | sed 's/^\\([0-9]*\\):.*/a.c:\\1: warning: undocumented/' >&2 ;;
esac
"""
    (bench.source / "scripts" / "kernel-doc").write_text(old)
    bench.write(GOOD, add("/* undocumented */\n"))
    first, second = bench.check()
    assert first.passed
    assert failed(second) == {gates.DOC}


def test_a_gate_fails_at_the_patch_that_is_to_blame(bench: Bench) -> None:
    bad = {
        "/* ugly */\n": {gates.CHECKPATCH: "WARNING:UGLY: ugly"},
        "/* undocumented */\n": {gates.DOC: "undocumented"},
        "static int lonely;\n": {gates.BUILDS: "lonely", "off": "lonely"},
        "#ifndef CONFIG_A\nstatic int alone;\n#endif\n": {"off": "alone"},
    }
    bench.write(GOOD, *map(add, bad), add("/* last */\n"))
    first, *between, last = bench.check()
    assert first.passed
    assert last.passed
    for check, said in zip(between, bad.values(), strict=True):
        assert failed(check) == set(said)
        for gate, text in said.items():
            assert text in check.gates[gate][0]


def test_a_configuration_that_does_not_build_is_told_of_each_patch(bench: Bench) -> None:
    bench.write(GOOD, add("#ifndef CONFIG_A\n#error off\n#endif\n"), add("/* last */\n"))
    first, *others = bench.check()
    assert first.passed
    for check in others:
        assert failed(check) == {"off"}
        assert "does not build: " in check.gates["off"][0]


def test_what_does_not_build_is_not_booted_nor_remembered(bench: Bench) -> None:
    bench.write(add("#error no\n"), lambda old: old.replace("#error no\n", ""))
    for _ in range(2):
        first, second = bench.check()
        assert failed(first) == {gates.BUILDS, "off"}
        assert gates.BOOTS not in first.gates
        assert second.passed


def test_a_kernel_that_crashes_is_booted_again_next_time(bench: Bench) -> None:
    bench.write(GOOD)
    bench.boots.crash = True
    (check,) = bench.check()
    assert failed(check) == {gates.BOOTS}
    assert "Oops" in check.gates[gates.BOOTS][0]
    bench.boots.crash = False
    (check,) = bench.check()
    assert check.passed


def test_from_a_patch_that_does_not_apply_nothing_is_reached(bench: Bench) -> None:
    bench.write(GOOD, add("/* two */\n"), add("/* three */\n"))
    second = sorted(bench.home.iterdir())[1]
    second.write_text(
        second.read_text()
        .replace("\n return 2;", "\n return two;")
        .replace("\n \treturn 2;", "\n \treturn two;")
    )
    one, two, three = bench.check()
    assert one.passed
    assert list(two.gates) == [gates.APPLIES]
    assert "does not apply" in two.gates[gates.APPLIES][0]
    assert "nsaudit patches edit s-6.12" in two.gates[gates.APPLIES][-1]
    assert three.gates == {}
    assert not three.passed


def test_a_patch_is_what_exporting_makes_of_it(bench: Bench) -> None:
    bench.write(GOOD)
    (path,) = bench.home.iterdir()
    path.write_text(path.read_text().replace("Subject: [PATCH] a:", "Subject: [PATCH 1/1] a:"))
    (check,) = bench.check()
    assert failed(check) == {gates.EXPORT}
    assert "[PATCH 1/1] a:" in check.gates[gates.EXPORT][0]
    bench.write(GOOD)
    path.rename(path.with_name("0001-other.patch"))
    (check,) = bench.check()
    assert "it is called 0001-a-change-number-1.patch" in check.gates[gates.EXPORT][0]


def test_a_patch_may_have_been_exported_from_elsewhere(bench: Bench) -> None:
    bench.write(GOOD)
    (path,) = bench.home.iterdir()
    here = path.read_text()
    # In another stack of its series there are nine lines more above, and so other blobs.
    path.write_text(
        re.sub(
            r"^index \w+\.\.\w+|^@@ -(\d+),(\d+) \+(\d+),(\d+) @@",
            lambda found: (
                f"@@ -{int(found[1]) + 9},{found[2]} +{int(found[3]) + 9},{found[4]} @@"
                if found[1]
                else f"index {'1' * 40}..{'2' * 40}"
            ),
            here,
            flags=re.MULTILINE,
        )
    )
    changed = [one for one in path.read_text().splitlines() if one not in here.splitlines()]
    assert [line.split()[0] for line in changed] == ["index", "@@"]
    (check,) = bench.check()
    assert not failed(check)
    # Anything else in such a line is no place.
    path.write_text(path.read_text().replace(f"{'2' * 40} 100644", f"{'2' * 40}"))
    (check,) = bench.check()
    assert failed(check) == {gates.EXPORT}


def test_the_objects_remember_their_warnings(bench: Bench) -> None:
    bench.write(GOOD, add("static int lonely;\n"))
    assert failed(bench.check()[1]) == {gates.BUILDS, "off"}
    # What the last builds said is gone, and the objects are as they left them: nothing has to
    # be compiled, and nothing is said again.
    for entry in (bench.workspace.root / "cache" / "gate").iterdir():
        if "lonely" in (entry / "complaints.json").read_text():
            bench.workspace.drop("gate", entry.name)
    assert failed(bench.check()[1]) == {gates.BUILDS, "off"}


def test_a_checker_that_cannot_work_is_an_error_with_the_remedy(bench: Bench) -> None:
    (bench.source / "no-dictionary").touch()
    bench.write(GOOD)
    with pytest.raises(HostMissing) as caught:
        bench.check()
    assert "No codespell typos" in caught.value.message
    assert "apt-get install codespell" in caught.value.hint


def test_a_program_that_is_missing_is_an_error_with_the_remedy(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write(GOOD)
    monkeypatch.setattr(
        "harness.proc.find_tool", lambda name: None if name == "perl" else Path(name)
    )
    with pytest.raises(HostMissing, match="no perl") as caught:
        bench.check()
    assert "apt-get install perl" in caught.value.hint


def test_every_ignored_type_has_a_reason() -> None:
    ignored = gates.load_ignored(PROJECT / "kernel-patches" / "checkpatch.toml")
    assert all(len(reason) > 20 for reason in ignored.values())
    assert list(ignored) == sorted(ignored)


CHECKS = (
    PatchCheck(
        series="s", patch="0001-a.patch", subject="a: " + "long " * 20, gates={"applies": ()}
    ),
    PatchCheck(
        series="s",
        patch="0002-b.patch",
        subject="b: short",
        gates={"applies": (), "checkpatch": tuple(f"line {number}" for number in range(12))},
    ),
    PatchCheck(series="s", patch="0003-c.patch", subject="c", gates={}),
)


def test_the_table_fits_a_terminal_and_hides_nothing() -> None:
    columns, rows = tabulate(CHECKS)
    assert columns == ["patch", "applies", "checkpatch"]
    assert [list(row[1:]) for row in rows] == [["ok", "-"], ["ok", "FAIL"], ["-", "-"]]
    console = Console(width=80, record=True, force_terminal=True, file=io.StringIO())
    print_checks("s-6.12", CHECKS, console)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert "  and 2 more (--json has them)" in lines
    assert lines[-1] == "s-6.12: 1 of 3 patches pass every gate"
    plain = as_plain("s-6.12", CHECKS)
    assert plain["passed"] is False
