"""Text of which nothing is obeyed by what shows it: a terminal, a browser, a parser of XML."""

from __future__ import annotations

import re

# A guest may print anything, and a log may have it: sequences that drive a terminal go first, as
# wholes, but never over the end of a line; then what XML 1.0 forbids, C1 controls, and the marks
# that begin a line or reorder text where nobody sees them.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_FORBIDDEN = re.compile(
    r"[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
    r"|[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
_LINE_ENDS = re.compile(r"\r+\n")
_SEPARATORS = re.compile(r"[\x1c-\x1f]")


def clean(text: str) -> str:
    """The text without control characters and terminal sequences; lines end in newlines.

    Separators of the C0 set, which some logs put between fields, become spaces.
    """
    text = _ESCAPES.sub("", _LINE_ENDS.sub("\n", text))
    return _FORBIDDEN.sub("", _SEPARATORS.sub(" ", text))


def one_line(text: str) -> str:
    """The text, clean, with every run of white space as one space."""
    return " ".join(clean(text).split())
