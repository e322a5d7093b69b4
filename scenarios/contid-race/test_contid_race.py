"""Does one of many who name at once win, and does nobody escape who is made meanwhile?

Threads of one orchestrator write different ids to one task, two orchestrators the same id to a
task each, and one names a task that makes one child after the other. Who loses is told why, and
leaves nothing half done; no child is elsewhere than its parent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest

from harness.guest.machine import Guest
from harness.scenario import Judge

_FIRST = 10_000
_LIMIT_S = 90.0
# How the attempts of one round must end.
_ENDS = {
    "target": ["0", "EEXIST", "EEXIST", "EEXIST"],
    "id": ["0", "ENOTUNIQ"],
    "fork": ["0"],
}


@pytest.mark.scenario(feature=["contid"], config=["AUDIT", "AUDITSYSCALL"])
def test_contid_race(guest: Guest, judge: Judge, auditd: Any) -> None:
    # Given a kernel that names containers,
    first = guest.run(["named", "1", "true"])
    judge.expect("naming one", first.stderr.strip() or "0", good="0", broken="ENOENT")
    if first.stderr:
        return

    # when many name at once, and while there are forks,
    said = guest.run(["race", str(_FIRST)], deadline_s=_LIMIT_S)
    judge.keep("race.txt", said.stdout + said.stderr)
    lines = [line.split() for line in said.require().stdout.splitlines()]
    rounds = defaultdict(list)
    for what, number, *rest in lines:
        rounds[what, number].append(rest)

    # then one wins each round, and the others are told by whom not,
    for what, good in _ENDS.items():
        results = Counter(
            " ".join(sorted(one[1] for one in tries))
            for (kind, _), tries in rounds.items()
            if kind == what
        )
        judge.expect(f"{what}: ends of a round", list(results), good=[" ".join(good)])
        judge.note(**{f"rounds_{what}": results.total()})
    # whose id the target has, and nobody else's any,
    wins = {one[0]: one[2] for tries in rounds.values() for one in tries if one[1] == "0"}
    odd = {identity: found for identity, found in wins.items() if identity != found}
    judge.expect("winners that are not found", odd, good={})
    losers = {one[2] for (what, _), tries in rounds.items() for one in tries if what == "id"}
    judge.expect("losers of an id", sorted(losers - wins.keys()), good=["unset"])

    # and no child is left outside of where its parent is.
    forks = [[int(word) for word in rest[4:]] for what, *rest in lines if what == "fork"]
    busy, again, outside = (sum(counts) for counts in zip(*forks, strict=True))
    judge.note(busy=busy, again=again)
    judge.expect("children outside", outside, good=0)
    judge.expect("named while it made a child", again > 0, good=True)

    # Each that was named was so once, and ends once.
    trail = auditd.trail()
    tried = {one[0] for tries in rounds.values() for one in tries}
    judge.expect("beginnings", _unlike(_set(trail), wins, tried), good={})
    drops = trail.matching(type="CONTAINER_OP", op="drop")
    ends = Counter(str(one.get("old-contid")) for one in drops)
    judge.expect("ends", _unlike(ends, wins, tried), good={})


def _set(trail: Any) -> Counter[str]:
    """How often each id was given."""
    done = trail.having(type="SYSCALL", success="yes")
    return Counter(str(one.get("contid")) for one in done.matching(type="CONTAINER_OP", op="set"))


def _unlike(seen: Counter[str], wins: dict[str, str], tried: set[str]) -> dict[str, int]:
    """Of the ids that were tried, those that won and were not seen once, or were and did not win.

    A record has an id, or a list like "2,^1" of it and those around it. There are others' too:
    of the KUnit tests, which ran when the kernel booted, and of the one named before.
    """
    wanted = Counter(wins.keys())
    mine = Counter({one: n for one, n in seen.items() if one.partition(",")[0] in tried})
    return dict(mine - wanted | wanted - mine)
