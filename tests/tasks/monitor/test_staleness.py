"""Staleness: what is too old is told once, and counted in data dates."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Protocol

import pytest
from sqlalchemy import delete

from pilotline.registry import Registry
from pilotline.registry.record.events import list_events
from pilotline.registry.runs.ingests import Ingest, get_partition
from pilotline.registry.runs.runs import Claim, Ending, claim_partition, end_run
from pilotline.tasks.lab.models import Staleness
from pilotline.tasks.monitor.staleness import STALE, Stale, find_stale, list_stale
from pilotline.tasks.score.job import Job
from tests.tasks.conftest import unguard

SCORED = date(2013, 1, 14)
LAST = date(2013, 1, 22)  # the last day ingested; the champion learned until the 10th


class Show(Protocol):
    """Lets readers see days, as if they had been scored."""

    def __call__(self, *days: date) -> None:
        """Show the days."""


class FindStale(Protocol):
    """Says what is stale on a day, under limits."""

    def __call__(self, day: date, **limits: int) -> list[Stale]:
        """Return it."""


@pytest.fixture
def show(registry: Registry, job: Job) -> Show:
    """Return a function after which readers see days, as if they had been scored."""

    def shown(*days: date) -> None:
        for day in days:
            with registry.write() as session:
                partition = get_partition(session, "flights", day)
                digest, at = partition.partition_digest, partition.table_version
                claim = Claim("production", "flights", day, digest, at, "0" * 64, "B", "score")
                run = claim_partition(session, job.bundle.version, claim)
                end_run(session, run, Ending("succeeded", rows=100, table_version=1))

    return shown


@pytest.fixture
def stale(registry: Registry, job: Job) -> FindStale:
    """Return a function that says what is stale on a day, under limits."""

    def found(day: date, **limits: int) -> list[Stale]:
        known = dict.fromkeys(vars(Staleness()), 1000) | limits
        spec = replace(job.bundle.spec, staleness=Staleness(**known))
        bundle = replace(job.bundle, folder=replace(job.bundle.folder, spec=spec))
        return find_stale(registry, bundle, day)

    return found


def test_a_day_that_was_not_scored_for_too_long_is_told(show: Show, stale: FindStale) -> None:
    show(SCORED)
    assert stale(SCORED + timedelta(days=2), no_score_days=2) == []
    (found,) = stale(SCORED + timedelta(days=3), no_score_days=2)
    assert (found.kind, found.since, found.days, found.limit) == ("no score", SCORED, 3, 2)
    assert found.said == (
        "no score: the last day scored is 2013-01-14, 3 days ago; at most 2 are allowed"
    )


def test_a_model_that_never_scored_is_told(stale: FindStale) -> None:
    (found,) = stale(SCORED)
    assert (found.kind, found.since, found.said) == ("no score", None, "no score: no day is scored")


def test_outcomes_that_do_not_come_are_told(
    registry: Registry,
    show: Show,
    stale: FindStale,
) -> None:
    show(SCORED, SCORED + timedelta(days=1))
    on_time = SCORED + timedelta(days=6)
    assert stale(on_time, no_actuals_days=5) == []
    with registry.write() as session:
        unguard(session)
        late = Ingest.date > SCORED
        session.execute(delete(Ingest).where(Ingest.dataset == "arrivals", late))
    (found,) = stale(on_time, no_actuals_days=5)
    assert (found.kind, found.since, found.days) == ("no actuals", SCORED, 6)


def test_outcomes_that_never_came_are_waited_for_since_the_first_score(
    registry: Registry,
    show: Show,
    stale: FindStale,
) -> None:
    show(SCORED)
    with registry.write() as session:
        unguard(session)
        session.execute(delete(Ingest).where(Ingest.dataset == "arrivals"))
    assert stale(SCORED + timedelta(days=5), no_actuals_days=5) == []
    (found,) = stale(SCORED + timedelta(days=6), no_actuals_days=5)
    assert (found.kind, found.since) == ("no actuals", SCORED)


def test_data_that_is_late_and_a_version_that_is_old_are_told(show: Show, stale: FindStale) -> None:
    show(SCORED)
    learned = date(2013, 1, 10)
    assert stale(LAST, data_late_days=0, version_old_days=12) == []
    late, old = stale(LAST + timedelta(days=1), data_late_days=0, version_old_days=12)
    assert (late.kind, late.since, late.days) == ("data late", LAST, 1)
    assert (old.kind, old.since, old.days) == ("version old", learned, 13)


def test_what_goes_on_is_one_event_and_what_happens_again_another(
    registry: Registry,
    job: Job,
    show: Show,
    stale: FindStale,
) -> None:
    show(SCORED)
    days = [SCORED + timedelta(days=n) for n in (1, 2)]
    assert [stale(day, no_score_days=0)[0].new for day in days] == [True, False]
    show(days[0])
    assert stale(days[1], no_score_days=0)[0].new
    with registry.read() as session:
        events = list_events(session, job.bundle.version.model_id, STALE)
    told = [(event.facts()["kind"], event.facts()["since"]) for event in events]
    assert told == [("no score", "2013-01-14"), ("no score", "2013-01-15")]


def test_days_to_come_make_nothing_fresh(show: Show, stale: FindStale) -> None:
    show(SCORED, LAST)
    (found,) = stale(SCORED + timedelta(days=4), no_score_days=3)
    assert found.since == SCORED


def test_what_is_stale_can_be_listed_without_a_record(
    registry: Registry, job: Job, show: Show
) -> None:
    show(SCORED)
    late = LAST + timedelta(days=3)
    listed = {one.kind: one.new for one in list_stale(registry, job.bundle, late)}
    assert listed == {"no score": False, "data late": False}
    with registry.read() as session:
        assert list_events(session, job.bundle.version.model_id, STALE) == []
