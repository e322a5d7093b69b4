"""Reads the TOML files of the project, and says what is wrong with them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import SeriesError

_NAMES = {str: "a string", int: "a whole number", list: "a list of strings"}


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's content; SeriesError with the file's name when there is none to be had."""
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise SeriesError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SeriesError(f"{path.name} is not TOML: {error}", hint=f"mend {path}") from error


def checked(
    table: Any, keys: Mapping[str, type], where: str, defaults: Mapping[str, object]
) -> dict[str, Any]:
    """A table with exactly these keys and kinds, lists being of strings.

    ``defaults`` holds the keys that may be missing. Raises SeriesError that names the key.
    """
    if not isinstance(table, dict):
        raise SeriesError(f"{where} is not a table")
    if unknown := sorted(set(table) - set(keys)):
        raise SeriesError(f"{where}: unknown key {unknown[0]!r}", hint=f"known: {', '.join(keys)}")
    entry: dict[str, Any] = {}
    for key, kind in keys.items():
        value = table.get(key, defaults.get(key))
        words = value if isinstance(value, list) else []
        if not isinstance(value, kind) or not all(isinstance(word, str) for word in words):
            raise SeriesError(f"{where}: {key!r} must be {_NAMES[kind]}")
        entry[key] = value
    return entry
