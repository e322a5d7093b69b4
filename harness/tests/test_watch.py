"""What makes a round of ``nsaudit watch``, and what it runs."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

import pytest

from harness.commands import watch
from harness.errors import UsageError


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    watch.add_words(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("kernel/audit.c", True),
        ("Makefile", True),
        ("netlink-errno/tables/vanilla.tsv", True),
        (".git/index", False),
        ("kernel/.audit.c.swp", False),
        ("kernel/audit.c~", False),
        ("kernel/4913", False),
        ("vsftpd-pidns/__pycache__/test.pyc", False),
    ],
)
def test_what_can_change_a_verdict(name: str, kept: bool) -> None:
    assert watch.matters(Path(name)) == kept


def test_a_save_is_a_round_and_several_at_a_time_are_one(tmp_path: Path) -> None:
    # A tree may lie below a hidden folder.
    tree = tmp_path / ".trees" / "linux"
    (tree / "kernel").mkdir(parents=True)
    (tree / ".git").mkdir()
    with contextlib.closing(watch.rounds([tree])) as rounds:  # type: ignore[type-var]
        assert next(rounds) == ""
        (tree / ".git" / "index").write_text("git's own")
        (tree / "kernel" / "audit.c").write_text("int a;")
        (tree / "kernel" / "audit.h").write_text("int b;")
        assert set(next(rounds).split(", ")) == {"kernel/audit.c", "kernel/audit.h"}
        # Most editors write beside a file and put that in its place.
        (tree / "kernel" / "audit.c~").write_text("int c;")
        (tree / "kernel" / "audit.c~").replace(tree / "kernel" / "audit.c")
        assert next(rounds) == "kernel/audit.c"


def test_a_round_is_a_run_of_the_tree(tmp_path: Path) -> None:
    words = watch.command(options("netlink-errno", "--tree", str(tmp_path), "--base", "7.3"))
    assert [str(word) for word in words[2:]] == [
        *("harness", "run", "netlink-errno"),
        *("--tree", str(tmp_path), "--config", "default", "--base", "7.3"),
    ]
    assert watch.command(options("--tree", ".", "--cold"))[-1] == "--cold"


def test_a_tree_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        watch.act(options("--tree", str(tmp_path / "none")))
