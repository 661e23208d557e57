"""The as-of join: the newest row that is not too new and not too old, or nothing."""

from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotline.tasks.errors import InputRefusedError
from pilotline.tasks.features.as_of import AsOf, Joined
from pilotline.tasks.features.plans import JoinPlan
from pilotline.tasks.lab.datasets import Column

DAY = date(2013, 1, 10)
Row = tuple[str | None, int, float | None]  # airport, days before DAY, temperature
SCHEMA = pa.schema([("origin", pa.string()), ("temp", pa.float64()), ("day", pa.date32())])


def plan(lag_days: int = 1, max_age_days: int = 3) -> JoinPlan:
    """Return a plan of joining temperatures by airport."""
    columns = {"temp": Column("float64", nullable=True)}
    on = {"origin": Column("string", nullable=True)}
    return JoinPlan("weather", on, "day", ("day", "origin"), lag_days, max_age_days, columns)


def weather(*rows: Row) -> pa.Table:
    """Return rows of the second dataset."""
    found = [{"origin": o, "temp": t, "day": DAY - timedelta(days=back)} for o, back, t in rows]
    return pa.Table.from_pylist(found, SCHEMA)


def find(
    rows: pa.Table, *origins: str | None, lag_days: int = 1, max_age_days: int = 3
) -> list[Any]:
    """Return the temperatures found for flights of DAY."""
    asked = pa.table({"origin": pa.array(origins, pa.string())})
    found = AsOf(plan(lag_days, max_age_days), rows).find(asked, DAY)
    assert found.column_names == ["weather.temp"]
    return list(found["weather.temp"].to_pylist())


def test_the_newest_row_of_the_window_is_taken_in_the_order_of_the_flights() -> None:
    rows = weather(("JFK", 1, 1.0), ("EWR", 3, 3.0), ("EWR", 2, 2.0), ("JFK", 4, 4.0))
    assert find(rows, "EWR", "JFK", "EWR") == [2.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("back", "lag_days", "max_age_days", "found"),
    [
        (0, 1, 3, False),  # the day itself
        (-1, 1, 3, False),  # the day after
        (1, 1, 3, True),
        (4, 1, 3, True),  # lag and age together
        (5, 1, 3, False),
        (0, 0, 0, True),  # the same day, where that is asked for
        (-1, 0, 0, False),
        (1, 0, 0, False),
    ],
)
def test_both_ends_of_the_window_belong_to_it(
    back: int, lag_days: int, max_age_days: int, found: bool
) -> None:
    row = weather(("EWR", back, 7.0))
    seen = find(row, "EWR", lag_days=lag_days, max_age_days=max_age_days)
    assert seen == [7.0 if found else None]


def test_what_is_not_there_is_null_and_null_matches_nothing() -> None:
    assert find(weather(), "EWR") == [None]
    assert find(weather(("EWR", 1, None)), "EWR") == [None]
    rows = weather((None, 1, 9.0), (None, 1, 8.0), ("EWR", 1, 7.0))
    assert find(rows, None, "LGA", "EWR") == [None, None, 7.0]


def test_the_newest_row_counts_even_where_its_value_is_missing() -> None:
    assert find(weather(("EWR", 2, 2.0), ("EWR", 1, None)), "EWR") == [None]


def test_two_rows_alike_on_one_day_are_refused_by_name() -> None:
    rows = weather(("EWR", 2, 1.0), ("EWR", 2, 2.0))
    said = (
        r"^Input 'weather': 2 rows of 2013-01-08 have origin=EWR\. Which one belongs to a row is "
        r"anybody's guess: join by more columns, or ingest fewer\.$"
    )
    with pytest.raises(InputRefusedError, match=said):
        AsOf(plan(), rows)


def test_each_row_of_several_days_is_joined_by_its_own_day() -> None:
    flights = pa.table(
        {
            "day": pa.array([DAY, DAY - timedelta(days=1), DAY], pa.date32()),
            "origin": ["EWR", "EWR", "JFK"],
        }
    )
    joined = Joined([AsOf(plan(), weather(("EWR", 1, 1.0), ("EWR", 2, 2.0)))], "day")
    assert joined.add(flights).to_pylist() == [
        {"day": DAY, "origin": "EWR", "weather.temp": 1.0},
        {"day": DAY - timedelta(days=1), "origin": "EWR", "weather.temp": 2.0},
        {"day": DAY, "origin": "JFK", "weather.temp": None},
    ]
    assert joined.add(flights.slice(0, 0)).column_names == ["day", "origin", "weather.temp"]


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["EWR", "JFK", None]),
        st.integers(-4, 8),
        st.floats(allow_nan=False) | st.none(),
    ),
    max_size=30,
    unique_by=lambda row: row[:2],
)


@given(rows=ROWS, lag=st.integers(0, 3), age=st.integers(0, 4))
def test_rows_of_days_to_come_change_nothing(rows: list[Row], lag: int, age: int) -> None:
    known = [row for row in rows if row[1] >= lag]
    origins = ("EWR", "JFK", "LGA", None)
    everything = find(weather(*rows), *origins, lag_days=lag, max_age_days=age)
    assert everything == find(weather(*known), *origins, lag_days=lag, max_age_days=age)


@given(rows=ROWS, lag=st.integers(0, 3), age=st.integers(0, 4))
def test_the_join_is_what_a_search_by_hand_finds(rows: list[Row], lag: int, age: int) -> None:
    def search(origin: str | None) -> float | None:
        fit = [row for row in rows if row[0] == origin and lag <= row[1] <= lag + age]
        return min(fit, key=lambda row: row[1])[2] if fit and origin else None

    origins = ("JFK", "EWR", None, "JFK")
    found = find(weather(*rows), *origins, lag_days=lag, max_age_days=age)
    assert found == [search(origin) for origin in origins]
