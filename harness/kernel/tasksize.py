"""How long struct task_struct is, exactly: asked of the compiler, in a kernel's own folder.

Neither the slab of tasks nor the symbol ``init_task`` tells what a pointer more costs: both have
the padding at the end, and go in steps of 64 bytes.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from harness import proc
from harness.errors import BuildError
from harness.kernel.build import Builder
from harness.model import Stack
from harness.workspace import digest

_SOURCE = Path(__file__).with_name("tasksize.c")
# In the object folder; no file of the kernel's is called that.
_OBJECT = "init/nsaudit-tasksize.o"
# Of "nm --print-size": value, size, type and name.
_SYMBOL = re.compile(r"^[0-9a-f]+ ([0-9a-f]+) \w task_members$", re.MULTILINE)


def measure(builder: Builder, stack: Stack) -> int:
    """Bytes up to the end of its last member on a stack, in the builder's configuration.

    It is kept by content. Raises BuildError when the kernel's own makefiles make no object of it.
    """
    revision = builder.revision_of(stack)

    def fill(made: Path) -> None:
        with builder.made(revision, _OBJECT, _SOURCE) as path:
            shutil.copy(path, made / "tasksize.o")

    key = digest(builder.key_of(revision), _SOURCE.read_bytes())
    path = builder.workspace.make("tasksize", key, fill) / "tasksize.o"
    return parse_size(proc.run(["nm", "--print-size", path]).stdout)


def parse_size(text: str) -> int:
    """What nm says of the object. Raises BuildError when it lacks the symbol."""
    found = _SYMBOL.search(text)
    if not found:
        raise BuildError(f"{_OBJECT} has no size: {text.strip()}")
    return int(found[1], 16)
