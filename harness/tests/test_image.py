"""What an image is made of, and what is said when it cannot be made; mmdebstrap never runs."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import proc
from harness.errors import HarnessError
from harness.image import bootstrap, root
from harness.image.bootstrap import Recipe, missing_ids, reason
from harness.image.layer import PAM12
from harness.workspace import Workspace

IMAGE = Path(root.__file__).parent
FILES = sorted(
    path for path in IMAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A script and a folder with a file in it."""
    (tmp_path / "a folder" / "etc").mkdir(parents=True)
    (tmp_path / "a folder" / "etc" / "file").write_text("content")
    (tmp_path / "script.sh").write_text("true")
    return Recipe(
        kind="root",
        name="test",
        packages=("one", "two"),
        given=(tmp_path / "script.sh", tmp_path / "a folder"),
        outputs=("test.erofs",),
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """An empty state folder, in which nothing unfinished may stay behind."""
    space = Workspace(tmp_path / "state")
    yield space
    assert not list((tmp_path / "state" / "tmp").iterdir())


def filling(content: str) -> object:
    """In the place of mmdebstrap: writes the output."""

    def fill(_workspace: Workspace, recipe: Recipe, folder: Path) -> None:
        (folder / recipe.outputs[0]).write_text(content)

    return fill


def ignore(_line: str) -> None:
    """Who is told nothing."""


# -- what goes in ------------------------------------------------------------------------


def test_packages_are_lines_without_comments() -> None:
    assert root.parse_packages("# Why.\none\n\ntwo  # and why\n") == ("one", "two")


def test_every_group_of_packages_is_explained_and_sorted() -> None:
    groups = (IMAGE / "packages.txt").read_text().strip().split("\n\n")
    for group in groups:
        comment, *names = group.splitlines()
        assert comment.startswith("# ")
        assert names == sorted(set(names))
    names = list(root.recipe().packages)
    assert len(names) == len(set(names))


def test_what_is_given_exists() -> None:
    for one in (root.recipe(), PAM12):
        assert all(path.exists() for path in one.given)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_names_an_archive(path: Path) -> None:
    assert not re.search(r"(https?|ftp)://", path.read_text())


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".sh"], ids=str)
def test_scripts_are_clean(path: Path) -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("no shellcheck")
    assert proc.run(["shellcheck", path], check=False).stdout == ""


def test_the_old_pam_differs_in_one_line() -> None:
    (patch,) = (path for path in PAM12.given if path.suffix == ".patch")
    lines = patch.read_text().splitlines()
    changed = [line for line in lines if re.match(r"[-+](?![-+]|\s*$)", line)]
    assert changed == ["-      if (rc == -EPERM)", "+      if (rc == -EPERM && getuid() != 0)"]
    assert "From: nsaudit <nsaudit@localhost>" in lines
    assert not any(line.startswith("Signed-off-by:") for line in lines)


# -- the key -----------------------------------------------------------------------------


def test_key_follows_what_is_in_it(recipe: Recipe) -> None:
    keys = {recipe.key, dataclasses.replace(recipe, packages=("one",)).key}
    (recipe.given[0]).write_text("false")
    keys.add(recipe.key)
    (recipe.given[1] / "etc" / "file").write_text("other")
    keys.add(recipe.key)
    (recipe.given[1] / "etc" / "file").rename(recipe.given[1] / "file")
    keys.add(recipe.key)
    assert len(keys) == 5


def test_key_is_the_same_in_another_checkout(recipe: Recipe, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in recipe.given:
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, elsewhere / path.name)
    os.utime(elsewhere / "script.sh", (1, 1))
    moved = tuple(elsewhere / path.name for path in recipe.given)
    assert dataclasses.replace(recipe, given=moved).key == recipe.key


# -- making it ---------------------------------------------------------------------------


def test_made_once(recipe: Recipe, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    for content in ("first", "second"):
        monkeypatch.setattr(bootstrap, "_bootstrap", filling(content))
        path = bootstrap.make(workspace, recipe, fresh=False, on_line=said.append)
        assert path.read_text() == "first"
    assert [line.split()[0] for line in said] == ["making", "made"]


def test_fresh_replaces_and_keeps_the_old_one_when_it_fails(
    recipe: Recipe, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_rest: object) -> None:
        raise HarnessError("no network")

    monkeypatch.setattr(bootstrap, "_bootstrap", filling("old"))
    old = bootstrap.make(workspace, recipe, fresh=False, on_line=ignore)
    monkeypatch.setattr(bootstrap, "_bootstrap", fail)
    with pytest.raises(HarnessError, match="no network"):
        bootstrap.make(workspace, recipe, fresh=True, on_line=ignore)
    assert old.read_text() == "old"

    monkeypatch.setattr(bootstrap, "_bootstrap", filling("new"))
    new = bootstrap.make(workspace, recipe, fresh=True, on_line=ignore)
    assert new == old
    assert new.read_text() == "new"


def test_command_of_mmdebstrap(
    recipe: Recipe, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a script here: it keeps its arguments and its sources, and fails."""
    script = tmp_path / "bin" / "mmdebstrap"
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/argv\nfor last; do :; done\n'
        f'cp "$last" {tmp_path}/sources\necho "epoch $SOURCE_DATE_EPOCH"\nexit 25\n'
    )
    script.chmod(0o755)
    (tmp_path / "bin" / "mkfs.erofs").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("NSAUDIT_DEBIAN_MIRROR", "http://mirror.example/debian")
    monkeypatch.setattr(bootstrap, "_mode", lambda: "unshare")

    with pytest.raises(HarnessError, match="could not make test: epoch 1700000000") as caught:
        bootstrap.make(workspace, recipe, fresh=False, on_line=ignore)

    assert caught.value.log is not None
    assert "epoch" in caught.value.log.read_text()
    argv = (tmp_path / "argv").read_text().splitlines()
    assert "--mode=unshare" in argv
    assert "--include=one,two" in argv
    copy = next(word for word in argv if word.startswith("--customize-hook=copy-in"))
    assert shlex.split(copy)[1:] == [*map(str, recipe.given), "/mnt"]
    sources = (tmp_path / "sources").read_text().splitlines()
    assert [line.split()[-2] for line in sources] == list(bootstrap.SUITES)
    assert workspace.find("root", recipe.key) is None


# -- why not -----------------------------------------------------------------------------

OWN = """\
I: main() received signal PIPE: waiting for setup...
I: removing tempdir /tmp/mmdebstrap.OvYy5r5qxG...
E: mmdebstrap failed to run
"""


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (
            "I: installing remaining packages inside the chroot...\n"
            "Reading package lists...\n"
            "E: Unable to locate package no-such-package\n"
            "E: run_chroot failed: E: pid 13 failed\n" + OWN,
            "Unable to locate package no-such-package",
        ),
        (
            "make: *** libpam: No such file or directory.  Stop.\n"
            'E: setup failed: E: command failed: sh "$1"/mnt/build.sh "$1"\n' + OWN,
            "make: *** libpam: No such file or directory.  Stop.",
        ),
        (
            "Err:1 http://mirror.example/debian bookworm InRelease\n"
            "  Could not connect to mirror.example:80. - connect (111: Connection refused)\n"
            "E: Failed to fetch http://mirror.example/debian/dists/bookworm/InRelease\n"
            "E: Some index files failed to download.\n" + OWN,
            "Failed to fetch http://mirror.example/debian/dists/bookworm/InRelease",
        ),
        ("mmdebstrap: out of memory\n", "mmdebstrap: out of memory"),
        ("", "it said nothing"),
    ],
)
def test_reason_is_the_cause(output: str, line: str) -> None:
    assert reason(output) == line


@pytest.mark.parametrize(
    ("subuid", "subgid", "command"),
    [
        ("me:100000:65536\n", "me:100000:65536\n", ""),
        (
            "",
            "",
            "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 me",
        ),
        (
            "you:100000:65536\nme:165536:65536\n",
            "you:100000:65536\n",
            "sudo usermod --add-subgids 165536-231071 me",
        ),
        # Too few for a Debian: nobody is 65534.
        ("me:500000:1000\n", "me:1:65536\n", "sudo usermod --add-subuids 501000-566535 me"),
    ],
)
def test_missing_ids_are_free_ones(subuid: str, subgid: str, command: str) -> None:
    assert missing_ids("me", subuid, subgid) == command
