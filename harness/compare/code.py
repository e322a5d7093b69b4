"""How much kernel code a series is: lines, locks, and which paths of the kernel it is in.

Counted in its patches, one after the other, without tests, tools and documentation, and without
comments and empty lines. A line that a patch adds and a later one takes away counts for neither.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.kernel.hunks import why_no_code

_FILE = re.compile(r"^diff --git a/(\S+) b/(\S+)$")
_HUNK = re.compile(r"^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@ ?(.*)$")
# The beginning of a function, in the style of the kernel: nothing stands before its type.
_FUNCTION = re.compile(
    r"^(?=[A-Za-z_])(?!(?:enum|union|return|else|typedef)\b)[^;={]*?\b([a-z_]\w*)\("
)
_LOCK = re.compile(
    r"\b((?:raw_)?spin_(?:try)?lock\w*|mutex_(?:try)?lock\w*|(?:read|write)_lock\w*"
    r"|down_(?:read|write)\w*|rcu_read_lock|task_lock|lock_task_sighand|guard|scoped_guard)\("
    r"\s*&?([^,;()]*)"
)
_NEW_LOCK = re.compile(
    r"\bDEFINE_(?:SPINLOCK|MUTEX|RWLOCK|RAW_SPINLOCK)\((\w+)\)"
    r"|^\s*(?:static )?(?:spinlock_t|rwlock_t|struct (?:mutex|rw_semaphore)) (\w+);"
)
_COMMENT = re.compile(r"//.*|/\*.*?\*/")
# What runs often, by the functions of 6.12 and 7.3 that are in it.
HOT: Mapping[str, tuple[str, ...]] = {
    "fork": ("copy_process", "audit_alloc", "dup_task_struct"),
    "exit of a task": ("do_exit", "audit_free", "__audit_free", "release_task"),
    "audited system call": ("audit_log_exit", "audit_reset_context", "audit_filter_rules"),
    "every record": ("audit_log_start", "audit_log_end", "audit_buffer_alloc"),
    "signal": ("audit_signal_info", "audit_signal_info_syscall"),
    "packet": ("audit_tg", "nft_log_eval_audit"),
    "change of namespaces": ("switch_task_namespaces",),
    "birth or end of a namespace": (
        *("create_pid_namespace", "destroy_pid_namespace", "create_user_ns", "free_user_ns"),
        *("create_ipc_ns", "free_ipc_ns", "clone_uts_ns", "free_uts_ns", "clone_time_ns"),
        *("free_time_ns", "free_cgroup_ns", "alloc_mnt_ns", "free_mnt_ns", "cleanup_net"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """``files`` of the base that are changed, by their functions; ``locks`` taken, how often.

    ``new_locks`` are those that there were not before, ``hot`` the paths of ``HOT`` it is in.
    """

    added: int
    removed: int
    files: Mapping[str, Sequence[str]]
    locks: Mapping[str, int]
    new_locks: Sequence[str]
    hot: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    file: str
    new_file: bool
    function: str
    sign: str
    text: str


def measure(patches: Iterable[Path]) -> Code:
    """What the patches of a series are, in their order."""
    added: Counter[tuple[str, str]] = Counter()
    taken = 0
    touched: dict[str, set[str]] = {}
    made: set[str] = set()
    for patch in patches:
        for line in read_patch(patch.read_text(encoding="utf-8")):
            key = (line.file, line.text.strip())
            if line.sign == "+":
                added[key] += 1
            elif added[key]:
                # A line of the series' own.
                added[key] -= 1
            else:
                taken += 1
            if line.new_file:
                made.add(line.file)
            elif line.file not in made:
                touched.setdefault(line.file, set()).add(line.function)
    ours = [text for (_, text), count in added.items() for _ in range(count)]
    locks = Counter(f"{found[1]}({found[2].strip()})" for found in map(_LOCK.search, ours) if found)
    new = {found[1] or found[2] for found in map(_NEW_LOCK.search, ours) if found}
    functions = set().union(*touched.values())
    return Code(
        added=len(ours),
        removed=taken,
        files={
            file: sorted(filter(None, names)) if file.endswith(".c") else ()
            for file, names in sorted(touched.items())
        },
        locks=dict(sorted(locks.items())),
        new_locks=sorted(new),
        hot=[path for path, names in HOT.items() if functions & set(names)],
    )


def read_patch(text: str) -> Iterator[_Line]:
    """The lines of code that a patch adds and takes, each with the function that it is in."""
    file, new_file, function = "", False, ""
    comment = {"+": False, "-": False}
    left = {"-": 0, "+": 0}
    for raw in text.split("\n"):
        if found := _FILE.match(raw):
            file, new_file, function = found[2], False, ""
            left = {"-": 0, "+": 0}
        elif raw.startswith("new file mode"):
            new_file = True
        elif found := _HUNK.match(raw):
            left = {"-": int(found[1] or 1), "+": int(found[2] or 1)}
            heading = _FUNCTION.match(found[3])
            function = heading[1] if heading else ""
            comment = {"+": False, "-": False}
        elif any(left.values()) and raw[:1] in ("+", "-", " ", ""):
            sign, line = raw[:1] or " ", raw[1:]
            for one in left:
                left[one] -= sign in (one, " ")
            if named := _FUNCTION.match(line):
                function = named[1]
            if sign == " ":
                # A hunk may begin inside of a comment, of which only the end is seen.
                comment = dict.fromkeys(comment, _in_comment(line, comment["+"]))
                continue
            code, comment[sign] = _code_of(line, comment[sign])
            if code and not why_no_code(file):
                yield _Line(file=file, new_file=new_file, function=function, sign=sign, text=code)


def _in_comment(line: str, before: bool) -> bool:
    return _code_of(line, before)[1]


def _code_of(line: str, inside: bool) -> tuple[str, bool]:
    """A line without its comments, and whether a comment goes on after it."""
    if inside or re.match(r"\s+\*(?:\s|/|$)", line):
        end = line.find("*/")
        if end < 0:
            return "", inside or not line.rstrip().endswith("*/")
        line, inside = line[end + 2 :], False
    line = _COMMENT.sub("", line)
    begin = line.find("/*")
    if begin >= 0:
        return line[:begin].strip(), True
    return line.strip(), False
