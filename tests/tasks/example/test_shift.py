"""Flights of these days: those of 2013, whole weeks later, each day once."""

import sqlite3
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest

from pilotline.tasks.errors import SettingsError
from pilotline.tasks.example.shift import shift_flights

DAYS_2013 = [date(2013, 1, 1) + timedelta(days=n) for n in range(365)]


@pytest.fixture
def online(tmp_path: Path) -> Path:
    """Return a small repository: on each day of 2013 one flight, numbered by the day's weekday."""
    path = tmp_path / "online.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            "create table flights (flight_date text, carrier text, flight integer, origin text, "
            "dest text, tailnum text, hour integer, minute integer, distance integer, "
            "dep_delay real);"
            "create table arrivals (flight_date text, carrier text, flight integer, origin text, "
            "arr_delay real);"
        )
        rows = [(day.isoformat(), day.isoweekday()) for day in DAYS_2013]
        database.executemany("insert into flights (flight_date, flight) values (?, ?)", rows)
        database.executemany("insert into arrivals (flight_date, flight) values (?, ?)", rows)
        database.commit()
    return path


def days_in(path: Path, table: str = "flights") -> dict[date, int]:
    """Return the shifted days with their flight's number; each must be there once."""
    with closing(sqlite3.connect(path)) as database:
        query = f"select flight_date, flight from {table} where flight_date > '2013-12-31'"
        rows = database.execute(query).fetchall()
    found = {date.fromisoformat(day): number for day, number in rows}
    assert len(found) == len(rows)
    return found


@pytest.mark.parametrize(
    "today",
    [date(2026, 1, 1), date(2026, 11, 21), date(2026, 12, 31), date(2030, 12, 31)],
)
def test_every_day_around_today_has_the_flights_of_its_weekday(online: Path, today: date) -> None:
    shifted = shift_flights(online, today)
    days = days_in(online)
    assert shifted.first <= today
    assert shifted.last >= today + timedelta(days=360)
    length = (shifted.last - shifted.first).days + 1
    assert sorted(days) == [shifted.first + timedelta(days=n) for n in range(length)]
    assert all(day.isoweekday() == number for day, number in days.items())
    assert days_in(online, "arrivals") == days


def test_shifting_again_adds_only_what_is_not_there(online: Path) -> None:
    shift_flights(online, date(2026, 1, 1))
    before = days_in(online)
    shift_flights(online, date(2026, 1, 2))
    assert days_in(online) == before
    shift_flights(online, date(2027, 2, 1))
    assert set(before) < set(days_in(online))


def test_a_repository_that_was_never_seeded_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing\.db.*the file is missing"):
        shift_flights(tmp_path / "nothing.db", date(2026, 1, 1))
