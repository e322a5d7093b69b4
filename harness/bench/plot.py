"""A small plot: seconds over gigabytes, and the line on which cost would grow as the log does.

Both axes are logarithmic, so that this line is straight, and so is any power of the size. The
SVG loads nothing, has a title for who cannot see it, and each point says its figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from harness.bench.figure import Figure
from harness.errors import UsageError

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 24, 52
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #3d4650 }
.grid { stroke: #dde2e8 } .axis { stroke: #7a8590 }
.linear { stroke: #b26a00; stroke-dasharray: 5 4; fill: none }
.seen { stroke: #0b5394; stroke-width: 2; fill: none } .point { fill: #0b5394 }
.range { stroke: #0b5394; stroke-opacity: .5 }
"""


def draw(figures: Sequence[Figure]) -> str:
    """The SVG of figures that have a place ``at`` on the axis. Raises UsageError without two."""
    points = sorted((one.at, one) for one in figures if one.at)
    if len(points) < 2:
        raise UsageError("there is nothing to plot", hint="nsaudit bench growth --svg F")
    sizes = [at for at, _ in points]
    first = points[0][1].value / sizes[0]
    # Some room, so that the least is not on the axis.
    low = 0.8 * min(min(one.samples) for _, one in points)
    high = max(*(max(one.samples) for _, one in points), first * sizes[-1])
    x = _Scale(sizes[0], sizes[-1], _LEFT, _WIDTH - _RIGHT)
    y = _Scale(low, high, _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-labelledby="t">',
        f'<title id="t">{escape("; ".join(_say(at, one) for at, one in points))}</title>',
        f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>',
    ]
    for value in _ticks(low, high):
        line = f'x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"'
        parts.append(f'<line class="grid" {line}/>')
        parts.append(
            f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g} s</text>'
        )
    for at in sizes:
        line = f'y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" x1="{x(at):.1f}" x2="{x(at):.1f}"'
        parts.append(f'<line class="grid" {line}/>')
        where = f'x="{x(at):.1f}" y="{_HEIGHT - _BOTTOM + 20}" text-anchor="middle"'
        parts.append(f"<text {where}>{at:.2g} GB</text>")
    bottom = _HEIGHT - _BOTTOM
    parts.append(f'<path class="axis" fill="none" d="M{_LEFT} {_TOP}V{bottom}H{_WIDTH - _RIGHT}"/>')
    parts.append(f'<path class="linear" d="{_path((x(at), y(first * at)) for at in sizes)}"/>')
    parts.append(f'<path class="seen" d="{_path((x(at), y(one.value)) for at, one in points)}"/>')
    for at, one in points:
        span = f'y1="{y(min(one.samples)):.1f}" y2="{y(max(one.samples)):.1f}"'
        parts.append(f'<line class="range" x1="{x(at):.1f}" x2="{x(at):.1f}" {span}/>')
        place = f'cx="{x(at):.1f}" cy="{y(one.value):.1f}"'
        parts.append(f'<circle class="point" r="4" {place}><title>{_say(at, one)}</title></circle>')
    keys = f'x="{_WIDTH - _RIGHT}" text-anchor="end"'
    parts.append(f'<text {keys} y="{bottom - 26}">solid: measured, least to most</text>')
    parts.append(f'<text {keys} y="{bottom - 8}">dashed: as the log grows</text>')
    return "\n".join([*parts, "</svg>"])


class _Scale:
    """From a figure to pixels, by its logarithm."""

    def __init__(self, low: float, high: float, begin: float, end: float) -> None:
        self.low, self.span = math.log(low), math.log(high / low) or 1.0
        self.begin, self.size = begin, end - begin

    def __call__(self, value: float) -> float:
        return self.begin + self.size * (math.log(value) - self.low) / self.span


def _ticks(low: float, high: float) -> list[float]:
    """Round figures between two: 1, 2 and 5 of each power of ten."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return [one for one in found if low <= one <= high]


def _path(points: Iterable[tuple[float, float]]) -> str:
    pairs = [f"{x:.1f} {y:.1f}" for x, y in points]
    return "M" + "L".join(pairs)


def _say(at: float, one: Figure) -> str:
    return f"{at:.2f} GB: {one.value:.2f} s ({min(one.samples):.2f} to {max(one.samples):.2f})"
