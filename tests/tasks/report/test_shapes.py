"""Shapes of two profiles add up, and show what moved."""

import pyarrow as pa
import pytest

from pilotline.tasks.report.shapes import BINS, TOP, shape_numbers, shape_texts
from pilotline.tasks.stats.columns import Column, Numbers, Texts
from pilotline.tasks.stats.profiles import profile_rows


def column_of(values: list[float] | list[str]) -> Column:
    """Return the profile of ``values``."""
    return profile_rows(pa.table({"x": values})).columns["x"]


def numbers(values: list[float]) -> Numbers:
    """Return the profile of numbers."""
    column = column_of(values)
    assert isinstance(column, Numbers)
    return column


def texts(values: list[str]) -> Texts:
    """Return the profile of texts."""
    column = column_of(values)
    assert isinstance(column, Texts)
    return column


def test_few_numbers_are_shown_one_by_one() -> None:
    shape = shape_numbers(numbers([1, 1, 1, 2]), numbers([2, 2, 3, 3]))
    assert shape.labels == ("1", "2", "3")
    assert shape.before == (0.75, 0.25, 0)
    assert shape.after == (0, 0.5, 0.5)


def test_many_numbers_are_binned_and_a_far_one_does_not_squeeze_them() -> None:
    spread = [float(n) for n in range(1000)]
    shape = shape_numbers(numbers(spread), numbers([*spread, 1e12]))
    assert len(shape.labels) == BINS
    assert sum(shape.before) == pytest.approx(1)
    assert sum(shape.after) == pytest.approx(1)
    assert max(shape.before) < 3 / BINS


def test_the_categories_that_moved_most_are_shown_and_the_others_counted() -> None:
    names = [f"c{n}" for n in range(30)]
    before, after = names * 100, [*names * 100, *["c7"] * 1000]
    shape = shape_texts(texts(before), texts(after))
    assert len(shape.labels) == TOP + 1
    assert (shape.labels[0], shape.labels[-1], shape.others) == ("c7", "20 others", 20)
    assert shape.before[0] == pytest.approx(1 / 30)
    assert shape.after[0] == pytest.approx(1100 / 4000)
    assert sum(shape.after) == pytest.approx(1)


def test_categories_too_many_to_count_are_buckets() -> None:
    many = [f"c{n}" for n in range(5000)]
    shape = shape_texts(texts(["a", "b"]), texts(many))
    assert shape.labels[0].startswith("bucket #")
    assert sum(shape.before) == pytest.approx(1)
