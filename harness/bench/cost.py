"""Figures of series: what audit costs a guest, in its own instructions, beside the base.

Under ``-icount`` a guest's time-stamp counter counts instructions, so that what is measured
does not depend on the host, and hardly on chance. Each thing is done in three states of
audit: never switched on, on without a rule, on with a rule that matches it; and in the latter
two also with the records of the births and ends of namespaces left out by the exclude list.

The base of a stack is what its series need: the stack of these, where they need some, and the
unpatched kernel otherwise. Each thing is done by two tasks, one of them in a user namespace of
its own; that one is not compared where the series nsid, which names its namespace in each
event, is in the stack and not in the base.

A stack may cost a percent more than its base, and two where a user namespace is made, but for
what records the births and ends of namespaces: each such record costs half of what a whole
event costs the base, and five births are five records more. There the bar stands for the state
that leaves them out.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.bench.figure import Figure
from harness.bench.plan import Plan
from harness.errors import HarnessError
from harness.guest import accelerator, qemu
from harness.guest.boot import start_guest
from harness.guest.container import start_container
from harness.guest.machine import Guest
from harness.kernel import tasksize
from harness.model import Kernel
from harness.workspace import PROJECT

_PAYLOADS = tuple(
    PROJECT / "harness/audit/payload" / name for name in ("cost.c", "named.c", "reader.c")
)
_ROUNDS = 51
_BOOTS = 3
_LIMIT_S = 120.0
# "At most 1 % more than the base", "grows by at most 2 %".
_MOST_MORE = 1.01
_MOST_MORE_USERNS = 1.02
# "A record delivered to two daemons costs at most 2.2 times one."
_MOST_HEARD = 2.2
# How many bytes of struct task_struct each series may take: one has a pointer in it.
_MOST_BYTES: Mapping[str, int] = {"contid": 8}
# What the payload's "loop" is long, and by how much reading the counter may be off.
_LOOP = 20_000
_SLACK = 10

THINGS: Mapping[str, str] = {
    "getppid": "getppid",
    "open": "openat and close",
    "fork": "fork, exit and wait",
    "clone": "clone into five new namespaces, exit and wait",
    "userns": "clone into a new user namespace, exit and wait",
}
_CALLS = ("getppid", "openat", "clone")
# NS_INIT and NS_DEL, of the series nsid.
_LIFECYCLE = (1342, 1343)
# Said where these are told: see above.
_WHY_NO_BAR = (
    "no bar: {} B of records of births and ends, which the base does not tell; judged without them"
)
_RULE = ("-a", "always,exit", "-F", "arch=b64", *(f"-S{call}" for call in _CALLS))


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A state of audit, and the words that auditctl needs to get there from the one before.

    ``loud`` is the one in which births and ends are told, where they can be.
    """

    what: str
    enter: tuple[tuple[str, ...], ...]
    loud: bool = False


def _exclude(word: str) -> tuple[tuple[str, ...], ...]:
    return tuple((word, "never,exclude", "-F", f"msgtype={one}") for one in _LIFECYCLE)


# In the order in which a guest goes through them.
STATES: Mapping[str, State] = {
    "off": State(what="audit off", enter=()),
    "on": State(what="no rule", enter=(("-e", "1"),), loud=True),
    "on-quiet": State(what="no rule, births and ends left out", enter=_exclude("-a")),
    "rule-quiet": State(what="a rule, births and ends left out", enter=(_RULE,)),
    "rule": State(what="a rule", enter=_exclude("-d"), loud=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A task of which a series tells more: how it is made, and by which record it is told."""

    series: str
    what: str
    wrap: tuple[str, ...]
    record: int
    title: str


# To this series each task in a user namespace of its own is of that kind.
_FOREIGN = "nsid"
KINDS: Mapping[str, Kind] = {
    "contained": Kind(
        series="contid",
        what="in a container",
        wrap=("named", "4711"),
        record=1340,
        title="CONTAINER_ID",
    ),
    "foreign": Kind(
        series=_FOREIGN,
        what="in a foreign UTS namespace",
        wrap=("unshare", "--uts"),
        record=1341,
        title="NS_INFO",
    ),
}
# What is told to a daemon in the user namespace too, where the series lets there be one.
_HEARD = "heard"
_HEARS = "auditns"
_HEARD_THINGS = ("getppid", "open")
_HEARING = ("user", "pid", "net", "mount")
_PLAIN = "plain"
_INSIDE = "userns"
# Tasks of which all is measured, with what the payload is told and what is said of them.
TASKS: Mapping[str, tuple[tuple[str, ...], str]] = {
    _PLAIN: ((), ""),
    _INSIDE: (("userns",), " in a user namespace"),
}

# Of one guest: instructions by (task or kind, state, thing); bytes by (the same, thing, record
# type).
Times = Mapping[tuple[str, str, str], float]
Records = Mapping[tuple[str, str, int], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one guest said; ``task_bytes`` are the members of its kernel's struct task_struct."""

    series: Sequence[str]
    times: Times
    records: Records
    task_bytes: int


def cost(plan: Plan) -> Iterator[Figure]:
    """Instructions of each thing on the base and on each stack, guests taking turns."""
    catalogue = plan.lab.catalogue
    groups: dict[str, list[str]] = defaultdict(list)
    for name in plan.stacks or (f"ids-{plan.base}",):
        groups[catalogue.base_of(catalogue.require_stack(name)).name].append(name)
    seen = count(plan, tuple(dict.fromkeys([*groups, *itertools.chain(*groups.values())])))
    for base, names in groups.items():
        yield from compare(base, {name: seen[name] for name in (base, *names)})


def count(plan: Plan, stacks: Sequence[str]) -> Mapping[str, Sequence[Seen]]:
    """What guests on these stacks count, by stack, guests taking turns."""
    kernels = {name: plan.lab.kernel(name) for name in stacks}
    sizes = {name: _task_bytes(plan, name) for name in stacks}
    seen: dict[str, list[Seen]] = defaultdict(list)
    boots = plan.times or _BOOTS
    for number in range(1, boots + 1):
        for name in stacks:
            plan.on_step(f"counting instructions, guest {number} of {boots} on {name}")
            seen[name].append(_observe(plan, kernels[name], sizes[name]))
    return seen


def _task_bytes(plan: Plan, stack: str) -> int:
    plan.on_step(f"compiling the size of a task on {stack}")
    return tasksize.measure(plan.lab.builder, plan.lab.catalogue.require_stack(stack))


def _observe(plan: Plan, kernel: Kernel, task_bytes: int) -> Seen:
    machine = dataclasses.replace(
        plan.lab.machine(kernel, payloads=_PAYLOADS),
        accelerator="tcg",
        cpu_model=qemu.CPU_MODELS["tcg"],
        # Not audit=1: off means that it never was on.
        arguments=("audit_backlog_limit=8192", "norandmaps"),
        icount=True,
    )
    scale = accelerator.scale_of(plan.lab.host_for(kernel))
    with (
        plan.lab.workspace.scratch() as folder,
        start_guest(machine, folder, scale=scale) as guest,
    ):
        seen = _ask(guest, kernel.series, task_bytes)
        guest.end()
    return seen


def _ask(guest: Guest, series: Sequence[str], task_bytes: int) -> Seen:
    wraps = {name: kind.wrap for name, kind in KINDS.items() if kind.series in series}
    times: dict[tuple[str, str, str], float] = {}
    records: dict[tuple[str, str, int], int] = {}

    def count(kind: str, state: str, wrap: Sequence[str], words: Sequence[str]) -> None:
        argv = [*wrap, "cost", "time", str(_ROUNDS), *words]
        said = guest.run(argv, deadline_s=_LIMIT_S).require()
        for thing, number in parse_times(said.stdout).items():
            times[kind, state, thing] = number

    for name, state in STATES.items():
        for words in state.enter:
            guest.run(["auditctl", *words]).require()
        for task, (place, _) in TASKS.items():
            count(task, name, (), place)
    for kind, wrap in wraps.items():
        count(kind, "rule", wrap, ())
    for kind, wrap in ({_PLAIN: ()} | wraps).items():
        said = guest.run([*wrap, "cost", "records"]).require()
        for (thing, record), length in parse_records(said.stdout).items():
            records[kind, thing, record] = length
    if _HEARS in series:
        with start_container(guest, _HEARING) as box:
            reader = box.spawn(["reader", "0", "0"])
            guest.wait_until(lambda: b"\n" in reader.out, _LIMIT_S, "a daemon")
            box.run(["auditctl", *_RULE]).require()
            count(_HEARD, "rule", (), [f"/proc/{box.pid}/ns/user"])
    return Seen(series=series, times=times, records=records, task_bytes=task_bytes)


def parse_times(text: str) -> Mapping[str, float]:
    """Instructions by thing: the median of its rounds, less what measuring costs.

    Raises HarnessError when the counter did not count instructions.
    """
    lines = [line.split() for line in text.splitlines()]
    medians = {name: statistics.median(map(int, rounds)) for name, *rounds in lines}
    empty = medians.pop("empty")
    loop = medians.pop("loop") - empty
    if abs(loop - _LOOP) > _SLACK:
        raise HarnessError(
            f"the guest counts {loop:.0f} instructions where there are {_LOOP}",
            hint="QEMU must count instructions: its command line needs -icount shift=0",
        )
    return {name: median - empty for name, median in medians.items()}


def parse_records(text: str) -> Mapping[tuple[str, int], int]:
    """Bytes by thing and record type, of all records of that type together."""
    found: dict[tuple[str, int], int] = defaultdict(int)
    for line in text.splitlines():
        thing, record, length = line.split()
        found[thing, int(record)] += int(length)
    return found


# -- figures ------------------------------------------------------------------------


def compare(base: str, seen: Mapping[str, Sequence[Seen]]) -> Iterator[Figure]:
    """Stacks beside their base, and then what their records cost the tasks that have them."""
    stacks = [name for name in seen if name != base]
    for (task, (_, place)), (thing, what), state in itertools.product(
        TASKS.items(), THINGS.items(), STATES
    ):
        name = "-".join([thing, state, *([] if task == _PLAIN else [task])])
        before = _times(f"{name} {base}", f"{what}{place}", state, seen[base], task, thing)
        yield before
        for stack in stacks:
            if task == _INSIDE and _names_it(seen[stack]) and not _names_it(seen[base]):
                continue
            now = _times(f"{name} {stack}", f"{what}{place}", state, seen[stack], task, thing)
            more = f"{now.what}: {_percent(now.value, before.value)}"
            told = _told(seen[stack], thing) - _told(seen[base], thing)
            if STATES[state].loud and told > 0:
                yield dataclasses.replace(now, what=f"{more}, {_WHY_NO_BAR.format(told)}")
            else:
                most = _MOST_MORE_USERNS if thing == "userns" else _MOST_MORE
                yield dataclasses.replace(now, what=more, bar=before.value * most)
    for name in KINDS:
        for thing in THINGS:
            for stack in stacks:
                if (name, "rule", thing) in seen[stack][0].times:
                    yield from _tell_kind(stack, name, thing, seen[stack])
    for stack in stacks:
        yield from _tell_heard(stack, seen[stack])
    before = _sizes(base, seen[base])
    yield before
    for stack in stacks:
        now = _sizes(stack, seen[stack])
        more = f"{now.what}: {now.value - before.value:+.0f}"
        most = before.value + _may_grow(seen[stack]) - _may_grow(seen[base])
        yield dataclasses.replace(now, what=more, bar=most)


def _names_it(seen: Sequence[Seen]) -> bool:
    """Whether events of a task in a user namespace say so."""
    return _FOREIGN in seen[0].series


def _may_grow(seen: Sequence[Seen]) -> int:
    return sum(_MOST_BYTES.get(series, 0) for series in seen[0].series)


def _told(seen: Sequence[Seen], thing: str) -> int:
    """Bytes of records of births and ends."""
    return sum(seen[0].records.get((_PLAIN, thing, number), 0) for number in _LIFECYCLE)


def _tell_kind(stack: str, name: str, thing: str, ours: Sequence[Seen]) -> Iterator[Figure]:
    kind, what = KINDS[name], THINGS[thing]
    plain = _times("", what, "rule", ours, _PLAIN, thing)
    one = _times(f"{thing}-{name} {stack}", what, "rule", ours, name, thing)
    more = f"{kind.what}: {one.value - plain.value:+.0f}"
    yield dataclasses.replace(one, what=f"{one.what}, {more}")
    yield Figure(
        name=f"{thing}-{name}-bytes {stack}",
        what=f"{kind.title} records of it",
        samples=tuple(float(s.records.get((name, thing, kind.record), 0)) for s in ours),
        unit="B",
    )


def _tell_heard(stack: str, ours: Sequence[Seen]) -> Iterator[Figure]:
    """What an event costs that two daemons are told of, by what it costs with one.

    Both less what the thing costs without a rule. Nothing of a stack without such daemons.
    """
    for thing in _HEARD_THINGS if _HEARS in ours[0].series else ():
        bare, one, two = (
            [seen.times[task, state, thing] for seen in ours]
            for task, state in ((_INSIDE, "on"), (_INSIDE, "rule"), (_HEARD, "rule"))
        )
        yield Figure(
            name=f"{thing}-heard {stack}",
            what=f"{THINGS[thing]}, a rule, told to two daemons by told to one",
            samples=tuple((c - a) / (b - a) for a, b, c in zip(bare, one, two, strict=True)),
            bar=_MOST_HEARD,
        )


def _times(name: str, what: str, state: str, seen: Sequence[Seen], kind: str, thing: str) -> Figure:
    samples = tuple(float(one.times[kind, state, thing]) for one in seen)
    return Figure(name=name, what=f"{what}, {STATES[state].what}", samples=samples)


def _percent(value: float, of: float) -> str:
    return f"{100 * (value / of - 1):+.2f} %"


def _sizes(stack: str, seen: Sequence[Seen]) -> Figure:
    return Figure(
        name=f"task {stack}",
        what="the members of struct task_struct, without the padding after them",
        samples=tuple(float(one.task_bytes) for one in seen),
        unit="B",
    )
