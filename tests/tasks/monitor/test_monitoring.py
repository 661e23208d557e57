"""Watching a model: realized performance, and drift that must persist."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import date, timedelta
from math import inf, nan
from typing import Any

import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score
from sqlalchemy import delete

from pilotline.registry import Registry
from pilotline.registry.record.events import list_events
from pilotline.registry.record.metrics import list_metrics
from pilotline.registry.runs.ingests import Ingest
from pilotline.tasks.errors import NothingToDoError
from pilotline.tasks.home import Home
from pilotline.tasks.lab.datasets import load_dataset
from pilotline.tasks.monitor.actuals import read_predictions
from pilotline.tasks.monitor.monitoring import (
    DETECTED,
    Watch,
    calls_drift,
    list_unusable,
    monitor_model,
)
from pilotline.tasks.score.job import Job
from pilotline.tasks.stats.drift import Judgement
from tests.support.tasks.calls import Score
from tests.tasks.conftest import unguard

DAYS = [date(2013, 1, 14) + timedelta(days=n) for n in range(9)]  # 14 to 22; 17 on has moved
QUIET, ONE_WINDOW, TWO_WINDOWS = DAYS[2], DAYS[5], DAYS[8]


@pytest.fixture
def watch(home: Home, registry: Registry, job: Job) -> Callable[[date], Watch]:
    """Return a function that monitors up to a day."""
    actuals, inputs = load_dataset(home.lab, "arrivals"), load_dataset(home.lab, "flights")

    def watched(day: date) -> Watch:
        return monitor_model(registry, home, job, actuals, inputs, day)

    return watched


def test_realized_metrics_are_scikit_learn_s_on_rows_joined_by_hand(
    home: Home,
    registry: Registry,
    job: Job,
    score: Score,
    watch: Callable[[date], Watch],
) -> None:
    score(DAYS[0])
    (day,) = watch(DAYS[0]).realized
    with closing(sqlite3.connect(home.root / "online.db")) as database:
        late = {
            (carrier, flight, origin): delay >= 15
            for carrier, flight, origin, delay in database.execute(
                "select carrier, flight, origin, arr_delay from arrivals where flight_date = ?",
                (DAYS[0].isoformat(),),
            )
        }
    rows: list[dict[str, Any]] = read_predictions(home, job, "production", DAYS[0]).to_pylist()
    pairs = [
        (late[key], row["probability"])
        for row in rows
        if (key := (row["carrier"], row["flight"], row["origin"])) in late
    ]
    happened, chance = zip(*pairs, strict=True)
    assert (day.rows, day.known, day.coverage) == (100, 95, 0.95)
    assert day.metrics["roc_auc"] == pytest.approx(roc_auc_score(happened, chance))
    assert day.metrics["brier"] == pytest.approx(brier_score_loss(happened, chance))
    with registry.read() as session:
        kept = {m.name: m.value for m in list_metrics(session, job.bundle.version, "realized")}
    assert kept == {**day.metrics, "coverage": 0.95}


def test_drift_fires_only_after_windows_in_a_row_and_is_recorded_once(
    registry: Registry,
    job: Job,
    score: Score,
    watch: Callable[[date], Watch],
) -> None:
    score(*DAYS)
    quiet, one, two = watch(QUIET), watch(ONE_WINDOW), watch(TWO_WINDOWS)
    assert not quiet.windows[-1].drifted
    assert [window.drifted for window in one.windows] == [False, True]
    assert [window.drifted for window in two.windows] == [True, True]
    assert [found.fired for found in (quiet, one, two)] == [False, False, True]
    assert (one.windows[0].end, one.windows[1].start) == (DAYS[2], DAYS[3])
    assert [window.days for window in two.windows] == [3, 3]
    assert two.new
    again = watch(TWO_WINDOWS)
    assert (again.fired, again.new) == (True, False)
    with registry.read() as session:
        (event,) = list_events(session, job.bundle.version.model_id, DETECTED)
    assert event.facts()["until"] == TWO_WINDOWS.isoformat()
    assert event.facts()["digest"] == job.bundle.version.digest


def test_predictions_without_actuals_are_not_judged(
    registry: Registry, score: Score, watch: Callable[[date], Watch]
) -> None:
    score(DAYS[0])
    with registry.write() as session:
        unguard(session)
        session.execute(delete(Ingest).where(Ingest.dataset == "arrivals"))
    assert watch(DAYS[0]).realized == []


def test_actuals_that_come_after_the_windows_are_judged_when_they_come(
    registry: Registry, score: Score, watch: Callable[[date], Watch]
) -> None:
    score(DAYS[0], DAYS[7])
    late = DAYS[7]  # its windows begin on the 16th
    assert [day.date for day in watch(late).realized] == [DAYS[0], late]
    assert [day.date for day in watch(late).realized] == [late]  # nothing of the 14th is new


@pytest.mark.parametrize("value", [nan, inf])
def test_a_distance_that_is_no_number_is_named_and_never_drift(value: float) -> None:
    odd = Judgement("dest", "psi", value, 0.1, 0.0, 0.0, 100, "drift")
    sound = Judgement("hour", "psi", 0.2, 0.1, 0.0, 0.0, 100, "drift")
    assert not calls_drift([odd], "any")
    assert not calls_drift([odd, sound], "all")
    assert calls_drift([odd, sound], "any")
    assert list_unusable([odd, sound]) == {"dest.psi": f"it came out as {value}"}


def test_nothing_scored_is_nothing_to_monitor(watch: Callable[[date], Watch]) -> None:
    with pytest.raises(
        NothingToDoError,
        match=r"^Monitoring 'flight-delay': nothing is scored from 2013-01-11 to 2013-01-16\. "
        r"Score it: 'pilotline score flight-delay --date 2013-01-16'\.$",
    ):
        watch(date(2013, 1, 16))
