"""Two profiles of a column as one shape to draw: few bins, or few categories."""

from collections.abc import Mapping

import numpy as np

from pilotline.tasks.report.plots.shapes import Shape
from pilotline.tasks.stats import Numbers, Texts, pair_numbers, pair_texts, to_buckets

BINS = 24  # of a distribution of numbers
TOP = 10  # categories of a distribution
CUT = 0.005  # share beyond either end of the bins: a far value would leave the others one bin


def shape_numbers(before: Numbers, after: Numbers) -> Shape:
    """Return shares of rows by at most 24 values or equally wide bins.

    What lies beyond the middle 99 % of the rows is in the bins at the ends.
    """
    pair = pair_numbers(before, after)
    assert pair.places is not None
    one, two = pair.shares()
    if len(pair.places) <= BINS:
        labels = [_label(float(place)) for place in pair.places]
        return Shape(tuple(labels), tuple(one.tolist()), tuple(two.tolist()), True)
    below = np.cumsum((one + two) / 2)
    low, high = (float(pair.places[np.searchsorted(below, at)]) for at in (CUT, 1 - CUT))
    if high <= low:
        low, high = float(pair.places[0]), float(pair.places[-1])
    edges = np.linspace(low, high, BINS + 1)
    where = np.clip(np.searchsorted(edges, pair.places, side="right") - 1, 0, BINS - 1)
    shares = [np.bincount(where, side, BINS).tolist() for side in (one, two)]
    return Shape(tuple(map(_label, edges[:-1].tolist())), tuple(shares[0]), tuple(shares[1]), True)


def shape_texts(before: Texts, after: Texts) -> Shape:
    """Return shares of rows by category: the ten that moved most by their share, and the rest.

    Where there are too many to count one by one, the categories are buckets of their CRC.
    """
    pair = pair_texts(before, after)
    one, two = pair.shares()
    hashed = before.hashed or after.hashed
    keys = sorted(_keys(before, after, hashed))
    moved = np.argsort(-np.abs(two - one), kind="stable")
    top, rest = moved[:TOP], moved[TOP:]
    top = top[np.argsort(-np.maximum(one, two)[top], kind="stable")]
    labels = [f"bucket {keys[n]}" if hashed else keys[n] for n in top]
    shares = [[float(side[n]) for n in top] for side in (one, two)]
    if len(rest):
        labels.append("1 other" if len(rest) == 1 else f"{len(rest):,} others")
        for found, side in zip(shares, (one, two), strict=True):
            found.append(float(side[rest].sum()))
    return Shape(tuple(labels), tuple(shares[0]), tuple(shares[1]), False, len(rest))


def _keys(before: Texts, after: Texts, hashed: bool) -> set[str]:
    sides: list[Mapping[str, int]] = [
        c.counts if c.hashed or not hashed else to_buckets(c.counts) for c in (before, after)
    ]
    return {*sides[0], *sides[1]}


def _label(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
