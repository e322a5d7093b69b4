"""Does a container's audit hold together while the kernel runs out of memory?

A program in a container registers daemons, sets limits, adds, lists and deletes rules, listens,
sends messages, makes calls that the rules ask for, has children and exits, and each of its
allocations in the kernel fails in turn. Either a thing is done as a whole or not at all; the
errno says which; it can be done afterwards; and what is missing in the container's trail was
counted as lost there. Of the machine's records none is lost but its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from harness.audit import faults
from harness.audit.faults import Try
from harness.audit.records import UNPARSED, Event
from harness.errors import DeadlineExceeded
from harness.guest.machine import Answer, Guest
from harness.guest.polling import poll
from harness.scenario import Judge

_KEY = "fault"
# Each system call that the container's rules ask for, on which of its steps, and for what.
_RULES = {
    "call": ("getpriority",),
    "first": ("getsid",),
    "kill": ("kill", "-F", "a1=0"),
    "open": ("openat", "-F", "a2=0x220000"),  # O_PATH|O_NOFOLLOW
    "exchange": ("renameat2",),
    "exec": ("execve",),
    "exit": ("exit_group", "-F", "a1=4242"),
}
# The directory of its rule, and what is mounted there, in which "add-dir" does something.
_PLACES = 3


def _always(state: str, errno: str) -> dict[str, tuple[str, ...]]:
    """What is the same, whatever it is told."""
    return dict.fromkeys((errno, "ENOMEM", "ENOBUFS"), (state,))


# What each step may be told, and for each answer in what state it may leave things. ENOBUFS
# says that there was no answer, whatever was done (netlink(7)).
_RULE = {"0": ("there",), "ENOMEM": ("absent",), "ENOBUFS": ("there", "absent")}
_GONE = {"0": ("absent",), "ENOMEM": ("there",), "ENOBUFS": ("there", "absent")}
_REPLY = {"0": ("told",), "ENOMEM": ("untold",), "ENOBUFS": ("told", "untold")}
_STATES: dict[str, dict[str, tuple[str, ...]]] = {
    "limit": {"0": ("set",), "ENOMEM": ("unset",), "ENOBUFS": ("set", "unset")},
    "get": _REPLY,
    "features": _REPLY,
    "signal-info": _REPLY,
    "set-features": _always("-", "EOPNOTSUPP"),
    "trim": _always("-", "EOPNOTSUPP"),
    "list": {"0": ("all",), "ENOMEM": ("none",), "ENOBUFS": ("all", "none")},
    "listen": {"0": ("joined",), "ENOMEM": ("apart",)},
    **{
        f"add-{kind}": _RULE
        for kind in ("user", "task", "exit", "exclude", "filesystem", "watch", "exe")
    },
    "delete-exit": _GONE,
    "delete-watch": _GONE,
    "add-dir": _RULE,
    "delete-dir": _GONE,
    "below": _always("there", "0"),
    "link": {"0": ("linked",), "ENOMEM": ("none",)},
    "message": _always("-", "0"),
    "call": {"0": ("-",)},
    "first": {"0": ("-",)},
    "kill": {"0": ("-",)},
    "open": {"0": ("-",), "ENOMEM": ("-",)},
    "exchange": {"0": ("exchanged",), "ENOMEM": ("same",)},
    # ENOEXEC: the loader of ELF files says so where it cannot read the headers (fs/binfmt_elf.c).
    "exec": {
        "0": ("ran", "killed"),
        **dict.fromkeys(("ENOMEM", "E2BIG", "ENOEXEC"), ("refused",)),
    },
    "exit": {"0": ("-",)},
    "fork": {"0": ("child",), "ENOMEM": ("none",)},
    "register": {
        "0": ("daemon",),
        "ENOMEM": ("none,0,daemon",),
        "ENOBUFS": ("daemon", "none,0,daemon"),
    },
    "intrude": _always("daemon", "EEXIST"),
    "retire": {"0": ("none",), "ENOMEM": ("daemon",), "ENOBUFS": ("none", "daemon")},
    "close": {"0": ("none",)},
}
_IN_THE_END = {"set-features": "EOPNOTSUPP", "trim": "EOPNOTSUPP", "intrude": "EEXIST"}
# In a user namespace of its own each time, that has an audit of its own.
_NESTED = ("register", "intrude", "retire", "close")
# What the machine has to do with: a new task gets a context from it, too.
_MACHINE = {"fork": 1}
# What need not allocate anything.
_FRUGAL = ("close",)
# The number of each call, and the argument that says which time it was.
_CALLS = {
    "call": ("140", "a2"),
    "first": ("124", "a2"),
    "kill": ("62", "a2"),
    "open": ("257", "a0"),
    "exchange": ("316", "a0"),
    "below": ("269", "a0"),
    "link": ("265", "a0"),
    "exec": ("59", "pid"),
    "exit": ("231", "a2"),
}
_ALWAYS = Counter(SYSCALL=1, PROCTITLE=1)
# Of which nothing need be told if they failed: then they may have found nothing in the directory.
_IN_DIRECTORY = ("below", "link")
_CHMOD = "268"
# And what is told of those that were done.
_DONE = {
    "call": Counter[str](),
    "first": Counter[str](),
    "kill": Counter(OBJ_PID=1),
    "open": Counter(CWD=1, PATH=1),
    "exchange": Counter(CWD=1, PATH=6),
    "below": Counter(CWD=1, PATH=1),
    "link": Counter(CWD=1, PATH=3),
    "exec": Counter(EXECVE=1, CWD=1, PATH=1),
    "exit": Counter[str](),
}
# What the machine's own trail has none of.
_FOREIGN = {"CWD", "EVENT_LISTENER", "EXECVE", "OBJ_PID", "PATH", "USER_LOGIN"}
_FOLDER = "/mnt"
_LIMIT_S = 120.0


@pytest.mark.scenario(
    feature=["auditns"],
    config=[
        *("AUDIT", "AUDITSYSCALL", "USER_NS", "PID_NS", "KASAN"),
        *("FAILSLAB", "FAULT_INJECTION_DEBUG_FS", "DEBUG_KMEMLEAK"),
    ],
    under=["fault"],
    # The look for leaks that follows needs a guest that booted, and has mounted debugfs.
    boot="cold",
)
def test_auditns_fault(
    guest: Guest,
    judge: Judge,
    auditd: Any,
    contained: Callable[..., Any],
    fail_any: Callable[[], None],
    expect_step: Callable[..., None],
) -> None:
    # Given a container with a daemon, and rules for what it is to be told of,
    inner = contained()
    if not inner.expect_start():
        return
    lines = [f"-a always,exit -F arch=b64 -S {' '.join(one)} -k {_KEY}" for one in _RULES.values()]
    inner.run(["tee", "/run/rules"], given="\n".join(["-b 8192", *lines, ""])).require()
    inner.run(["auditctl", "-R", "/run/rules"]).require()
    inner.run(["mount", "-t", "tmpfs", "tmpfs", _FOLDER]).require()
    # in a kernel in which allocations that may sleep fail, too, without a word on the console,
    fail_any()

    def fault(step: str) -> Answer:
        program = ["/run/nsaudit/fault", step, _FOLDER]
        answer: Answer = inner.run(program, deadline_s=_LIMIT_S)
        judge.keep(f"fault-{step}.txt", answer.stdout + answer.stderr)
        return answer.require()

    # when each allocation of each step fails in turn,
    tries: list[Try] = []
    for step, states in _STATES.items():
        before = auditd.lost()
        mine = list(faults.parse(fault(step).stdout))
        of_machine = auditd.lost() - before
        tries += mine

        # then it is done or not, as its errno says, and what failed can be done again,
        expect_step(step, mine, states, state_of=_end, end=_IN_THE_END.get(step, "0"))
        if step not in _FRUGAL:
            judge.expect(f"{step}: ever failed", len(mine) > 1, good=True)
        # and the machine loses what was to be its own, if anything.
        judge.expect(f"{step}: lost by the machine", of_machine, good=_MACHINE.get(step, 0))

    # What the container's trail lacks was counted there, and nothing else.
    counted = inner.lost()
    trail = inner.trail("inside.log")
    own = sum(one.lost for one in tries if one.step not in _NESTED)
    judge.expect("lost inside", counted, good=own)
    judge.expect("lost without a failure", sum(t.lost for t in tries if t.nth == "end"), good=0)
    judge.note(lost_to_failures=counted)
    judge.expect("calls without a trace", _untold_calls(trail, tries), good=[])
    judge.expect("rules not about all mounts", _unmarked(trail, tries)[:3], good=[])
    said = [record.text for record in trail.records]
    judge.expect("messages without a trace", faults.untold_messages(said, tries), good=[])
    judge.expect("listeners without a trace", _untold_listeners(trail, tries), good=0)
    unread = [record.text for record in trail.records if record.type == UNPARSED]
    judge.expect("records that nobody can read", unread[:3], good=[])
    # What the machine was to lose is counted above.
    guest.run(["auditctl", "--reset-lost"])
    host = auditd.trail("host.log")
    foreign = [one.text for one in host.records if one.type in _FOREIGN]
    judge.expect("told to the machine", foreign[:3], good=[])

    # Where the machine asks for the same calls, both trails are like that.
    guest.run(["auditctl", "-a", "always,exit", "-F", "arch=b64", "-S", "getpriority"]).require()
    guest.run(["auditctl", "-a", "always,exit", "-F", "arch=b64", "-S", "renameat2"]).require()
    start, before = len(trail), auditd.lost()
    shared = [one for step in ("call", "exchange") for one in faults.parse(fault(step).stdout)]
    of_machine = auditd.lost() - before
    trail = inner.trail("inside-shared.log")
    guest.run(["auditctl", "--reset-lost"])
    untold = _untold_calls(trail[start:], shared)
    judge.expect("calls of both without a trace", untold, good=[])
    told = _told(auditd.trail("host-shared.log"), "call")
    missing = [one for one in shared if one.step == "call" and _mark(one) not in told]
    judge.expect("calls without a trace at the machine", len(missing) > of_machine, good=False)
    judge.note(lost_by_the_machine=of_machine, untold_to_the_machine=len(missing))

    # And what each of the user namespaces had is given back: there is room for one again.
    inner.run(["sh", "-c", "echo 1 >/proc/sys/user/max_audit_ns"]).require()
    try:
        poll(
            lambda: fault("begin").stdout,
            lambda text: " ENOSPC " not in text,
            limit_s=_LIMIT_S * guest.scale,
            what="the end of user namespaces",
        )
    except DeadlineExceeded:
        judge.expect("room for an audit again", False, good=True)


def _mark(one: Try) -> str:
    """What identifies a system call in the trail."""
    return one.pid if one.step == "exec" else f"{one.number:x}"


def _end(one: Try) -> str:
    """In what state things are."""
    return one.end if one.step == "exec" else one.state


def _told(trail: Any, step: str) -> dict[str, Event]:
    """The events of a step's system calls, by what identifies each."""
    number, field = _CALLS[step]
    return {
        str(record.get(field)): event
        for event in trail
        for record in event.records
        if record.type == "SYSCALL" and record.get("syscall") == number
    }


def _untold_calls(trail: Any, tries: Sequence[Try]) -> list[str]:
    """Calls of which something is missing, and no loss was counted."""
    untold = []
    for step in _CALLS:
        told = _told(trail, step)
        for one in tries:
            if one.step == step and not one.lost and (missing := _missing(one, told)):
                untold.append(f"{step} {one.nth} {one.errno}: {' '.join(missing)}")
    return untold


def _missing(one: Try, told: Mapping[str, Event]) -> list[str]:
    """The types of records that the event of a system call lacks, and what those lack."""
    done = one.errno == "0" and _end(one) != "killed"
    if one.step in _IN_DIRECTORY and not done:
        return []
    event = told.get(_mark(one))
    records = event.records if event else ()
    wanted = _ALWAYS + _DONE[one.step] if done else _ALWAYS
    missing = [*(wanted - Counter(record.type for record in records)).elements()]
    for record in records:
        # What the kernel says where it has no memory for a path, or for arguments.
        if "<no_memory>" in record.text or (record.type == "EXECVE" and not record.get("argc")):
            missing.append(f"what is in {record.type}")
        if record.type == "SYSCALL" and record.get("key") != _KEY:
            missing.append("key")
        if record.type == "PROCTITLE" and done and record.get("proctitle") == "(null)":
            missing.append("proctitle")
    return missing


def _unmarked(trail: Any, tries: Sequence[Try]) -> list[Try]:
    """Rules about a directory that were not about what is mounted there, or were about something.

    The latter where they were refused.
    """
    told = Counter(
        str(record.get("a0")) for record in trail.matching(type="SYSCALL", syscall=_CHMOD)
    )
    return [
        one
        for one in tries
        if one.step == "add-dir"
        and not one.lost
        and told[_mark(one)] != (_PLACES if one.state == "there" else 0)
    ]


def _untold_listeners(trail: Any, tries: Sequence[Try]) -> int:
    """How many joined the group, more than are told of or lost."""
    joined = [one for one in tries if one.step == "listen" and one.errno == "0"]
    told = len(trail.matching(type="EVENT_LISTENER", op="connect"))
    return max(0, len(joined) - told - sum(one.lost for one in joined))
