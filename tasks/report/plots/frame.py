"""Plots as inline SVG: frame, scales and axes that every kind of plot shares.

Colours are variables of the page (report/pages/report.css), so one drawing serves light and dark.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from pilotline.tasks.report.plots.markup import Markup, join, tag

WIDTH, HEIGHT = 520, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 30
LONGEST_GAP = 10  # days without data that are drawn to scale; a longer gap is folded ...
FOLDED = 4  # ... to this many
COLORS = 6  # of series, in report.css


@dataclass(frozen=True)
class Scale:
    """Values up the left side."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def y(self, value: float) -> float:
        """Return the place of ``value``, held inside the frame."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


@dataclass(frozen=True)
class Days:
    """Days along the bottom; a long gap is folded, and its place marked."""

    places: dict[date, float]
    step: float  # width of a day
    folds: tuple[float, ...]

    def x(self, day: date) -> float:
        """Return the middle of ``day``."""
        return self.places[day]


def scale_values(values: Sequence[float], from_zero: bool) -> Scale:
    """Return a scale with three to six round ticks that holds all ``values``."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    if from_zero:
        low, high = min(0.0, low), max(0.0, high)
    if high - low < 1e-12:
        spread = abs(high) * 0.1 or 1.0
        low, high = (low if from_zero and low >= 0 else low - spread), high + spread
    step = _round_step((high - low) / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(n * step for n in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], ticks)


def scale_days(days: Sequence[date]) -> Days:
    """Return places for ``days``, which are distinct and ascending."""
    offsets, at, folded = [0.0], 0.0, []
    for before, after in pairwise(days):
        gap = (after - before).days
        if gap > LONGEST_GAP:
            gap = FOLDED
            folded.append(at + gap / 2)
        at += gap
        offsets.append(at)
    step = (WIDTH - LEFT - RIGHT) / (at + 1)
    places = [LEFT + (offset + 0.5) * step for offset in offsets]
    folds = tuple(LEFT + (offset + 0.5) * step for offset in folded)
    return Days(dict(zip(days, places, strict=True)), step, folds)


def draw(
    title: str, desc: str, body: Markup, width: float = WIDTH, height: float = HEIGHT
) -> Markup:
    """Return the whole drawing; ``title`` and ``desc`` are what a screen reader says."""
    return tag(
        "svg",
        tag("title", title),
        tag("desc", desc),
        body,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        role="img",
        aria_label=f"{title}. {desc}",
    )


def draw_values(scale: Scale, unit: str = "") -> Markup:
    """Return the grid and the numbers up the left side."""
    parts = []
    for tick in scale.ticks:
        y = scale.y(tick)
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(_text(show_tick(tick, scale) + unit, LEFT - 6, y + 4, "end"))
    return join(*parts)


def draw_days(days: Days) -> Markup:
    """Return the dates along the bottom, as many as have room, and the marks of folded gaps."""
    parts = []
    for x in days.folds:
        for shift in (-2.5, 2.5):
            points = f"M{x + shift - 2:.1f} {HEIGHT - BOTTOM + 5} l4 -10"
            parts.append(tag("path", d=points, class_="fold"))
        parts.append(tag("line", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM - 6, class_="gap"))
    for day in _labelled(days):
        x, edge = days.x(day), days.step / 2 + 4
        anchor = "start" if x - edge < LEFT else "end" if x + edge > WIDTH - RIGHT else "middle"
        shift = {"start": -days.step / 2, "end": days.step / 2, "middle": 0.0}[anchor]
        parts.append(_text(f"{day:%-d %b}", x + shift, HEIGHT - BOTTOM + 18, anchor))
    return join(*parts)


def show_tick(value: float, scale: Scale) -> str:
    """Return a tick's number, with as many decimals as tell it from the next."""
    step = scale.ticks[1] - scale.ticks[0]
    if scale.high >= 10_000 and step >= 1000:
        return f"{value / 1000:,.0f}k"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if abs(round(step, decimals) - step) > step / 100:  # 2.5 of its unit
        decimals += 1
    return f"{value:,.{decimals}f}"


def _labelled(days: Days) -> list[date]:
    """Return days whose labels do not touch: the ends, those beside folds, then what fits."""
    listed = list(days.places)
    ends = {listed[0], listed[-1]}
    beside = {b for a, b in pairwise(listed) if (b - a).days > LONGEST_GAP}
    chosen: list[date] = []
    for day in [*sorted(ends), *sorted(beside), *listed]:
        x = min(max(days.x(day), LEFT), WIDTH - RIGHT)
        if all(abs(x - days.x(other)) >= 70 for other in chosen):
            chosen.append(day)
    return sorted(chosen)


def _round_step(rough: float) -> float:
    size = 10.0 ** math.floor(math.log10(rough))
    return float(next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough))


def _text(text: str, x: float, y: float, anchor: str) -> Markup:
    return tag("text", text, x=x, y=y, text_anchor=anchor)
