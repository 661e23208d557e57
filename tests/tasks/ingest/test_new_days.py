"""The days after the last one that is in, up to yesterday where the dataset lives."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from pilotline.registry import Registry
from pilotline.registry.runs.ingests import Ingest, record_ingest
from pilotline.tasks.errors import NothingToDoError
from pilotline.tasks.home import Home
from pilotline.tasks.ingest.new_days import find_new_days
from pilotline.tasks.lab.datasets import Dataset

LAST = date(2013, 1, 3)
EVENING = datetime(2013, 1, 7, 3, 0, tzinfo=UTC)  # still the 6th in New York


@pytest.fixture
def registry(fresh: Home) -> Iterator[Registry]:
    """Return a registry where two days were ingested."""
    with fresh.open_registry() as opened:
        with opened.write() as session:
            for day in (LAST, date(2013, 1, 1)):
                facts = {"token": "t", "partition_digest": "d", "table_version": 1}
                counts = {"accepted": 1, "quarantined": 0}
                record_ingest(session, Ingest(dataset="flights", date=day, **facts, **counts))
        yield opened


def test_they_end_with_yesterday_in_the_dataset_s_zone(
    registry: Registry, flights: Dataset
) -> None:
    assert find_new_days(registry, flights, None, EVENING) == (date(2013, 1, 4), date(2013, 1, 6))
    there = replace(flights, zone="America/New_York")
    assert find_new_days(registry, there, None, EVENING) == (date(2013, 1, 4), date(2013, 1, 5))


def test_they_end_where_they_are_told_to(registry: Registry, flights: Dataset) -> None:
    found = find_new_days(registry, flights, date(2013, 1, 4), EVENING)
    assert found == (date(2013, 1, 4), date(2013, 1, 4))


def test_a_day_to_come_that_is_in_hides_none_of_those_before_it(
    registry: Registry, flights: Dataset
) -> None:
    with registry.write() as session:
        facts = {"token": "t", "partition_digest": "d", "table_version": 1}
        counts = {"accepted": 1, "quarantined": 0}
        coming = date(2013, 3, 1)
        record_ingest(session, Ingest(dataset="flights", date=coming, **facts, **counts))
    assert find_new_days(registry, flights, None, EVENING) == (date(2013, 1, 4), date(2013, 1, 6))


def test_there_are_none_when_every_day_is_in(registry: Registry, flights: Dataset) -> None:
    assert find_new_days(registry, flights, LAST, EVENING) is None


def test_there_is_no_beginning_before_the_first_ingest(
    registry: Registry, flights: Dataset
) -> None:
    with pytest.raises(
        NothingToDoError,
        match=r"^New days of 'arrivals': nothing is ingested yet.*Begin with 'pilotline ingest arr",
    ):
        find_new_days(registry, replace(flights, name="arrivals"), None, EVENING)
