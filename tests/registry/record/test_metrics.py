"""Metrics: one number for one basis, the last one shown."""

from datetime import date

from sqlalchemy.orm import Session

from pilotline.registry.record.metrics import (
    Metric,
    count_judgements,
    is_judged,
    last_values,
    list_metrics,
    record_metric,
)
from pilotline.registry.record.versions import ModelVersion
from tests.support.registry.world import World


def metric(version: ModelVersion, value: float, basis: str = "a", day: int = 1) -> Metric:
    return Metric(
        version_id=version.id,
        kind="realized",
        name="roc_auc",
        value=value,
        start=date(2013, 1, day),
        end=date(2013, 1, day),
        variant="production",
        rows=100,
        basis=basis * 64,
    )


def test_the_same_basis_gives_one_row(session: Session, world: World) -> None:
    version = world.enter(session)
    assert record_metric(session, metric(version, 0.75))
    assert not record_metric(session, metric(version, 0.75))
    assert [row.value for row in list_metrics(session, version)] == [0.75]


def test_a_new_basis_is_shown_in_place_of_the_old(session: Session, world: World) -> None:
    version = world.enter(session)
    record_metric(session, metric(version, 0.75, "a"))
    assert record_metric(session, metric(version, 0.5, "b"))
    assert [row.value for row in list_metrics(session, version)] == [0.5]


def test_metrics_are_listed_by_day_and_kind(session: Session, world: World) -> None:
    version = world.enter(session)
    for day in (3, 1, 2):
        record_metric(session, metric(version, day / 10, day=day))
    assert [row.value for row in list_metrics(session, version, "realized")] == [0.1, 0.2, 0.3]
    assert list_metrics(session, version, "drift") == []


def test_metrics_belong_to_one_version(session: Session, world: World) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    record_metric(session, metric(first, 0.75))
    assert list_metrics(session, second) == []


def test_a_day_is_judged_on_each_basis_once(session: Session, world: World) -> None:
    version, day = world.enter(session), date(2013, 1, 1)
    for basis in ("a", "b", "b"):
        record_metric(session, metric(version, 0.75, basis))
    found = [is_judged(session, version.id, day, basis * 64) for basis in "abc"]
    assert found == [True, True, False]
    assert not is_judged(session, version.id, date(2013, 1, 2), "a" * 64)
    assert count_judgements(session, version, "production", day) == 2
    assert count_judgements(session, version, "shadow/1.0.0", day) == 0


def test_the_last_value_of_each_day_counts_whichever_version_it_is_of(
    session: Session, world: World
) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    other = world.enter(session, name="seat-demand")
    for version, value, day in (
        (first, 0.5, 1),
        (first, 0.6, 2),
        (second, 0.7, 2),
        (other, 0.8, 2),
    ):
        record_metric(session, metric(version, value, day=day))
    record_metric(session, metric(first, 0.9, day=4))
    span = (date(2013, 1, 1), date(2013, 1, 3))
    found = last_values(session, first.model_id, "realized", "roc_auc", span)
    assert found == {date(2013, 1, 1): 0.5, date(2013, 1, 2): 0.7}
    assert last_values(session, first.model_id, "drift", "roc_auc", span) == {}
