"""Which scenario missed which hunk when it was last taken away: ``missed.toml`` beside the patches.

To ask every hunk of a series takes hours, and the answers in the cache go with the machine. What
is written down stays with the series: who missed a hunk once is asked first, and who has only
changed a few hunks has only these asked. It is what was seen then, and says nothing of what has
changed around a hunk since.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.cells.asking import BUILDS
from harness.errors import SeriesError
from harness.kernel.hunks import Hunk
from harness.kernel.tables import read_toml
from harness.model import Fate, Mutant
from harness.workspace import write_atomically

MISSED = "missed.toml"
_HEAD = """\
# Who missed which hunk when it was taken away, by configuration, as `nsaudit mutate --record`
# saw it: a scenario, "boots", or "builds" where no kernel comes of it.
"""
_SHOWN = 60


@dataclass(kw_only=True)
class Record:
    """For the key of a hunk, the configuration and the name of who missed it.

    The name is that of a scenario, or ``asking.BUILDS`` or ``asking.BOOTS``. ``hints`` are the
    same of other bases: who missed a hunk there is asked first here, and nothing more follows.
    """

    seen: dict[str, tuple[str, str]] = field(default_factory=dict)
    hints: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Record:
        """What is written down in the folder of a series and a base; empty where nothing is.

        Raises SeriesError for what has not its form: a table for each configuration, that has
        the name by the hunk's key.
        """
        files = sorted(folder.parent.glob(f"*/{MISSED}"))
        read = {file.parent: _read(file) for file in files}
        return cls(seen=read.pop(folder, {}), hints=ChainMap(*read.values()))

    def who(self, hunk: Hunk, config: str) -> str:
        """Who missed it under this configuration; empty where nobody is known to."""
        known = self.seen.get(hunk.key) or self.hints.get(hunk.key)
        return known[1] if known and known[0] == config else ""

    def note(self, hunk: Hunk, config: str, name: str) -> None:
        """Keeps who missed a hunk, in place of what was known."""
        self.seen[hunk.key] = config, name

    def recall(self, hunk: Hunk) -> Mutant | None:
        """What became of a hunk when it was last asked, if that is known."""
        config, name = self.seen.get(hunk.key, ("", ""))
        if not name:
            return None
        why = f"{MISSED} has it, under {config}"
        by = "" if name == BUILDS else name
        fate = Fate.RECORDED
        return Mutant(place=hunk.place, text=hunk.text, fate=fate, config=config, by=by, why=why)

    def save(self, folder: Path, found: Iterable[Hunk]) -> None:
        """Writes down what is known of these hunks, in their order, and of no others."""
        text = _HEAD + "\n".join(self._lines(list(found))) + "\n"
        write_atomically(folder / MISSED, text)

    def _lines(self, found: list[Hunk]) -> Iterator[str]:
        known = [(one, *self.seen[one.key]) for one in found if one.key in self.seen]
        for config in dict.fromkeys(config for _, config, _ in known):
            yield f"\n[{config}]"
            for hunk, asked, name in known:
                if asked == config:
                    # For who reads it: what is there moves and changes without the key.
                    yield f'{hunk.key} = "{name}"  # {hunk.file}: {hunk.starts[:_SHOWN]}'


def _read(file: Path) -> dict[str, tuple[str, str]]:
    """The configuration and the name for each key of a hunk."""
    seen: dict[str, tuple[str, str]] = {}
    for config, table in read_toml(file).items():
        where = f"{'/'.join(file.parts[-3:])}: [{config}]"
        if not isinstance(table, dict):
            raise SeriesError(f"{where} is not a table")
        for key, name in table.items():
            if not isinstance(name, str):
                raise SeriesError(f"{where}: {key!r} must be a string")
            seen[key] = config, name
    return seen
