"""The retraining policy, counted in data dates."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from typing import Protocol

import pytest

from pilotline.registry import Registry
from pilotline.registry.record.events import append_event, list_events
from pilotline.registry.record.versions import ModelVersion
from pilotline.tasks.errors import RetrainingRefusedError
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import Bundle
from pilotline.tasks.lab.models import Retraining
from pilotline.tasks.monitor.monitoring import DETECTED
from pilotline.tasks.monitor.retraining import REQUESTED, Evidence, request_retraining
from pilotline.tasks.score.job import Job
from tests.tasks.conftest import ingest

DAY = date(2013, 1, 15)


class Ask(Protocol):
    """Asks for a retraining with data until a day."""

    def __call__(self, until: date, bundle: Bundle | None = None) -> Evidence:
        """Return what it would learn from and why."""


@pytest.fixture
def ask(registry: Registry, home: Home, job: Job) -> Ask:
    """Return a function that asks for a retraining with data until a day."""

    def asked(until: date, bundle: Bundle | None = None) -> Evidence:
        return request_retraining(registry, home, bundle or job.bundle, until)

    return asked


def detect(registry: Registry, job: Job, *days: date, digest: str | None = None) -> None:
    """Record that drift was detected until the days."""
    version = job.bundle.version
    with registry.write() as session:
        for day in days:
            judged = {"column": "dest", "distance": "psi", "value": 0.5}
            window = {"start": day.isoformat(), "end": day.isoformat(), "judgements": [judged]}
            body = {"digest": digest or version.digest, "until": day.isoformat()}
            append_event(session, version.model_id, DETECTED, {**body, "windows": [window]})


def ruled(job: Job, cooldown_days: int, max_per_quarter: int) -> Bundle:
    """Return the champion under another policy."""
    rules = Retraining(cooldown_days, max_per_quarter, 60)
    spec = replace(job.bundle.spec, retraining=rules)
    return replace(job.bundle, folder=replace(job.bundle.folder, spec=spec))


def test_no_drift_is_no_reason(ask: Ask) -> None:
    with pytest.raises(
        RetrainingRefusedError,
        match=r"^Retraining of 'flight-delay' refused: no drift of version 1\.0\.0 was detected "
        r"until 2013-01-15\. Look for it: 'pilotline monitor flight-delay --date 2013-01-15'\.$",
    ):
        ask(DAY)


def test_drift_after_the_day_or_of_another_version_is_no_reason(
    registry: Registry, job: Job, ask: Ask
) -> None:
    detect(registry, job, DAY + timedelta(days=1))
    detect(registry, job, DAY, digest="0" * 64)
    with pytest.raises(RetrainingRefusedError, match="no drift of version"):
        ask(DAY)


def test_asking_twice_for_a_day_records_it_once_with_its_evidence(
    registry: Registry, job: Job, ask: Ask
) -> None:
    detect(registry, job, DAY - timedelta(days=3), DAY)
    assert ask(DAY) == Evidence(DAY, DAY, True)
    assert ask(DAY) == Evidence(DAY, DAY, False)
    with registry.read() as session:
        (event,) = list_events(session, job.bundle.version.model_id, REQUESTED)
        *_, drift = list_events(session, job.bundle.version.model_id, DETECTED)
    facts = event.facts()
    assert facts["drift_until"] == DAY.isoformat()
    assert facts["evidence"]["event"] == drift.hash
    assert facts["evidence"]["windows"] == drift.facts()["windows"]
    assert facts["evidence"]["policy"] == vars(job.bundle.spec.retraining)


def test_a_set_of_partitions_is_learned_from_once(registry: Registry, job: Job, ask: Ask) -> None:
    last = date(2013, 1, 22)  # nothing later is ingested: a later day brings no other rows
    detect(registry, job, last, last + timedelta(days=60))
    assert ask(last).new
    assert ask(last + timedelta(days=60)) == Evidence(last + timedelta(days=60), last, False)


def test_rows_that_were_corrected_are_another_set(
    registry: Registry, home: Home, job: Job, ask: Ask
) -> None:
    detect(registry, job, DAY)
    ask(DAY)
    with closing(sqlite3.connect(home.root / "online.db")) as database, database:
        database.execute("update arrivals set arr_delay = 90 where flight_date = ?", (str(DAY),))
    ingest(home, "arrivals", [DAY])
    with pytest.raises(RetrainingRefusedError, match="was answered by a request before"):
        ask(DAY)


def test_the_cooldown_is_counted_in_data_dates(registry: Registry, job: Job, ask: Ask) -> None:
    first = date(2013, 1, 7)
    detect(registry, job, first, *(first + timedelta(days=n) for n in (13, 14)))
    ask(first)
    with pytest.raises(
        RetrainingRefusedError,
        match=r"one was asked for with data until 2013-01-07\. The cooldown of 14 days ends with "
        r"data of 2013-01-21\.$",
    ):
        ask(first + timedelta(days=13))
    assert ask(first + timedelta(days=14)).new


def test_a_quarter_holds_as_many_as_the_policy_says(registry: Registry, job: Job, ask: Ask) -> None:
    bundle, days = ruled(job, 2, 3), [DAY + timedelta(days=n) for n in (0, 2, 4, 6)]
    detect(registry, job, *days)
    assert all(ask(day, bundle).new for day in days[:3])
    with pytest.raises(
        RetrainingRefusedError, match=r"3 in this quarter, at most 3\. Look at the model"
    ):
        ask(days[3], bundle)


def test_drift_that_was_answered_asks_for_nothing_more(
    registry: Registry, job: Job, ask: Ask
) -> None:
    bundle = ruled(job, 1, 9)
    detect(registry, job, DAY)
    assert ask(DAY, bundle).new
    with pytest.raises(
        RetrainingRefusedError,
        match=r"the drift of version 1\.0\.0 until 2013-01-15 was answered by a request before, "
        r"and none was detected since until 2013-01-18",
    ):
        ask(DAY + timedelta(days=3), bundle)
    detect(registry, job, DAY + timedelta(days=3))
    assert ask(DAY + timedelta(days=3), bundle).new


def test_what_one_champion_learned_from_is_not_learned_again_by_the_next(
    registry: Registry, job: Job, ask: Ask
) -> None:
    detect(registry, job, DAY)
    ask(DAY)
    changed = replace(job.bundle, version=another(job.bundle.version))
    with pytest.raises(RetrainingRefusedError, match="these rows were learned from before"):
        ask(DAY, changed)


def another(version: ModelVersion) -> ModelVersion:
    """Return a version of other bytes."""
    number = {"major": 2, "minor": 0, "patch": 0}
    return ModelVersion(id=version.id, model_id=version.model_id, digest="0" * 64, **number)
