"""Scales: round ticks around the values, and days with long gaps folded."""

from datetime import date, timedelta

import pytest

from pilotline.tasks.report.plots.frame import (
    BOTTOM,
    FOLDED,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    scale_days,
    scale_values,
    show_tick,
)

DAY = date(2013, 2, 1)


@pytest.mark.parametrize(
    ("values", "from_zero", "ticks"),
    [
        ([0.41, 0.79], False, (0.4, 0.5, 0.6, 0.7, 0.8)),
        ([3.0, 97.0], True, (0, 25, 50, 75, 100)),
        ([0.0], True, (0, 0.25, 0.5, 0.75, 1.0)),
        ([-3.0, 1.0], True, (-3, -2, -1, 0, 1)),
        ([float("nan"), 2.0, 4.0], False, (2.0, 2.5, 3.0, 3.5, 4.0)),
    ],
)
def test_ticks_are_round_and_hold_the_values(
    values: list[float], from_zero: bool, ticks: tuple[float, ...]
) -> None:
    assert scale_values(values, from_zero).ticks == pytest.approx(ticks)


def test_values_alike_still_have_a_scale_around_them() -> None:
    scale = scale_values([5.0, 5.0], False)
    assert scale.low < 5 < scale.high


def test_the_ends_of_a_scale_are_the_ends_of_the_frame() -> None:
    scale = scale_values([0.0, 100.0], True)
    assert (scale.y(0), scale.y(100), scale.y(500)) == (HEIGHT - BOTTOM, TOP, TOP)


def test_a_quarter_keeps_both_its_decimals() -> None:
    scale = scale_values([0.0, 1.0], True)
    assert [show_tick(tick, scale) for tick in scale.ticks] == [
        "0.00",
        "0.25",
        "0.50",
        "0.75",
        "1.00",
    ]


def test_days_lie_to_scale_and_a_long_gap_is_folded() -> None:
    days = scale_days([DAY, DAY + timedelta(days=2), DAY + timedelta(days=150)])
    first, second, third = days.places.values()
    assert second - first == pytest.approx(2 * days.step)
    assert third - second == pytest.approx(FOLDED * days.step)
    (fold,) = days.folds
    assert fold == pytest.approx((second + third) / 2)
    assert first - days.step / 2 == pytest.approx(LEFT)
    assert third + days.step / 2 == pytest.approx(WIDTH - RIGHT)
