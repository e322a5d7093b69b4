"""Writes a comparison down: Markdown as a mailing list reads it, and one HTML page.

Both say the same, in the same order, and none of it stands here: sentences are put together from
the figures. Markdown is at most 72 columns wide; what it takes from a run it names as the run
has it. The page is one file that loads nothing; its links lead to files of the run.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.compare.judge import Outcome
from harness.compare.result import Case, Comparison, Measure, Tally
from harness.report import html
from harness.trail import page

WIDTH = 72
_INDENT = "    "
_TEMPLATES = Path(__file__).parent / "templates"
_TRUTH = (
    "A deed is of the container whose task caused it, wherever that task was at the time. Whoever"
    " asks in which namespaces something happened, and not who did it, reads the cases of"
    " nsenter and setns the other way round."
)
_MIGRATION = (
    "In the cases of a migration nothing is checkpointed: a container ends on one host, and"
    " another host's guest begins one in its place, in other namespaces, with its id or without"
    " it, which is what logs have of a restore. A container that CRIU takes down and puts up"
    " again is followed by the scenario migration; its logs are not counted here."
)


@dataclass(frozen=True, slots=True)
class Sources:
    """Numbers for the files that figures come from, in the order of their use."""

    files: dict[str, int]

    def mark(self, names: Sequence[str]) -> str:
        """The numbers of some files, as they stand behind a figure."""
        return "".join(f"[{self.files.setdefault(name, len(self.files) + 1)}]" for name in names)


# -- sentences ----------------------------------------------------------------------


def conclusions(found: Comparison) -> list[str]:
    """Who wins where, in so many words."""
    return [*_about_deeds(found), *_about_figures(found)]


def _about_deeds(found: Comparison) -> Iterator[str]:
    deeds = sum(case.deeds for case in found.cases)
    shares = []
    for name in found.designs:
        one = found.totals(name)
        shares.append(
            f"{name} attributes {one.right} rightly, {one.wrong} wrongly and {one.none} not at all"
        )
    yield f"Of {deeds} deeds in {len(found.cases)} cases, {'; '.join(shares)}."
    for name in found.designs:
        if cases := found.only(name):
            yield f"Only {name} has rightly: {_listed(case.name for case in cases)}."
        else:
            yield f"There is no case that only {name} has rightly."
    if found.nobody:
        odd = _listed(f"{case.name} ({_ends(case)})" for case in found.nobody)
        yield f"Neither has rightly: {odd}."
    if found.everybody:
        yield f"Both have rightly: {_listed(case.name for case in found.everybody)}."


def _ends(case: Case) -> str:
    """How a case ended for each design: to say nothing is better than to say what is wrong."""
    words = {"right": "rightly", "wrong": "wrongly", "none": "not at all"}
    return ", ".join(f"{name} {words[tone(one)]}" for name, one in case.tallies.items())


def _about_figures(found: Comparison) -> Iterator[str]:
    for group in groups(found):
        measures = [one for one in found.measures if one.group == group]
        parts = []
        for name in found.designs:
            won = [one for one in measures if one.winner == name]
            if won:
                figures = _listed(f"{one.name} ({_against(one, name)})" for one in won)
                parts.append(f"{name} is better in {figures}")
        even = [one.name for one in measures if not one.winner]
        if even:
            parts.append(f"No difference in {_listed(even)}")
        yield f"{group[0].upper()}{group[1:]}: {'. '.join(parts)}."


def _against(one: Measure, name: str) -> str:
    others = [show(one, value) for other, value in one.values.items() if other != name]
    return f"{show(one, one.values[name])} to {', '.join(others)}"


def overall(found: Comparison) -> str:
    """One sentence: the groups of figures by who wins more of each."""
    won: dict[str, list[str]] = {}
    for group in groups(found):
        won.setdefault(winner_of(found, group), []).append(group)
    parts = [f"{name} wins on {_enumerated(won[name])}" for name in found.designs if name in won]
    if "" in won:
        parts.append(f"neither wins on {_enumerated(won[''])}")
    return f"By the figures below {'; '.join(parts)}."


def winner_of(found: Comparison, group: str) -> str:
    """Who wins more figures of a group than any other; nothing where nobody does."""
    measures = [one for one in found.measures if one.group == group]
    counts = sorted(
        ((sum(one.winner == name for one in measures), name) for name in found.designs),
        reverse=True,
    )
    return "" if counts[0][0] == counts[1][0] else counts[0][1]


def groups(found: Comparison) -> list[str]:
    """The groups of figures, in their order."""
    return list(dict.fromkeys(one.group for one in found.measures))


def show(one: Measure, value: float) -> str:
    """A figure with its unit."""
    text = f"{value:.0f}" if float(value).is_integer() or value >= 1000 else f"{value:.1f}"
    return f"{text} {one.unit}".strip()


def cell(tally: Tally) -> str:
    """A case in few characters: ``20 right``, ``1 of 3, 2 wrong``."""
    parts = [f"{tally.right} right"] if tally.right else []
    parts += [f"{tally.wrong} wrong"] if tally.wrong else []
    parts += [f"{tally.none} not"] if tally.none else []
    return ", ".join(parts)


def tone(tally: Tally) -> str:
    """The worst outcome in a case."""
    if tally.wrong:
        return Outcome.WRONG.name.lower()
    return (Outcome.NONE if tally.none else Outcome.RIGHT).name.lower()


def _enumerated(names: Sequence[str]) -> str:
    """Short names, as a sentence has them."""
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]


def _listed(names: Iterator[str] | Sequence[str]) -> str:
    """Names that may have commas of their own."""
    return "; ".join(names)


# -- Markdown -----------------------------------------------------------------------


def render_markdown(found: Comparison, command: str) -> str:
    """The report for a mailing list."""
    sources = Sources({})
    names = list(found.designs)
    parts = [f"# {' or '.join(names)}: who did it, and what it takes to know\n"]
    parts.append(_paragraph(f"Written by `{command}` from the run {found.run}; do not edit it."))
    parts.append("\n".join(_item(f"{name}: {title}") for name, title in found.designs.items()))
    parts.append("\n".join(_item(f"{name}: {value}") for name, value in found.about.items()))
    parts.append("## In so many words\n")
    parts.append(_paragraph(overall(found)))
    parts.append("\n".join(_item(one) for one in conclusions(found)))
    parts.append("## Who did it\n")
    parts.append(_paragraph(_TRUTH))
    parts.append(_paragraph(_MIGRATION))
    rows = [
        (case.name, str(case.deeds), *(cell(case.tallies[name]) for name in names))
        for case in found.cases
    ]
    parts.append(_table(("case", "deeds", *names), rows))
    parts.append(_paragraph("What they said instead, where it was not right:"))
    parts.append("\n".join(_said(case, names) for case in found.cases if _odd(case)))
    for group in groups(found):
        measures = [one for one in found.measures if one.group == group]
        parts.append(f"## {group[0].upper()}{group[1:]}\n")
        parts.append(
            _table(
                ("figure", *names, "winner", ""),
                [
                    (
                        one.name,
                        *(show(one, one.values[name]) for name in names),
                        one.winner or "-",
                        sources.mark(one.sources),
                    )
                    for one in measures
                ],
            )
        )
        if notes := [f"{one.name}: {one.note}" for one in measures if one.note]:
            parts.append("\n".join(_item(note) for note in notes))
    parts.append("## Where the figures come from\n")
    parts.append(_paragraph(f"Files of the run {found.run}, by their numbers above:"))
    parts.append("\n".join(f"{_INDENT}[{n}] {name}" for name, n in sources.files.items()))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _odd(case: Case) -> bool:
    return any(not one.whole for one in case.tallies.values())


def _said(case: Case, names: Sequence[str]) -> str:
    said = [
        f"{name} said: {_listed(case.tallies[name].words)}"
        for name in names
        if case.tallies[name].words
    ]
    return _item(f"{case.name}: {'; '.join(said)}")


def _paragraph(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _item(text: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=" - ",
        subsequent_indent="   ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as a mail shows them; the first is folded where all would be too wide."""
    others = [max(map(len, column)) for column in zip(*[heads, *rows], strict=True)][1:]
    room = WIDTH - len(_INDENT) - sum(others) - 2 * len(others)
    first = min(max(len(row[0]) for row in [heads, *rows]), max(room, 20))
    rule = ["-" * first, *("-" * width for width in others)]
    lines = [_INDENT + _line(heads, first, others), _INDENT + "  ".join(rule)]
    for row in rows:
        begin, *more = textwrap.wrap(row[0], first) or [""]
        lines.append(_INDENT + _line((begin, *row[1:]), first, others))
        lines += [f"{_INDENT}  {one}" for one in more]
    return "\n".join(line.rstrip() for line in lines)


def _line(cells: Sequence[str], first: int, others: Sequence[int]) -> str:
    rest = (cell.rjust(width) for cell, width in zip(cells[1:], others, strict=True))
    return "  ".join([cells[0].ljust(first), *rest])


# -- HTML ---------------------------------------------------------------------------


def render_html(found: Comparison, command: str, link: Callable[[str], str]) -> str:
    """The page. ``link`` says where a file of the run is, as the page has to name it."""
    words: Mapping[str, Callable[..., object]] = {
        **{"cell": cell, "tone": tone, "show": show, "link": link, "odd": _odd, "share": _share},
    }
    return (
        html.open_templates(_TEMPLATES)
        .get_template("compare.html.j2")
        .render(
            found=found,
            names=list(found.designs),
            command=command,
            overall=overall(found),
            conclusions=conclusions(found),
            truth=_TRUTH,
            migration=_MIGRATION,
            trail=page.NAME,
            groups=[
                (group, winner_of(found, group), [m for m in found.measures if m.group == group])
                for group in groups(found)
            ],
            **words,
        )
    )


def _share(one: Measure, name: str) -> float:
    """How long the bar of a figure is, in percent of the longest beside it."""
    most = max(one.values.values())
    return 100 * one.values[name] / most if most else 0.0
