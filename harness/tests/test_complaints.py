"""Real words of checkpatch, kernel-doc and gcc, read and compared."""

from __future__ import annotations

from pathlib import Path

from harness.kernel.complaints import (
    Complaint,
    find_new,
    merge,
    parse_checkpatch,
    parse_compiled,
    parse_warnings,
)

DATA = Path(__file__).parent / "data" / "patches"


def read(name: str) -> str:
    return (DATA / name).read_text()


def test_checkpatch_names_the_place_in_the_file_that_comes_of_the_patch() -> None:
    message, *others = parse_checkpatch(read("checkpatch.txt"))
    assert str(message).startswith("commit message: WARNING:COMMIT_LOG_LONG_LINE: ")
    assert [(one.file, one.line, one.text.split(":")[1]) for one in others] == [
        ("include/uapi/linux/audit.h", 74, "LONG_LINE_COMMENT"),
        ("kernel/audit_contid.c", 90, "FILE_PATH_CHANGES"),
        ("kernel/audit_contid.c", 346, "CAMELCASE"),
    ]


def test_both_forms_of_kernel_doc() -> None:
    perl = parse_warnings(read("kernel-doc-6.12.txt"))
    assert perl[0] == Complaint(
        "kernel/fork.c", 1525, "No description found for return value of 'get_mm_exe_file'"
    )
    assert len(perl) == 4
    python = parse_warnings(read("kernel-doc-7.3.txt"))
    assert [(one.file, one.line) for one in python] == [
        ("kernel/audit.c", line) for line in (231, 269, 280)
    ]


def test_a_build_names_files_from_the_tree_and_each_place_once() -> None:
    text = read("gcc.txt")
    found = parse_warnings(text + text, "6.12-gates")
    assert [(one.file, one.line) for one in found] == [
        ("kernel/audit.c", 2),
        ("kernel/audit.c", 4),
        ("kernel/audit.c", 4),
        ("kernel/audit.c", 9),
        ("kernel/audit.h", 3),
    ]
    assert parse_compiled(text) == {"kernel/audit"}


def test_what_has_moved_is_not_new_and_what_is_there_once_more_is() -> None:
    old = [Complaint("a.c", 5, "unused"), Complaint("b.c", 1, "other")]
    assert find_new(old, [Complaint("a.c", 9, "unused")]) == ()
    twice = [Complaint("a.c", 2, "unused"), Complaint("a.c", 9, "unused")]
    assert find_new(old, twice) == (twice[1],)
    assert find_new(old, [Complaint("c.c", 5, "unused")]) == (Complaint("c.c", 5, "unused"),)


def test_what_was_compiled_again_has_said_everything_anew() -> None:
    known = [
        Complaint("a.c", 5, "mended since"),
        Complaint("b.c", 1, "not compiled again"),
        Complaint("h.h", 3, "moved"),
        Complaint("vmlinux.o", 0, "modpost: mended since"),
    ]
    seen = [Complaint("a.c", 7, "fresh"), Complaint("h.h", 4, "moved")]
    assert merge(known, seen, frozenset({"a"})) == (
        Complaint("a.c", 7, "fresh"),
        Complaint("b.c", 1, "not compiled again"),
        Complaint("h.h", 4, "moved"),
    )
    assert merge(known, [], frozenset()) == tuple(known)


def test_the_linkers_checker_is_heard_too() -> None:
    (one,) = parse_warnings("WARNING: modpost: vmlinux: section mismatch in reference: a -> b\n")
    assert (one.file, one.line) == ("vmlinux.o", 0)
    (two,) = parse_warnings("kernel/audit.o: warning: objtool: f() falls through\n")
    assert (two.file, two.line, two.text) == ("kernel/audit.o", 0, "objtool: f() falls through")
