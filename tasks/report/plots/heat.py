"""A heat map: how far each column of each window is from a threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

from pilotline.tasks.report.plots.frame import draw
from pilotline.tasks.report.plots.markup import Markup, join, tag

ROW = 30
NAMED = 150  # px for the names at the left
WIDEST, NARROWEST = 64, 15  # px of a cell
ROOM = 900  # px that all cells together may take before they narrow
SPELLED = 40  # px from which a cell has its number in it


@dataclass(frozen=True)
class Cell:
    """One field; ``share`` is of the threshold, and 1 or more is over it."""

    share: float | None  # None: nothing to say
    state: str  # over, under or unsure
    said: str  # for whoever points at it, or hears it


def draw_heat(
    title: str,
    desc: str,
    rows: Sequence[str],
    columns: Sequence[tuple[str, str]],
    cells: Sequence[Sequence[Cell]],
) -> Markup:
    """Return the map; stronger is further, what is over its threshold has a border or a dot.

    Args:
        title: of the drawing.
        desc: what it shows, in words.
        rows: their names.
        columns: the name of each, and a remark below it.
        cells: one sequence a row.
    """
    size = min(WIDEST, max(NARROWEST, ROOM / max(1, len(columns))))
    parts = []
    for row, name in enumerate(rows):
        y = row * ROW
        parts.append(tag("text", _short(name), x=NAMED - 8, y=y + ROW / 2 + 4, text_anchor="end"))
        parts += [_draw_cell(cell, NAMED + n * size, y, size) for n, cell in enumerate(cells[row])]
    foot = len(rows) * ROW + 16
    every = max(1, round(72 / size))
    for n, names in enumerate(columns):
        if n % every == 0:
            x = NAMED + n * size + 1
            parts += [tag("text", name, x=x, y=foot + 15 * m) for m, name in enumerate(names)]
    width = NAMED + len(columns) * size + 60
    return draw(title, desc, join(*parts), width, foot + 23)


def _draw_cell(cell: Cell, x: float, y: float, size: float) -> Markup:
    box = {"x": x + 1, "y": y + 1, "width": size - 2, "height": ROW - 2.0, "rx": 3}
    if cell.share is None or cell.state == "unsure":
        parts = [tag("rect", **box, class_="unsure")]
    else:
        heat = f"{min(1.0, 0.06 + 0.47 * min(cell.share, 2.0)):.2f}"
        parts = [tag("rect", **box, class_=f"heat {cell.state}", fill_opacity=heat)]
    if cell.share is not None and size >= SPELLED:
        strong = "strong" if cell.state == "over" and cell.share > 1.2 else "number"
        said = f"{cell.share:.2f}" if cell.share < 10 else f"{cell.share:.0f}"
        place = {"x": x + size / 2, "y": y + ROW / 2 + 4, "text_anchor": "middle"}
        parts.append(tag("text", said, class_=strong, **place))
    elif cell.state == "over":
        parts.append(tag("circle", cx=x + size / 2, cy=y + ROW / 2, r=2.5, class_="over-dot"))
    return tag("g", tag("title", cell.said), *parts)


def _short(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:19]}\N{HORIZONTAL ELLIPSIS}"
