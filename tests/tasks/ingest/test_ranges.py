"""A range of days: both ends count, and what came in is told before what is refused."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import pytest

from pilotline.tasks.errors import NothingToDoError
from pilotline.tasks.ingest.days import DayIngested
from pilotline.tasks.ingest.ranges import list_days, tell_each

DAY = DayIngested("flights", date(2024, 2, 28), 12, 10, 2, "d" * 64, 3, True)


def test_both_ends_count_and_a_leap_day_too() -> None:
    assert list_days("flights", date(2024, 2, 28), date(2024, 3, 1)) == [
        date(2024, 2, 28),
        date(2024, 2, 29),
        date(2024, 3, 1),
    ]
    assert list_days("flights", DAY.date, DAY.date) == [DAY.date]


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(NothingToDoError) as refused:
        list_days("flights", date(2024, 3, 1), date(2024, 2, 28))
    assert str(refused.value) == (
        "Ingest of 'flights': 2024-02-28 is before 2024-03-01. Swap --start and --end."
    )


def test_each_day_is_told_and_logged_also_before_one_that_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def days() -> Iterator[DayIngested]:
        yield DAY
        yield replace(DAY, date=date(2024, 2, 29), note="3 rows were released before")
        raise NothingToDoError("Ingest of 'flights'", "no more", "Stop.")

    told: list[DayIngested] = []
    with caplog.at_level(logging.INFO, "pilotline"), pytest.raises(NothingToDoError):
        tell_each(days(), told.append)
    assert [one.date.day for one in told] == [28, 29]
    assert [(line.levelname, line.getMessage()) for line in caplog.records] == [
        ("INFO", "flights 2024-02-28: 10 accepted, 2 quarantined"),
        ("INFO", "flights 2024-02-29: 10 accepted, 2 quarantined"),
        ("WARNING", "flights 2024-02-29: 3 rows were released before"),
    ]
