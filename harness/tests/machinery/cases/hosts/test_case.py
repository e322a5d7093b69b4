"""Do hosts reach each other, and can each be cut off, paused, and killed in the middle?"""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from harness.guest.hosts import Hosts
from harness.guest.machine import Guest
from harness.scenario import Judge

# A port that is closed refuses at once; where nobody is, nobody answers.
_ASK = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), 3)
except ConnectionRefusedError:
    print("refuses")
except OSError as error:
    print("does not answer")
"""


def _asks(guest: Guest, name: str) -> str:
    return guest.run(["python3", "-c", _ASK, name]).require().stdout.strip()


def _reads(guests: Mapping[str, Guest], *argv: str) -> list[str]:
    return [one.run(argv).require().stdout.strip() for one in guests.values()]


@pytest.mark.scenario(broken=["userns-eperm"], hosts={"north": 0, "south": 600, "east": -2.5})
def test_case(guest: Guest, judge: Judge, hosts: Hosts) -> None:
    north, south, east = hosts["north"], hosts["south"], hosts["east"]
    judge.expect("the guest is", guest is north, good=True)
    judge.expect("names", _reads(hosts, "hostname"), good=list(hosts))
    ids = _reads(hosts, "cat", "/etc/machine-id")
    judge.expect("machine ids", (len(set(ids)), {len(one) for one in ids}), good=(3, {32}))
    began = time.time()
    clocks = [float(said) - began for said in _reads(hosts, "date", "+%s.%N")]
    judge.keep("clocks.txt", f"{clocks}\n")
    judge.expect("south's clock, in minutes", round((clocks[1] - clocks[0]) / 60), good=10)

    judge.expect("each other", _asks(north, "south"), good="refuses")
    hosts.cut("south")
    judge.expect("one that is cut off", _asks(north, "south"), good="does not answer")
    judge.expect("from one that is cut off", _asks(south, "east"), good="does not answer")
    judge.expect("the others", _asks(north, "east"), good="refuses")
    hosts.mend("south")
    judge.expect("one that is connected again", _asks(north, "south"), good="refuses")

    south.pause()
    judge.expect("one that is paused", _asks(east, "south"), good="does not answer")
    south.resume()
    judge.expect("one that goes on", _asks(east, "south"), good="refuses")

    job = south.spawn(["sleep", "1000"])
    south.kill()
    judge.expect("one that is killed", _asks(north, "south"), good="does not answer")
    judge.expect("its job", job.status, good=None)
    judge.expect("the rest", _asks(north, "east"), good="refuses", broken="does not answer")
