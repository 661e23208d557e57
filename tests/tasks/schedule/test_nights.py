"""Nights: what a champion's schedule owes, and when what it delivered was there."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from pilotline.registry import Registry
from pilotline.registry.gates.promotions import Wish, promote
from pilotline.registry.record.metrics import list_metrics
from pilotline.registry.record.registration import register
from pilotline.registry.record.versions import ModelVersion
from pilotline.registry.runs.runs import Ending, claim_partition, end_run
from pilotline.tasks.lab.schedules import Schedule
from pilotline.tasks.schedule.nights import (
    describe_deadline,
    judge_deliveries,
    open_nights,
    schedule_of,
)
from tests.support.registry.world import LINUX, NAME, TWO_PEOPLE, World

CONFIG = """
[data]
inputs = ["flights"]
"""
SCHEDULED = f"""
{CONFIG}
[schedule]
score = "0 2 * * *"
timezone = "UTC"
lag_days = 1
deliver_by = "06:00"
"""
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Factory:
    """A registry and who works with it."""

    registry: Registry
    world: World

    def release(self, config: str, since: datetime | None = None) -> ModelVersion:
        """Make a version champion whose model.toml is ``config``, by default from now on."""
        given = self.world.registration(key=config)
        files = {**given.contents, "model.toml": ("config", config.encode())}
        version, _ = register(self.registry, replace(given, contents=files))
        with self.registry.write() as session:
            self.world.approve(session, version)
            policy, wish = self.world.policy, Wish(effective_from=since)
            promote(session, NAME, version.number, policy, LINUX, wish)
        return version

    def score(self, version: ModelVersion, day: date, state: str = "succeeded") -> None:
        """Let a run over a day end now."""
        with self.registry.write() as session:
            run = claim_partition(session, version, replace(self.world.claim, date=day))
            end_run(session, run, Ending(state, rows=7, table_version=1, reason=f"it {state}"))

    def owed(self, version: ModelVersion, at: datetime) -> list[date]:
        """Return the days that are owed at a moment."""
        nights = open_nights(self.registry, NAME, version, self.schedule(version), at)
        return [night.date for night in nights]

    def schedule(self, version: ModelVersion) -> Schedule:
        """Return the version's own."""
        found = schedule_of(self.registry, version)
        assert found is not None
        return found


@pytest.fixture
def factory(tmp_path: Path) -> Iterator[Factory]:
    """Return a fresh one."""
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    with Registry(url, tmp_path / "blobs") as registry:
        yield Factory(registry, World(replace(TWO_PEOPLE, backdating=True)))


def due_after(moment: datetime) -> datetime:
    """Return the first two o'clock after a moment, which is when a day is due."""
    night = moment.replace(hour=2, minute=0, second=0, microsecond=0)
    return night if night > moment else night + timedelta(days=1)


def test_each_day_is_owed_from_its_night_on_until_readers_see_it(factory: Factory) -> None:
    version = factory.release(SCHEDULED)
    first = due_after(datetime.now(UTC))
    day = first.date() - timedelta(days=1)  # lag_days
    assert factory.owed(version, first - HOUR) == []
    assert factory.owed(version, first) == [day]
    third = first + timedelta(days=2)
    assert factory.owed(version, third) == [day + timedelta(days=n) for n in range(3)]

    factory.score(version, day + timedelta(days=1))
    factory.score(version, day + timedelta(days=2), "failed")
    left = open_nights(factory.registry, NAME, version, factory.schedule(version), third)
    assert [(night.date, night.problem) for night in left] == [
        (day, ""),
        (day + timedelta(days=2), "it failed"),
    ]
    assert [night.due for night in left] == [first, third]
    assert [night.deadline for night in left] == [first + 4 * HOUR, third + 4 * HOUR]
    assert not any(night.ingested for night in left)


@pytest.mark.parametrize(("before", "nights"), [(SCHEDULED, 4), (CONFIG, 1)])
def test_nights_count_from_when_champions_began_to_have_a_schedule(
    factory: Factory, before: str, nights: int
) -> None:
    last = due_after(datetime.now(UTC)) - timedelta(days=1)
    earlier = factory.release(before, last - timedelta(days=3, hours=1))
    assert (schedule_of(factory.registry, earlier) is None) == (before == CONFIG)
    version = factory.release(SCHEDULED + "\n# again\n", last - HOUR)
    owed = factory.owed(version, last)
    assert owed == [last.date() - timedelta(days=n) for n in range(nights, 0, -1)]


def test_a_day_s_delivery_is_measured_against_its_deadline_and_kept(factory: Factory) -> None:
    version = factory.release(SCHEDULED)
    long_ago, never = date(2013, 1, 1), date(2013, 1, 2)
    ahead = datetime.now(UTC).date() + timedelta(days=3)
    for day in (long_ago, ahead):
        factory.score(version, day)
    days = [ahead, never, long_ago]
    found = judge_deliveries(factory.registry, NAME, factory.schedule(version), days)
    assert [(one.date, one.on_time) for one in found] == [(long_ago, False), (ahead, True)]
    assert found[0].deadline == datetime(2013, 1, 2, 6, tzinfo=UTC)
    with factory.registry.read() as session:
        kept = {m.start: m.value for m in list_metrics(session, version, "delivery")}
    assert kept == {
        one.date: (one.deadline - one.at).total_seconds()
        for one in found
        if one.deadline is not None
    }
    assert judge_deliveries(factory.registry, NAME, factory.schedule(version), []) == []


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("deadline", "delivered", "said"),
    [
        (None, NOON, ""),
        (NOON, NOON, "on time"),
        (NOON, NOON + timedelta(minutes=90), "1 h 30 min late"),
        (NOON, NOON + timedelta(seconds=50), "1 min late"),
        (NOON + timedelta(minutes=5), None, "due in 5 min"),
        (NOON - 25 * HOUR, None, "overdue by 25 h 00 min"),
    ],
)
def test_a_deadline_is_told_in_hours_and_minutes(
    deadline: datetime | None, delivered: datetime | None, said: str
) -> None:
    assert describe_deadline(deadline, delivered, NOON) == said
