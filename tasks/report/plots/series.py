"""Plots of values by day: lines with intervals, and stacked bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from pilotline.tasks.report.plots.frame import (
    COLORS,
    LEFT,
    LONGEST_GAP,
    RIGHT,
    WIDTH,
    Days,
    Scale,
    draw,
    draw_days,
    draw_values,
    scale_days,
    scale_values,
)
from pilotline.tasks.report.plots.markup import Markup, join, tag

DOTS = 120  # days up to which each has a dot


@dataclass(frozen=True)
class Point:
    """One value; its interval where one is known."""

    day: date
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """Values of one kind, by day."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Stack:
    """Amounts by day that add up, each part with a name."""

    parts: Mapping[str, Mapping[date, float]] = field(default_factory=dict)

    @property
    def days(self) -> list[date]:
        """The days that any part has."""
        return sorted({day for part in self.parts.values() for day in part})


def draw_lines(
    title: str, desc: str, lines: Sequence[Line], *, from_zero: bool, level: float | None = None
) -> Markup:
    """Return lines by day with their intervals as bands; a dashed level where one is given."""
    points = [point for line in lines for point in line.points]
    days = scale_days(sorted({point.day for point in points}))
    ends = [end for p in points for end in (p.value, p.low, p.high) if end is not None]
    scale = scale_values([*ends, *([] if level is None else [level])], from_zero)
    parts = [draw_values(scale), draw_days(days)]
    if level is not None:
        y = scale.y(level)
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="level"))
    for index, line in enumerate(lines):
        parts.append(_draw_line(line, days, scale, index % COLORS + 1))
    return draw(title, desc, join(*parts))


def draw_stack(title: str, desc: str, stack: Stack) -> Markup:
    """Return stacked bars by day, the first part lowest."""
    days = scale_days(stack.days)
    totals = [sum(part.get(day, 0.0) for part in stack.parts.values()) for day in days.places]
    scale = scale_values(totals, True)
    # Gaps narrower than a pixel would look like stripes.
    width = min(18.0, days.step * 0.78) if days.step > 4 else days.step + 0.2
    bars = (_draw_bar(stack, day, days.x(day), width, scale) for day in days.places)
    return draw(title, desc, join(draw_values(scale), draw_days(days), *bars))


def draw_key(names: Sequence[str], level: str = "") -> Markup:
    """Return what each colour means, as text beside the drawing."""
    swatches = [
        tag("li", tag("i", class_=f"s{index % COLORS + 1}"), name)
        for index, name in enumerate(names)
    ]
    if level:
        swatches.append(tag("li", tag("i", class_="dash"), level))
    return tag("ul", *swatches, class_="key")


def _draw_line(line: Line, days: Days, scale: Scale, color: int) -> Markup:
    parts = []
    for piece in _pieces(line.points):
        sure = [p for p in piece if p.low is not None and p.high is not None]
        if len(sure) > 1:
            upper = [f"{days.x(p.day):.1f},{scale.y(p.high or 0.0):.1f}" for p in sure]
            lower = [f"{days.x(p.day):.1f},{scale.y(p.low or 0.0):.1f}" for p in reversed(sure)]
            parts.append(tag("polygon", points=" ".join([*upper, *lower]), class_=f"band f{color}"))
        elif sure:
            x, (low, high) = days.x(sure[0].day), (sure[0].low or 0.0, sure[0].high or 0.0)
            y1, y2 = scale.y(low), scale.y(high)
            parts.append(tag("line", x1=x, x2=x, y1=y1, y2=y2, class_=f"whisker l{color}"))
        path = " ".join(f"{days.x(p.day):.1f},{scale.y(p.value):.1f}" for p in piece)
        parts.append(tag("polyline", points=path, class_=f"line l{color}"))
        if len(line.points) <= DOTS or len(piece) == 1:
            parts += [_dot(line.name, p, days, scale, color) for p in piece]
    return join(*parts)


def _dot(name: str, point: Point, days: Days, scale: Scale, color: int) -> Markup:
    said = f"{name}, {point.day}: {point.value:.4g}"
    if point.low is not None and point.high is not None:
        said += f" ({point.low:.4g} to {point.high:.4g})"
    x, y = days.x(point.day), scale.y(point.value)
    return tag("circle", tag("title", said), cx=x, cy=y, r=2.6, class_=f"f{color}")


def _pieces(points: Sequence[Point]) -> list[list[Point]]:
    """Return the points in pieces without a long gap: a line over one would invent values."""
    pieces: list[list[Point]] = []
    for point in points:
        if pieces and (point.day - pieces[-1][-1].day).days <= LONGEST_GAP:
            pieces[-1].append(point)
        else:
            pieces.append([point])
    return pieces


def _draw_bar(stack: Stack, day: date, x: float, width: float, scale: Scale) -> Markup:
    said, parts, below = [str(day)], [], 0.0
    for index, (name, amounts) in enumerate(stack.parts.items()):
        amount = amounts.get(day, 0.0)
        said.append(f"{name} {amount:,.4g}")
        if amount > 0:
            top, bottom = scale.y(below + amount), scale.y(below)
            # Even a little is seen: of 900 rows 3 in quarantine matter.
            height = max(bottom - top, 1.5)
            color = f"f{index % COLORS + 1}"
            parts.append(
                tag(
                    "rect",
                    x=x - width / 2,
                    y=bottom - height,
                    width=width,
                    height=height,
                    class_=color,
                )
            )
        below += amount
    return tag("g", tag("title", "; ".join(said)), *parts)
