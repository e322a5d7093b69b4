"""What scenarios there are, read from their files without importing them."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from harness.jobs import SCENARIOS
from harness.kernel.series import Catalogue
from harness.model import Outcome, Stack


def describe() -> list[tuple[str, str, str]]:
    """Each scenario with the stacks on which it must fail and the question that it asks."""
    rows = []
    for path in sorted(SCENARIOS.glob("*/test_*.py")):
        tree = ast.parse(path.read_text())
        broken = " ".join(_marked(tree, "broken"))
        if feature := _marked(tree, "feature"):
            broken = f"without {' or '.join(feature)}"
        if under := _marked(tree, "under"):
            broken += f", with --config {' or '.join(under)}"
        question = (ast.get_docstring(tree) or "").partition("\n")[0]
        rows.append((path.parent.name, broken, question))
    return rows


def regressions() -> list[str]:
    """The scenarios that ask for no series of ours, which every base can be asked."""
    trees = {p.parent.name: ast.parse(p.read_text()) for p in SCENARIOS.glob("*/test_*.py")}
    return sorted(name for name, tree in trees.items() if not _marked(tree, "feature"))


@dataclass(frozen=True, slots=True)
class Ends:
    """What a scenario is to show below a series and with all of it: ``PASS`` or ``SYMPTOM``."""

    below: Outcome
    whole: Outcome


def ends_of(name: str, stack: Stack, catalogue: Catalogue) -> Ends:
    """What a scenario's marker lets expect of a stack, without and with its last series."""
    path = next((SCENARIOS / name).glob("test_*.py"))
    tree = ast.parse(path.read_text())
    kinds = [
        dataclasses.replace(stack, series=series) for series in (stack.series[:-1], stack.series)
    ]
    if feature := set(_marked(tree, "feature")):
        found = [
            Outcome.PASS if feature <= {one.name for one in kind.series} else Outcome.SYMPTOM
            for kind in kinds
        ]
    else:
        broken = [
            catalogue.stacks[family].series
            for one in _marked(tree, "broken")
            if (family := f"{one}-{stack.base.name}") in catalogue.stacks
        ]
        found = [Outcome.SYMPTOM if kind.series in broken else Outcome.PASS for kind in kinds]
    return Ends(*found)


def elsewhere(names: Sequence[str], config: str) -> list[str]:
    """What to say of the named scenarios, or of all, that are not asked under ``config``."""
    found = []
    for path in sorted(SCENARIOS.glob("*/test_*.py")):
        under = _marked(ast.parse(path.read_text()), "under")
        if under and config not in under and (not names or path.parent.name in names):
            found.append(f"{path.parent.name} is only asked with --config {' or '.join(under)}")
    return found


def _marked(tree: ast.Module, key: str) -> list[str]:
    """The words of a list in the marker of a scenario, read without importing it."""
    return [
        str(element.value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("mark.scenario")
        for node in call.keywords
        if node.arg == key and isinstance(node.value, ast.List)
        for element in node.value.elts
        if isinstance(element, ast.Constant)
    ]
