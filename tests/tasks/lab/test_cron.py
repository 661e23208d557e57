"""Cron expressions: read as crontab(5) says, judged against Prefect's own reader."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.server.schemas.schedules import CronSchedule

from pilotline.tasks.lab.cron import read_cron


def field(low: int, high: int) -> st.SearchStrategy[str]:
    """Return a strategy of one field: a star, numbers, ranges and steps."""
    number = st.integers(low, high)
    pair = st.lists(number, min_size=2, max_size=2, unique=True).map(sorted)
    part = st.one_of(
        st.just("*"),
        number.map(str),
        pair.map(lambda ends: f"{ends[0]}-{ends[1]}"),
        st.integers(1, 9).map(lambda step: f"*/{step}"),
        st.tuples(pair, st.integers(1, 5)).map(lambda p: f"{p[0][0]}-{p[0][1]}/{p[1]}"),
    )
    return st.lists(part, min_size=1, max_size=2).map(",".join)


crons = st.one_of(
    st.tuples(field(0, 59), field(0, 23), field(1, 28), field(1, 12), st.just("*")),
    st.tuples(field(0, 59), field(0, 23), st.just("*"), field(1, 12), field(0, 6)),
).map(" ".join)


@given(text=crons, start=st.dates(date(2020, 1, 1), date(2030, 1, 1)))
@settings(max_examples=60, deadline=None)
def test_it_fires_on_the_days_and_at_the_time_that_prefect_says(text: str, start: date) -> None:
    cron = read_cron(text)
    midnight = datetime.combine(start, time(), UTC)
    plan = CronSchedule(cron=text, timezone="UTC")
    found = next(iter(plan._get_dates_generator(n=1, start=midnight)))
    days = (start + timedelta(days=n) for n in range(2000))
    assert found == datetime.combine(next(d for d in days if cron.fires_on(d)), cron.first, UTC)


def test_names_and_the_two_sundays_are_read() -> None:
    named, numbered = read_cron("0 2 * jan-mar sun,tue"), read_cron("0 2 * 1-3 7,2")
    assert (named.months, named.week_days) == (numbered.months, numbered.week_days)
    assert named.fires_on(date(2026, 1, 4))  # a Sunday
    assert not named.fires_on(date(2026, 4, 5))  # a Sunday in April


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "*/0 * * * *",
        "5-1 * * * *",
        "*-5 * * * *",
        "2-2 * * * *",
    ],
)
def test_what_is_no_cron_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"fields, expected 5|is outside|is none"):
        read_cron(text)
