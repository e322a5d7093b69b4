"""Does things at the end of long chains of directories, once it is told to.

    walk.py far TREE ASIDE
    walk.py rename TREE ASIDE
    walk.py open PLACE COUNT

TREE and ASIDE are empty directories of one file system. "far" makes a file at the end of a chain
in TREE, by the name "far", and moves one from the end of a chain in ASIDE to TREE, by the name
"moved". "rename" makes TREE/other/home/file, and renames directories above that file, which
never leaves TREE: its home goes to the end of a chain and from there to TREE's other directory,
then the chain goes to ASIDE, and comes back. Who goes up the chain meanwhile, and does not look
again, ends in ASIDE. It ends by SIGTERM, and prints how often the chain went. "open" opens the
file in PLACE, wherever that goes, COUNT times.

Each says when it is ready, and waits for a line.
"""

import os
import signal
import sys
from pathlib import Path

# More than the kernel goes up, and nearly as much.
FAR, LONG = 4200, 4000


def folder(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def enter(name: str, above: int) -> int:
    """Makes a directory in another; both are descriptors."""
    os.mkdir(name, dir_fd=above)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=above)


def chain(above: int, length: int) -> int:
    """The end of a chain of directories, the first of which is called chain."""
    end = enter("chain", above)
    for _ in range(length):
        above = end
        end = enter("x", above)
        os.close(above)
    return end


def make(name: str, where: int) -> None:
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=where))


def ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()


def far(tree: int, aside: int) -> None:
    here, there = chain(tree, FAR), chain(aside, FAR)
    make("moved", there)
    ready()
    Path("/proc/self/comm").write_text("far")
    make("far", here)
    Path("/proc/self/comm").write_text("moved")
    os.rename("moved", "moved", src_dir_fd=there, dst_dir_fd=tree)


def rename(tree: int, aside: int) -> None:
    other = enter("other", tree)
    make("file", enter("home", other))
    end = chain(tree, LONG)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    ready()
    went = 0
    try:
        while True:
            os.rename("home", "home", src_dir_fd=other, dst_dir_fd=end)
            os.rename("home", "home", src_dir_fd=end, dst_dir_fd=other)
            os.rename("chain", "chain", src_dir_fd=tree, dst_dir_fd=aside)
            os.rename("chain", "chain", src_dir_fd=aside, dst_dir_fd=tree)
            went += 1
    finally:
        sys.stdout.write(f"{went}\n")


def open_often(place: int, count: int) -> None:
    ready()
    for _ in range(count):
        os.close(os.open("file", os.O_RDONLY, dir_fd=place))


if sys.argv[1] == "far":
    far(folder(sys.argv[2]), folder(sys.argv[3]))
elif sys.argv[1] == "rename":
    rename(folder(sys.argv[2]), folder(sys.argv[3]))
else:
    open_often(folder(sys.argv[2]), int(sys.argv[3]))
