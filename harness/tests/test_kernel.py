"""Configurations as values, series and stacks from TOML, patches on a real git tree."""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path
from threading import Thread

import pytest

from harness import proc
from harness.errors import ApplyError, ConfigError, SeriesError, UsageError
from harness.kernel import build, kconfig, series
from harness.kernel.build import Builder
from harness.kernel.kconfig import parse_kconfig
from harness.kernel.tree import Tree, git
from harness.model import Base, DirectorySource, Kernel, Series, Stack
from harness.workspace import PROJECT, Workspace

BASE = Base(name="6.12", source=DirectorySource(path=Path("/nowhere")))


def test_a_fragment_is_a_value() -> None:
    one = parse_kconfig("# why\nCONFIG_A=y\n# CONFIG_B is not set\n\n", "one.config")
    assert one.options == {"CONFIG_A": "y", "CONFIG_B": "n"}
    assert parse_kconfig(one.render(), "again").digest == one.digest
    both = one.merged(parse_kconfig('CONFIG_A=y\nCONFIG_S="x y"\n', "two.config"))
    assert both.options["CONFIG_S"] == '"x y"'


def test_fragments_that_disagree_are_an_error_that_names_both() -> None:
    one = parse_kconfig("CONFIG_A=y\n", "one.config")
    with pytest.raises(ConfigError, match=r"CONFIG_A is y in one.config and n in two.config"):
        one.merged(parse_kconfig("# CONFIG_A is not set\n", "two.config"))


@pytest.mark.parametrize("line", ["CONFIG_A", "A=y", "config_a=y", "CONFIG_A=y\nCONFIG_A=n"])
def test_a_line_that_is_no_option_is_an_error(line: str) -> None:
    with pytest.raises(ConfigError, match="x.config, line"):
        parse_kconfig(line, "x.config")


def test_what_the_kernel_did_not_honour_is_named() -> None:
    wanted = parse_kconfig("CONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\n", "f.config")
    actual = parse_kconfig("CONFIG_A=y\n", ".config")
    broken = wanted.find_broken(actual)
    assert broken == {"CONFIG_B": "n"}
    known = kconfig.explain_broken(wanted, broken, frozenset({"CONFIG_B"}))
    assert "CONFIG_B=y (f.config): the kernel made it n" in known.message
    unknown = kconfig.explain_broken(wanted, broken, frozenset())
    assert "no such option" in unknown.message
    assert "[absent]" in unknown.hint


def test_the_running_kernel_tells_its_configuration() -> None:
    raw = gzip.compress(b"CONFIG_AUDIT=y\n")
    assert kconfig.unpack_ikconfig(raw, "k").options == {"CONFIG_AUDIT": "y"}
    with pytest.raises(ConfigError, match="cannot be read"):
        kconfig.unpack_ikconfig(raw[:9], "k")


def test_the_projects_fragments_render_and_are_sorted() -> None:
    whole = kconfig.load(PROJECT / "kconfigs", "default", "6.12", {"vcpus": 2})
    assert whole.options["CONFIG_AUDIT"] == "y"
    assert whole.options["CONFIG_NR_CPUS"] == "2"
    without = kconfig.load(PROJECT / "kconfigs", "noaudit", "6.12", {"vcpus": 2})
    assert without.options["CONFIG_AUDIT"] == "n"
    for path in sorted((PROJECT / "kconfigs").glob("*.config*")):
        for paragraph in path.read_text().split("\n\n"):
            lines = [one for one in paragraph.splitlines() if one.startswith("CONFIG_")]
            assert lines == sorted(lines, key=lambda one: one.partition("=")[0]), path


def test_a_value_that_nobody_gives_and_an_unknown_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="vcpus"):
        kconfig.load(PROJECT / "kconfigs", "default", "6.12", {})
    with pytest.raises(UsageError, match="no configuration 'nosuch'"):
        kconfig.load(PROJECT / "kconfigs", "nosuch", "6.12", {"vcpus": 2})
    (tmp_path / "configs.toml").write_text('[configs]\ndefault = ["gone"]\n')
    with pytest.raises(ConfigError, match="'gone'"):
        kconfig.load(tmp_path, "default", "6.12", {})


# -- series and stacks ---------------------------------------------------------------

BASES = '["6.12"]\nkind = "directory"\npath = "/nowhere"\n'
SERIES = 'title = "T"\norigin = "unfix"\n'


def folder(root: Path, stacks: str, entry: str = SERIES, patches: int = 1) -> Path:
    (root / "s" / "6.12").mkdir(parents=True)
    (root / "bases.toml").write_text(BASES)
    (root / "stacks.toml").write_text(stacks)
    (root / "s" / "series.toml").write_text(entry)
    for number in range(patches):
        (root / "s" / "6.12" / f"000{number + 1}-x.patch").touch()
    return root


def test_families_give_stacks(tmp_path: Path) -> None:
    made = series.load(folder(tmp_path, '[f]\nseries = ["s"]\nbases = ["6.12"]\n', patches=2))
    assert set(made.stacks) == {"vanilla-6.12", "f-6.12"}
    assert [path.name[:4] for path in made.stacks["f-6.12"].patches] == ["0001", "0002"]
    with pytest.raises(UsageError) as caught:
        made.require_stack("f-6.13")
    assert "f-6.12" in caught.value.hint


@pytest.mark.parametrize(
    ("stacks", "entry", "said"),
    [
        ("[f", SERIES, "is not TOML"),
        ('[f]\nseries = "s"\nbases = ["6.12"]\n', SERIES, "'series' must be a list"),
        ('[f]\nseries = ["s"]\nbase = ["6.12"]\n', SERIES, "unknown key 'base'"),
        ('[f]\nseries = ["t"]\nbases = ["6.12"]\n', SERIES, "no series 't'"),
        ('[f]\nseries = ["s"]\nbases = ["5.4"]\n', SERIES, "no base '5.4'"),
        ("", 'title = "T"\norigin = "hearsay"\n', "'hearsay' is unknown"),
        ("", 'origin = "ours"\n', "'title' must be a string"),
        ('[f]\nseries = ["s"]\nbases = ["6.12"]\n', SERIES + 'needs = ["t"]\n', "needs t before"),
        ("f = 1\n", SERIES, "is not a table"),
    ],
)
def test_malformed_files_name_what_is_wrong(
    tmp_path: Path, stacks: str, entry: str, said: str
) -> None:
    with pytest.raises(SeriesError, match=said):
        series.load(folder(tmp_path, stacks, entry))


def test_a_series_without_patches_for_the_base(tmp_path: Path) -> None:
    root = folder(tmp_path, '[f]\nseries = ["s"]\nbases = ["6.12"]\n', patches=0)
    with pytest.raises(SeriesError, match=r"no patches for base 6.12"):
        series.load(root)


def test_the_projects_own_patches_are_in_order() -> None:
    made = series.load(PROJECT / "kernel-patches")
    scenarios = {path.parent.name for path in (PROJECT / "scenarios").glob("*/test_*.py")}
    for one in made.series.values():
        assert set(one.proves) <= scenarios, one.name
        for config in one.without:
            assert kconfig.load(PROJECT / "kconfigs", config, "6.12", {"vcpus": 2}).options
        for path in (path for paths in one.patches.values() for path in paths):
            text = path.read_text()
            assert text.startswith("From 0000000000000000000000000000000000000000 "), path
            assert "\nFrom: nsaudit <nsaudit@localhost>\n" in text, path
            assert "Signed-off-by" not in text, path


def test_every_unfix_is_kept_for_every_base() -> None:
    made = series.load(PROJECT / "kernel-patches")
    unfixes = {name for name in made.series if name.startswith("unfix/")}
    for base in made.bases:
        stacks = [stack for stack in made.stacks.values() if stack.base.name == base]
        assert unfixes <= {one.name for stack in stacks for one in stack.series}, base


@pytest.mark.parametrize(
    ("name", "base"),
    [("ids-6.12", "vanilla-6.12"), ("prototype-7.3", "ids-7.3"), ("vanilla-6.1", "vanilla-6.1")],
)
def test_a_stack_is_compared_with_what_its_series_need(name: str, base: str) -> None:
    made = series.load(PROJECT / "kernel-patches")
    assert made.base_of(made.require_stack(name)).name == base


def test_a_stack_that_nothing_can_be_compared_with_is_an_error() -> None:
    made = series.load(PROJECT / "kernel-patches")
    fewer = {name: one for name, one in made.stacks.items() if name != "ids-6.12"}
    made = dataclasses.replace(made, stacks=fewer)
    with pytest.raises(SeriesError, match="no stack on 6.12 has contid, nsid and nothing else"):
        made.base_of(made.require_stack("prototype-6.12"))


# -- patches on a tree -------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    repository = tmp_path / "tree"
    repository.mkdir()
    git(repository, "init", "--quiet")
    (repository / "a.c").write_text("".join(f"line {number}\n" for number in range(30)))
    (repository / "b.c").write_text("other\n")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "root")
    workspace = Workspace(tmp_path / "state")
    return Tree(workspace, BASE, repository, git(repository, "rev-parse", "HEAD"))


def patch(tree: Tree, old: str, new: str, tmp_path: Path) -> Stack:
    file = tree.folder / "a.c"
    text = file.read_text()
    file.write_text(text.replace(old, new))
    git(tree.folder, "commit", "--quiet", "-am", "change")
    words = ("format-patch", "-q", "-1", "-o", tmp_path / "patches")
    git(tree.folder, *words)
    git(tree.folder, "reset", "--quiet", "--hard", tree.root)
    (path,) = (tmp_path / "patches").glob("*.patch")
    one = Series(name="s", title="T", origin="ours", needs=(), proves=(), patches={"6.12": (path,)})
    return Stack(name="s-6.12", base=BASE, series=(one,))


def test_a_stack_is_a_commit_and_the_worktree_is_left_alone(tree: Tree, tmp_path: Path) -> None:
    stack = patch(tree, "line 9\n", "LINE 9\n", tmp_path)
    before = (tree.folder / "a.c").stat().st_mtime_ns, (tree.folder / "b.c").stat().st_mtime_ns
    commit = tree.commit_of(stack)
    assert "LINE 9" in git(tree.folder, "show", f"{commit}:a.c")
    assert tree.commit_of(stack) == commit
    assert tree.tree_of(commit) != tree.tree_of(tree.root)
    after = (tree.folder / "a.c").stat().st_mtime_ns, (tree.folder / "b.c").stat().st_mtime_ns
    assert before == after
    assert tree.commit_of(Stack(name="vanilla-6.12", base=BASE)) == tree.root
    # Checked out, only the file that differs is touched: that is what make looks at.
    tree.check_out(commit)
    assert (tree.folder / "b.c").stat().st_mtime_ns == before[1]
    assert (tree.folder / "a.c").stat().st_mtime_ns != before[0]


def test_a_patch_with_fuzz_names_itself_the_file_and_the_next_step(
    tree: Tree, tmp_path: Path
) -> None:
    stack = patch(tree, "line 9\n", "LINE 9\n", tmp_path)
    path = stack.patches[0]
    # Three lines of context are there; one of them is not what the tree has.
    path.write_text(path.read_text().replace("\n line 7\n", "\n line seven\n"))
    with pytest.raises(ApplyError) as caught:
        tree.commit_of(stack)
    assert path.name in caught.value.message
    assert "a.c" in caught.value.message
    assert "nsaudit patches edit s-6.12" in caught.value.hint
    assert git(tree.folder, "worktree", "list").count("\n") == 0


def test_a_patch_that_is_in_the_base_already(tree: Tree, tmp_path: Path) -> None:
    stack = patch(tree, "line 9\n", "LINE 9\n", tmp_path)
    (tree.folder / "a.c").write_text((tree.folder / "a.c").read_text().replace("line 9", "LINE 9"))
    git(tree.folder, "commit", "--quiet", "-am", "upstream")
    newer = Tree(tree.workspace, BASE, tree.folder, git(tree.folder, "rev-parse", "HEAD"))
    with pytest.raises(ApplyError, match=r"is in 6.12 already"):
        newer.commit_of(stack)


# -- a developer's own tree --------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (("README",), "is no kernel tree"),
        (("Kconfig",), "is no kernel tree"),
        (("Kconfig", "Makefile", ".config"), "was built in place"),
        (("Kconfig", "Makefile", "include/config/auto.conf"), "was built in place"),
        (("Kconfig", "Makefile", "arch/x86/include/generated/a.h"), "was built in place"),
    ],
)
def test_a_folder_that_cannot_be_built_out_of_tree(
    tmp_path: Path, there: tuple[str, ...], said: str
) -> None:
    for name in there:
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    workspace = Workspace(tmp_path / "state")
    builder = Builder(workspace=workspace, kconfigs=PROJECT / "kconfigs", values={"vcpus": 2})
    with pytest.raises(UsageError, match=said):
        builder.build_directory(tmp_path / "mine", BASE)


def test_a_kernel_that_is_there_does_not_wait_for_a_build(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = tree.workspace
    monkeypatch.setattr(build, "open_tree", lambda *_: tree)
    monkeypatch.setattr(build, "compiler", lambda: "gcc 12")

    def compile_it(
        _builder: Builder, _stack: Stack, _source: Path, objects: Path, *_words: object
    ) -> None:
        # What make would leave, as far as it is kept.
        for name in ("vmlinux", "System.map", ".config", "include/config/kernel.release"):
            (objects / name).parent.mkdir(parents=True, exist_ok=True)
            (objects / name).write_text("6.12.0\n")

    monkeypatch.setattr(Builder, "compile", compile_it)
    builder = Builder(workspace=workspace, kconfigs=PROJECT / "kconfigs", values={"vcpus": 2})
    vanilla = Stack(name="vanilla-6.12", base=BASE)
    first = builder.build(vanilla)
    found: list[Kernel] = []
    waiting = Thread(target=lambda: found.append(builder.build(vanilla)), daemon=True)
    # Somebody builds in its lane.
    with workspace.lock(build.lane_lock("6.12")):
        waiting.start()
        waiting.join(10.0)
        assert found == [first]


def test_git_is_there() -> None:
    assert proc.find_tool("git")


def test_an_optional_option_may_be_unknown_but_not_off() -> None:
    wanted = dataclasses.replace(
        parse_kconfig("CONFIG_A=y\nCONFIG_B=y\n", "f.config"), optional=frozenset({"CONFIG_B"})
    )
    assert wanted.find_broken(parse_kconfig("CONFIG_A=y\n", ".config")) == {}
    off = parse_kconfig("CONFIG_A=y\n# CONFIG_B is not set\n", ".config")
    assert wanted.find_broken(off) == {"CONFIG_B": "n"}
    merged = wanted.merged(parse_kconfig("CONFIG_C=y\n", "g.config"))
    assert merged.find_broken(off) == {"CONFIG_B": "n", "CONFIG_C": "n"}
    assert merged.without(frozenset({"CONFIG_A"})).optional == {"CONFIG_B"}


def test_the_default_does_not_ask_for_the_tests_of_series() -> None:
    debug, whole = (
        kconfig.load(PROJECT / "kconfigs", name, "6.12", {"vcpus": 2})
        for name in ("debug", "default")
    )
    kunit = ("CONTID", "NS", "USERNS")
    assert debug.optional == {f"CONFIG_AUDIT_{one}_KUNIT_TEST" for one in kunit}
    assert whole.optional == frozenset()
