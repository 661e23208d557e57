"""Two distributions over each other: what was learned from as an area, what came as a line."""

from collections.abc import Sequence
from dataclasses import dataclass

from pilotline.tasks.report.plots.frame import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    draw,
    draw_values,
    scale_values,
)
from pilotline.tasks.report.plots.markup import Markup, join, tag

NAMED = 110  # px for the names of categories
BAR = 22  # px of a category's height


@dataclass(frozen=True)
class Shape:
    """Shares of one column's rows, before and now, by bin or by category."""

    labels: tuple[str, ...]  # of the bins' lower ends, or the categories
    before: tuple[float, ...]  # in [0, 1]
    after: tuple[float, ...]
    ordered: bool  # numbers in ascending bins; else categories, the most frequent first
    others: int = 0  # categories that the last label stands for


def draw_shape(title: str, desc: str, shape: Shape) -> Markup:
    """Return both distributions."""
    return (_draw_bins if shape.ordered else _draw_categories)(title, desc, shape)


def _draw_bins(title: str, desc: str, shape: Shape) -> Markup:
    scale = scale_values([100 * s for s in (*shape.before, *shape.after)], True)
    width = (WIDTH - LEFT - RIGHT) / len(shape.labels)
    foot = HEIGHT - BOTTOM
    parts = [draw_values(scale, " %")]
    for n, share in enumerate(shape.before):
        y = scale.y(100 * share)
        box = {"x": LEFT + n * width, "y": y, "width": width, "height": foot - y}
        parts.append(tag("rect", **box, class_="before"))
    parts.append(tag("polyline", points=_steps(shape.after, width, scale), class_="line l1"))
    every = max(1, -(-len(shape.labels) // 5))
    for n in range(0, len(shape.labels), every):
        x = LEFT + n * width + (width / 2 if len(shape.labels) <= 12 else 0)
        anchor = "middle" if n or len(shape.labels) <= 12 else "start"
        parts.append(tag("text", shape.labels[n], x=x, y=foot + 18, text_anchor=anchor))
    for n, label in enumerate(shape.labels):
        said = f"{label}: {shape.before[n]:.1%} before, {shape.after[n]:.1%} now"
        box = {"x": LEFT + n * width, "y": TOP, "width": width, "height": foot - TOP}
        parts.append(tag("rect", tag("title", said), **box, class_="glass"))
    return draw(title, desc, join(*parts))


def _steps(shares: Sequence[float], width: float, scale: Scale) -> str:
    points = [f"{LEFT},{scale.y(0):.1f}"]
    for n, share in enumerate(shares):
        y = scale.y(100 * share)
        points += [f"{LEFT + n * width:.1f},{y:.1f}", f"{LEFT + (n + 1) * width:.1f},{y:.1f}"]
    return " ".join([*points, f"{WIDTH - RIGHT},{scale.y(0):.1f}"])


def _draw_categories(title: str, desc: str, shape: Shape) -> Markup:
    single = len(shape.labels) - bool(shape.others)
    most = max((*shape.before[:single], *shape.after[:single]), default=1.0) or 1.0
    room = WIDTH - NAMED - 62
    parts = []
    for n, label in enumerate(shape.labels):
        y, before, after = n * BAR, shape.before[n], shape.after[n]
        said = f"{label}: {before:.1%} before, {after:.1%} now"
        shown = label if len(label) <= 14 else f"{label[:13]}\N{HORIZONTAL ELLIPSIS}"
        row = [tag("text", shown, x=NAMED - 8, y=y + 14, text_anchor="end")]
        if n == single:  # all the others together, whose bar would dwarf each of these
            row.append(tag("text", f"{after:.1%}, before {before:.1%}", x=NAMED, y=y + 14))
        else:
            one, two = before / most * room, after / most * room
            row += [
                tag("rect", x=NAMED, y=y + 2, width=one, height=8, class_="before"),
                tag("rect", x=NAMED, y=y + 10, width=two, height=8, class_="f1"),
                tag("text", f"{after:.1%}", x=NAMED + max(one, two) + 6, y=y + 14),
            ]
        parts.append(tag("g", tag("title", said), *row))
    return draw(title, desc, join(*parts), WIDTH, len(shape.labels) * BAR + 6)
