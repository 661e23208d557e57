"""Schedules: each night is due once, on every calendar and across every change of the clocks."""

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prefect.server.schemas.schedules import CronSchedule

from pilotline.tasks.errors import LabError
from pilotline.tasks.lab.cron import read_cron
from pilotline.tasks.lab.models import load_model_folder
from pilotline.tasks.lab.schedules import Schedule, read_schedule
from pilotline.tasks.lab.toml_table import Table
from tests.support.places import ROOT

# With changes of an hour, of half an hour, at midnight, on Fridays, none, and one of a whole day.
ZONES = (
    "America/New_York",
    "America/Havana",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Pacific/Apia",
    "Pacific/Chatham",
    "UTC",
)
NIGHTLY = {"score": "0 2 * * *", "timezone": "America/New_York"}
LAB = ROOT / "lab"

zones = st.sampled_from(ZONES)
years = st.sampled_from([2010, 2011, 2013, 2018, 2024, 2026])
clocks = st.times(max_value=time(4)).map(lambda clock: clock.replace(second=0, microsecond=0))


def nightly(zone: str, clock: time, lag_days: int = 1, deliver_by: time | None = None) -> Schedule:
    """Return a schedule that fires once on every day."""
    return Schedule(read_cron(f"{clock.minute} {clock.hour} * * *"), zone, lag_days, deliver_by)


def days_of(zone: str, year: int) -> list[date]:
    """Return the days that the calendar of ``zone`` had in ``year``, by walking through it."""
    found: list[date] = []
    moment = datetime(year - 1, 12, 30, tzinfo=UTC)
    while moment < datetime(year + 1, 1, 3, tzinfo=UTC):
        day = moment.astimezone(ZoneInfo(zone)).date()
        if day.year == year and day not in found[-1:]:
            found.append(day)
        moment += timedelta(hours=6)
    return found


@given(zone=zones, year=years, clock=clocks, lag_days=st.integers(0, 3))
@example(zone="Pacific/Apia", year=2011, clock=time(2), lag_days=1)
@example(zone="Australia/Lord_Howe", year=2026, clock=time(2, 15), lag_days=1)
@settings(max_examples=40, deadline=None)
def test_every_day_of_a_year_is_due_once_in_every_zone(
    zone: str, year: int, clock: time, lag_days: int
) -> None:
    schedule = nightly(zone, clock, lag_days)
    start, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    windows = [start + n * (end - start) / 97 for n in range(98)]  # cut anywhere, as starts do
    found = [day for since, until in pairwise(windows) for day in schedule.nights(since, until)]
    expected = set(days_of(zone, year))
    inner = {day for day in expected if date(year, 1, 6) <= day <= date(year, 12, 24)}
    assert len(found) == len(set(found))
    assert inner <= set(found)
    assert {day for day in found if day.year == year} <= expected


@given(zone=zones, year=years, clock=clocks)
@example(zone="America/Havana", year=2026, clock=time(0, 15))
@example(zone="Africa/Cairo", year=2010, clock=time(0, 15))
@settings(max_examples=10, deadline=None)
def test_the_starts_of_prefect_leave_no_night_out_and_none_is_done_before_its_day_is_over(
    zone: str, year: int, clock: time
) -> None:
    schedule, own = nightly(zone, clock), ZoneInfo(zone)
    plan = CronSchedule(cron=schedule.cron.text, timezone=zone)
    begin = datetime(year, 1, 1, 12, tzinfo=own)
    starts = asyncio.run(plan.get_dates(n=360, start=begin))
    moments = [datetime.fromtimestamp(start.timestamp(), UTC) for start in starts]
    done: list[date] = []
    for at in sorted(moments):
        new = [day for day in schedule.nights(begin, at) if day not in done]
        assert all(at.astimezone(own).date() > day for day in new)
        assert len(new) <= 1  # no start finds the night before left over
        done += new
    days = [day for day in days_of(zone, year) if begin.date() <= day]
    assert done == days[: len(done)]
    assert len(done) > 350


def test_a_night_in_the_hour_that_spring_skips_is_due_when_the_hour_is_over() -> None:
    # New York, 8 March 2026: 01:59:59 EST is followed by 03:00:00 EDT.
    due = nightly("America/New_York", time(2, 30)).due(date(2026, 3, 7))
    assert due == datetime(2026, 3, 8, 7, 30, tzinfo=UTC)  # 03:30 EDT


def test_a_night_in_the_hour_that_autumn_repeats_is_due_at_its_first() -> None:
    # New York, 1 November 2026: 01:30 comes at 05:30 UTC (EDT) and at 06:30 UTC (EST).
    due = nightly("America/New_York", time(1, 30)).due(date(2026, 10, 31))
    assert due == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)


def test_a_night_is_wanted_on_the_morning_after_it_began() -> None:
    evening = nightly("UTC", time(4), deliver_by=time(3))
    assert evening.deadline(date(2026, 1, 1)) == datetime(2026, 1, 3, 3, tzinfo=UTC)
    morning = nightly("UTC", time(4), deliver_by=time(6))
    assert morning.deadline(date(2026, 1, 1)) == datetime(2026, 1, 2, 6, tzinfo=UTC)


def test_a_schedule_of_mondays_owes_the_sunday_before() -> None:
    schedule = Schedule(read_cron("0 2 * * mon"), "UTC", 1, None)
    found = schedule.nights(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC))
    assert found == [date(2026, 11, day) for day in (1, 8, 15, 22)]


def test_the_example_is_scheduled_each_night_at_two_in_new_york() -> None:
    schedule = load_model_folder(LAB, "flight-delay").spec.schedule
    assert schedule is not None
    assert schedule.due(date(2026, 11, 20)) == datetime(2026, 11, 21, 7, tzinfo=UTC)
    assert schedule.deadline(date(2026, 11, 20)) == datetime(2026, 11, 21, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("score", "every night", "score 'every night' is no cron schedule: 2 fields, expected 5"),
        ("score", "0 25 * * *", "hour '25' is outside 0 to 23"),
        ("score", "0 2 30 2 *", "a day that no such month has"),
        ("score", "0 2 1 * mon", "both a day of the month and a day of the week"),
        ("score", "@daily", "1 fields, expected 5"),
        ("score", "0 2 * * L", "day of week 'L' is none"),
        ("timezone", "America/Atlantis", "timezone 'America/Atlantis' does not exist"),
        ("timezone", "../../etc/passwd", "timezone '../../etc/passwd' does not exist"),
        ("timezone", "", "timezone '' does not exist"),
        ("timezone", "localtime", "timezone 'localtime' does not exist"),
        ("deliver_by", "6 o'clock", "is no time of day"),
        ("deliver_by", "25:00", "deliver_by '25:00' is no time of day"),
        ("lag_days", -1, "lag_days is -1"),
        ("at", "02:00", "unknown key 'at'"),
    ],
)
def test_a_schedule_that_is_none_is_refused_in_words(key: str, value: object, said: str) -> None:
    with pytest.raises(LabError) as refused:
        read_schedule(Table("model.toml [schedule]", NIGHTLY | {key: value}))
    assert said in str(refused.value)


def test_a_night_belongs_to_the_time_that_ends_with_it_and_to_no_other() -> None:
    schedule, day = nightly("UTC", time(4)), date(2026, 1, 1)
    due, hour = datetime(2026, 1, 2, 4, tzinfo=UTC), timedelta(hours=1)
    assert schedule.nights(due - hour, due) == [day]
    assert schedule.nights(due, due + hour) == []
