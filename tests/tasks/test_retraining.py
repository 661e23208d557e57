"""The retraining policy, counted in data dates."""

from datetime import date, timedelta

import pytest

from registry import Registry
from registry.events import append_event, list_events
from tasks.errors import RetrainingRefusedError
from tasks.job import Job
from tasks.monitoring import DETECTED
from tasks.retraining import REQUESTED, Evidence, request_retraining

DAY = date(2013, 1, 22)


def detect(registry: Registry, job: Job, *days: date, digest: str | None = None) -> None:
    """Record that drift was detected until the days."""
    version = job.bundle.version
    with registry.write() as session:
        for day in days:
            body = {"digest": digest or version.digest, "until": day.isoformat()}
            append_event(session, version.model_id, DETECTED, body)


def test_no_drift_is_no_reason(registry: Registry, job: Job) -> None:
    with pytest.raises(
        RetrainingRefusedError,
        match=r"^Retraining of 'flight-delay' refused: no drift of version 1\.0\.0 was detected "
        r"until 2013-01-22\. Look for it: 'pilotline monitor flight-delay --date 2013-01-22'\.$",
    ):
        request_retraining(registry, job.bundle, DAY)


def test_drift_after_the_day_or_of_another_version_is_no_reason(
    registry: Registry, job: Job
) -> None:
    detect(registry, job, DAY + timedelta(days=1))
    detect(registry, job, DAY, digest="0" * 64)
    with pytest.raises(RetrainingRefusedError, match="no drift of version"):
        request_retraining(registry, job.bundle, DAY)


def test_asking_twice_for_a_day_records_it_once(registry: Registry, job: Job) -> None:
    detect(registry, job, DAY - timedelta(days=3), DAY)
    assert request_retraining(registry, job.bundle, DAY) == Evidence(DAY, DAY, True)
    assert request_retraining(registry, job.bundle, DAY) == Evidence(DAY, DAY, False)
    with registry.read() as session:
        (event,) = list_events(session, job.bundle.version.model_id, REQUESTED)
    assert event.facts()["drift_until"] == DAY.isoformat()


def test_the_cooldown_is_counted_in_data_dates(registry: Registry, job: Job) -> None:
    detect(registry, job, DAY)
    request_retraining(registry, job.bundle, DAY)
    with pytest.raises(
        RetrainingRefusedError,
        match=r"one was asked for with data until 2013-01-22\. The cooldown of 14 days ends with "
        r"data of 2013-02-05\.$",
    ):
        request_retraining(registry, job.bundle, DAY + timedelta(days=13))
    assert request_retraining(registry, job.bundle, DAY + timedelta(days=14)).new


def test_a_quarter_holds_three_and_the_next_one_more(registry: Registry, job: Job) -> None:
    detect(registry, job, DAY)
    for weeks in (0, 2, 4):
        assert request_retraining(registry, job.bundle, DAY + timedelta(weeks=weeks)).new
    with pytest.raises(
        RetrainingRefusedError, match=r"3 in this quarter, at most 3\. Look at the model"
    ):
        request_retraining(registry, job.bundle, DAY + timedelta(weeks=8))
    assert request_retraining(registry, job.bundle, date(2013, 4, 1)).new
