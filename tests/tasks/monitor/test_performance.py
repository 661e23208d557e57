"""Realized metrics: late, partial and corrected outcomes, by day, version and variant."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score
from sqlalchemy import select

from pilotline.registry.record.events import list_events
from pilotline.registry.record.metrics import Metric, list_metrics
from pilotline.tasks.home import Home
from pilotline.tasks.monitor.performance import MISSING, DayRealized, realize_days, unjudged
from tests.support.tasks.truth import DAY, Truth, opened

MIXED = [int(n % 3 == 0) for n in range(100)]
OTHERS = [1 - late for late in MIXED]


@pytest.fixture
def truth(scored_home: Home) -> Iterator[Truth]:
    """Return a home whose day is scored."""
    with opened(scored_home) as found:
        yield found


def realize(truth: Truth) -> DayRealized:
    """Return how the day turned out."""
    (day,) = realize_days(truth.registry, truth.home, truth.job, truth.dataset, [truth.run()], None)
    return day


def stored(truth: Truth) -> dict[str, Metric]:
    """Return the realized metrics that are shown, by name."""
    with truth.registry.read() as session:
        found = list_metrics(session, truth.job.bundle.version, "realized")
    return {metric.name: metric for metric in found}


def test_metrics_and_intervals_are_kept_with_the_rows_they_come_from(truth: Truth) -> None:
    truth.bring(truth.rows(MIXED[:60]))
    day = realize(truth)
    chances = [row["probability"] for row in truth.predicted()[:60]]
    assert (day.rows, day.known, day.coverage) == (100, 60, 0.6)
    assert day.metrics["roc_auc"] == pytest.approx(roc_auc_score(MIXED[:60], chances))
    assert day.metrics["brier"] == pytest.approx(brier_score_loss(MIXED[:60], chances))
    kept = stored(truth)
    assert set(kept) == {"roc_auc", "brier", "brier_skill", "coverage"}
    for name, value in day.metrics.items():
        interval = day.intervals[name]
        assert interval is not None
        assert (kept[name].value, kept[name].rows) == (value, 60)
        assert (kept[name].low, kept[name].high) == interval
        assert interval[0] < value < interval[1]


def test_outcomes_that_come_later_are_judged_then_and_once(truth: Truth) -> None:
    run = truth.run()
    assert unjudged(truth.registry, truth.dataset, [run]) == []
    truth.bring(truth.rows(MIXED[:40]))
    assert unjudged(truth.registry, truth.dataset, [run]) == [run]
    assert (realize(truth).coverage, realize(truth).times) == (0.4, 1)
    assert unjudged(truth.registry, truth.dataset, [run]) == []
    truth.bring(truth.rows(MIXED))
    assert unjudged(truth.registry, truth.dataset, [run]) == [run]
    assert (realize(truth).coverage, realize(truth).times) == (1.0, 2)


def test_a_correction_is_shown_and_what_was_known_before_stays(truth: Truth) -> None:
    for known in (MIXED, OTHERS, MIXED):  # and back again
        truth.bring(truth.rows(known))
        day = realize(truth)
    assert day.times == 3
    chances = [row["probability"] for row in truth.predicted()]
    right, wrong = (roc_auc_score(known, chances) for known in (MIXED, OTHERS))
    assert stored(truth)["roc_auc"].value == pytest.approx(right)
    with truth.registry.read() as session:
        query = select(Metric).where(Metric.kind == "realized", Metric.name == "roc_auc")
        told = session.scalars(query.order_by(Metric.id)).all()
        assert [one.value for one in told] == pytest.approx([right, wrong, right])
        assert told[0].recorded_at < told[1].recorded_at < told[2].recorded_at


def test_a_metric_that_cannot_be_had_is_told_once_and_never_stored(truth: Truth) -> None:
    truth.bring(truth.rows([0] * 50))
    day = realize(truth)
    why = "50 outcomes of one kind cannot give it"
    assert (day.missing, day.alerted) == ({"roc_auc": why, "brier_skill": why}, True)
    assert set(stored(truth)) == {"brier", "coverage"}
    assert not realize(truth).alerted
    with truth.registry.read() as session:
        (event,) = list_events(session, truth.job.bundle.version.model_id, MISSING)
    assert event.facts()["missing"] == {"roc_auc": why, "brier_skill": why}


def test_nothing_known_yet_is_no_alert(truth: Truth) -> None:
    truth.bring(truth.rows([None] * 50))
    day = realize(truth)
    assert (day.known, day.coverage, day.metrics, day.missing) == (0, 0.0, {}, {})


def test_a_number_is_judged_as_one(truth: Truth) -> None:
    spec = replace(truth.job.bundle.spec, kind="regression", metrics={})
    folder = replace(truth.job.bundle.folder, spec=spec)
    changed = replace(truth.job, bundle=replace(truth.job.bundle, folder=folder))
    numbers = replace(truth, job=changed)
    numbers.bring(numbers.rows([n % 7 for n in range(100)]))
    said = [row["probability"] for row in numbers.predicted()]
    gaps = [abs(n % 7 - value) for n, value in enumerate(said)]
    day = realize(numbers)
    assert day.metrics["mae"] == pytest.approx(sum(gaps) / 100)
    assert set(day.metrics) == {"mae", "rmse"}


def test_every_variant_is_judged_by_itself(truth: Truth) -> None:
    truth.bring(truth.rows(MIXED))
    runs = [truth.run(), truth.run(variant="shadow/1.0.0")]
    days = realize_days(truth.registry, truth.home, truth.job, truth.dataset, runs, None)
    assert [(day.number, day.variant) for day in days] == [
        ("1.0.0", "production"),
        ("1.0.0", "shadow/1.0.0"),
    ]
    with truth.registry.read() as session:
        kept = list_metrics(session, truth.job.bundle.version, "realized")
    assert {metric.variant for metric in kept} == {"production", "shadow/1.0.0"}


def test_a_day_without_actuals_is_left_out(truth: Truth) -> None:
    next_day = DAY + timedelta(days=1)
    truth.bring(truth.rows(MIXED, next_day), next_day)
    run = truth.run()
    assert realize_days(truth.registry, truth.home, truth.job, truth.dataset, [run], None) == []
