"""A kernel of a few lines, and guests that only read it.

What a scenario says of it is a line ``name OUTCOME`` in its source; where there is none it is
SYMPTOM. ``#error`` does not build, and ``crash`` does not boot. ``Lab`` has git and make.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness import scenario
from harness.cells.asking import Asker, OnOutcome
from harness.cells.matrix import Walk
from harness.cells.store import Store, arm_of
from harness.errors import BuildError, DeadlineExceeded, GuestCrashed
from harness.kernel import prefixes
from harness.kernel.build import Builder
from harness.kernel.hunks import Hunk, find_hunks
from harness.kernel.prefixes import Prefix
from harness.kernel.tree import Revision, Tree, export, git, open_tree
from harness.model import (
    ArmResult,
    Base,
    DirectorySource,
    Kernel,
    MatrixRow,
    Outcome,
    Series,
    Stack,
)
from harness.workspace import Workspace, digest

MAKEFILE = """\
allnoconfig:
\t@cp $(KCONFIG_ALLCONFIG) $(KCONFIG_CONFIG)
vmlinux:
\t@! grep -Hn '#error' *.c | sed 's/:#error.*/:1: error: no/' | grep .
\t@mkdir -p $(O)/include/config && echo 6.12.0 >$(O)/include/config/kernel.release
\t@echo built >>$(O)/builds && touch $(O)/System.map
\t@cat *.c >$(O)/vmlinux
bzImage: vmlinux
\t@mkdir -p $(O)/arch/x86/boot && cp $(O)/vmlinux $(O)/arch/x86/boot/bzImage
"""
SOURCE = "".join(f"line {number}\n" for number in range(40))
Change = Callable[[str], str]


class PaperGuests:
    """Remembers what was asked of which kernel.

    ``fail`` is called before each answer, ``rule`` may change it, and ``seconds`` is how long a
    scenario takes.
    """

    def __init__(self) -> None:
        self.booted: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.fail: Callable[[], None] = lambda: None
        self.rule: Callable[[str, str], str] = lambda _name, said: said
        self.seconds: dict[str, float] = {}

    def boot(self, kernel: Kernel, folder: Path) -> None:
        folder.mkdir(parents=True)
        text = kernel.vmlinux.read_text()
        (folder / "console.log").write_text(text)
        self.booted.append(kernel.stack)
        if "crash" in text:
            raise GuestCrashed("the kernel crashed: Oops")
        if "hang" in text:
            raise DeadlineExceeded("the guest's boot: no answer")

    def ask(
        self, kernel: Kernel, names: Sequence[str], folder: Path, on_outcome: OnOutcome
    ) -> None:
        text = kernel.vmlinux.read_text()
        said = {words[0]: words[1] for line in text.splitlines() if len(words := line.split()) == 2}
        never = "CRASH" if "crash" in text else "ERROR" if "hang" in text else ""
        for name in names:
            self.fail()
            self.asked.append((kernel.stack, name))
            arm = arm_of(name, kernel.stack)
            outcome = Outcome(self.rule(name, never or said.get(name, "SYMPTOM")))
            (folder / arm.folder).mkdir()
            (folder / arm.folder / "records.log").write_text(kernel.stack)
            (folder / arm.folder / "reproduce").write_text("#!/bin/sh\n")
            (folder / arm.folder / "config.txt").write_text("large")
            seconds = self.seconds.get(name, 0.0)
            result = ArmResult(arm=arm, outcome=outcome, signature="seen", seconds=seconds)
            scenario.store_result(folder, result)
            on_outcome(name, outcome)


class PaperBuilder:
    """Builds what is handed to it as text, by its digest."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.texts: dict[str, str] = {}
        self.built: list[str] = []

    def key_of(self, revision: Revision) -> str:
        return revision.content

    def build_revision(self, revision: Revision) -> Kernel:
        name, text = revision.stack.name, self.texts[revision.content]

        def fill(folder: Path) -> None:
            self.built.append(name)
            for number, line in enumerate(text.splitlines(), 1):
                if line == "#error":
                    raise BuildError(
                        f"{name} does not build: a.c:{number}:1: error: no", hint="log"
                    )
            (folder / "vmlinux").write_text(text)

        entry = self.workspace.make("kernel", revision.content, fill)
        return Kernel(
            stack=name,
            base="6.12",
            release="6.12.0",
            series=(),
            tree=revision.content,
            config=entry / "config",
            config_digest="",
            vmlinux=entry / "vmlinux",
        )


class PaperLab:
    """A series that is only text, and who asks: nothing of it is a process."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root)
        self.guests = PaperGuests()
        self.builder = PaperBuilder(self.workspace)
        self.base = Base(name="6.12", source=DirectorySource(path=root))
        self._prefixes: list[Prefix] = []

    @property
    def asker(self) -> Asker:
        store = Store(self.workspace, ["image", "host"])
        builder: Any = self.builder
        return Asker(builder=builder, store=store, guests=self.guests)

    def write(self, *changes: Change) -> None:
        """Writes the series: a patch for each change of the source."""
        text = SOURCE
        self._prefixes = []
        for number, change in enumerate([lambda old: old, *changes]):
            text = change(text)
            content = digest(text)
            self.builder.texts[content] = text
            name = f"s-6.12-{number:04}" if number else "vanilla-6.12"
            stack = Stack(name=name, base=self.base)
            nowhere: Any = None
            revision = Revision(source=nowhere, commit=content, content=content, stack=stack)
            self._prefixes.append(Prefix(number=number, stack=stack, series="s", revision=revision))

    def revision(self, number: int) -> Revision:
        found = self._prefixes[number].revision
        assert found
        return found

    def walk(self, *names: str) -> list[MatrixRow]:
        """The rows of a matrix, in the order in which they are known."""
        return ask_all(self.asker, self._prefixes, names)


class NoInspector:
    """Knows nothing of warnings."""

    def new_warnings(self, *_: Revision, build: bool = False) -> None:
        """Says so."""


def ask_all(asker: Asker, prefixes: Sequence[Prefix], names: Sequence[str]) -> list[MatrixRow]:
    inspector: Any = NoInspector()
    walk = Walk(asker=asker, inspector=inspector, names=names, on_step=lambda _: None)
    return list(walk.rows(prefixes))


class Lab:
    """A base, a series that tests write, and who asks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        source = root / "linux"
        source.mkdir()
        for name, text in (("Kconfig", ""), ("Makefile", MAKEFILE), ("a.c", SOURCE)):
            (source / name).write_text(text)
        (source / "b.c").write_text(SOURCE.replace("line", "row"))
        kconfigs = root / "kconfigs"
        kconfigs.mkdir()
        (kconfigs / "configs.toml").write_text('[configs]\ndefault = ["on"]\nother = ["off"]\n')
        (kconfigs / "on.config").write_text("CONFIG_A=y\n")
        (kconfigs / "off.config").write_text("# CONFIG_A is not set\n")
        self.base = Base(name="6.12", source=DirectorySource(path=source))
        self.workspace = Workspace(root / "state")
        self.guests = PaperGuests()
        self.builder = Builder(workspace=self.workspace, kconfigs=kconfigs, values={})
        store = Store(self.workspace, ["image", "host"])
        self.asker = Asker(builder=self.builder, store=store, guests=self.guests)
        self._split: Sequence[Prefix] = ()
        self.home = root / "s" / "6.12"
        self.home.mkdir(parents=True)

    def open(self) -> Tree:
        with self.workspace.lock("tree-6.12"):
            return open_tree(self.workspace, self.base)

    def write(self, *changes: Change, file: str = "a.c") -> None:
        """Writes the series: a patch for each change of a file."""
        tree = self.open()
        for path in self.home.iterdir():
            path.unlink()
        text = (self.root / "linux" / file).read_text()
        texts = [text := change(text) for change in changes]
        top = write_history(tree.folder, texts, file=file, onto=tree.root)[-1]
        export(tree.folder, tree.root, top, self.home)
        self._split = ()

    @property
    def stack(self) -> Stack:
        patches = {"6.12": tuple(sorted(self.home.glob("*.patch")))}
        one = Series(name="s", title="T", origin="ours", needs=(), proves=("q",), patches=patches)
        return Stack(name="s-6.12", base=self.base, series=(one,))

    def split(self, *, anew: bool = False) -> Sequence[Prefix]:
        """The prefixes of the series as it was when this was asked first after a ``write``."""
        if anew:
            self._split = ()
        self._split = self._split or prefixes.split(self.open(), self.stack)
        return self._split

    def revision(self, number: int) -> Revision:
        found = self.split()[number].revision
        assert found
        return found

    def hunks(self) -> list[Hunk]:
        """The hunks of the whole series."""
        below, whole = self.revision(0), self.revision(len(self.split()) - 1)
        return find_hunks(self.open(), below.commit, whole.commit)

    def walk(self, *names: str) -> list[MatrixRow]:
        """The rows of a matrix, in the order in which they are known."""
        return ask_all(self.asker, self.split(), names)

    def builds(self) -> int:
        """How many kernels make has made so far."""
        found = (self.workspace.root / "work" / "objects").glob("*/builds")
        return sum(len(path.read_text().splitlines()) for path in found)


def write_history(
    folder: Path, texts: Sequence[str], *, file: str = "a.c", onto: str = ""
) -> list[str]:
    """A commit for each text of a file, all at once; the commits, whose branch is ``line``."""
    words = []
    for number, text in enumerate(texts, 1):
        said = f"a: change number {number}\n".encode()
        above = f"from {onto}\n" if number == 1 and onto else ""
        words += [
            f"commit refs/heads/line\nmark :{number}\n".encode(),
            b"committer nsaudit <nsaudit@localhost> 946684800 +0000\n",
            b"data %d\n%s%s" % (len(said), said, above.encode()),
            f"M 100644 inline {file}\ndata {len(text.encode())}\n{text}\n".encode(),
        ]
    git(folder, "fast-import", "--quiet", "--force", given=b"".join(words))
    count = f"--max-count={len(texts)}"
    return git(folder, "rev-list", "--reverse", count, "refs/heads/line").split()


def replace(old: str, new: str) -> Change:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change
