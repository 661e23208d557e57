"""Joining predictions with what happened: each at most once, the rest counted with its reason."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pilotline.tasks.errors import LabError
from pilotline.tasks.home import Home
from pilotline.tasks.lab.datasets import Column
from pilotline.tasks.monitor.actuals import match_actuals
from tests.support.tasks.truth import Truth, opened


@pytest.fixture
def truth(scored_home: Home) -> Iterator[Truth]:
    """Return a home whose day is scored."""
    with opened(scored_home) as found:
        yield found


def test_each_known_outcome_stands_beside_its_own_prediction(truth: Truth) -> None:
    truth.bring(truth.rows([0, 1, None, 1]))
    matched = truth.match()
    said = {row["flight"]: row["probability"] for row in truth.predicted()}
    rows = matched.rows.to_pylist()
    assert len(rows) == 3  # of four rows one has no outcome yet
    assert all(row["predicted:probability"] == said[row["flight"]] for row in rows)
    assert sorted(row["late"] for row in rows) == [0, 1, 1]
    assert (matched.scored, matched.set_aside) == ({"1.0.0": 100}, {})


def test_rows_of_a_key_that_agree_count_once(truth: Truth) -> None:
    twice = truth.like(key=["report"], report=Column("int64"))
    (row,) = twice.rows([1])
    twice.bring([{**row, "report": n} for n in (1, 2, 3)])
    matched = twice.match()
    assert (matched.rows.num_rows, matched.set_aside) == (1, {"repeated": 2})


def test_rows_of_a_key_that_contradict_each_other_are_believed_neither(truth: Truth) -> None:
    twice = truth.like(key=["report"], report=Column("int64"))
    first, second = twice.rows([1, 0])
    other = {**first, "late": 0, "report": 2}
    twice.bring([{**first, "report": 1}, other, {**second, "report": 1}])
    matched = twice.match()
    assert matched.rows["flight"].to_pylist() == [second["flight"]]
    assert matched.set_aside == {"contradict each other": 2}


def test_a_key_that_was_never_scored_is_counted(truth: Truth) -> None:
    (row,) = truth.rows([1])
    truth.bring([row, {**row, "flight": 9999}])
    matched = truth.match()
    assert (matched.rows.num_rows, matched.set_aside) == (1, {"their key was never scored": 1})


def test_an_outcome_the_model_does_not_speak_of_is_counted(truth: Truth) -> None:
    truth.bring(truth.rows([0, 1, 7]))
    matched = truth.match()
    assert (matched.rows.num_rows, matched.set_aside) == (2, {"no possible outcome": 1})


def test_an_outcome_known_before_its_day_is_from_the_future_and_judges_nothing(
    truth: Truth,
) -> None:
    truth.bring(truth.rows([0, 1]), at=datetime(2013, 1, 12, 23, 59, tzinfo=UTC))
    matched = truth.match()
    assert (matched.rows.num_rows, matched.set_aside) == (0, {"known before their day": 2})


def test_far_east_a_day_begins_before_it_does_in_utc(truth: Truth) -> None:
    truth.bring(truth.rows([0, 1]), at=datetime(2013, 1, 13, 18, tzinfo=UTC))
    assert truth.match().set_aside == {}


def test_an_actual_may_name_the_run_it_is_about(truth: Truth) -> None:
    named = truth.like(run_id=Column("string", nullable=True))
    run = named.run().id
    first, second, third = named.rows([0, 1, 1])
    named.bring([{**first, "run_id": run}, {**second, "run_id": "of another model"}, {**third}])
    matched = named.match()
    kept = {first["flight"], third["flight"]}
    assert set(matched.rows["flight"].to_pylist()) == kept
    assert matched.set_aside == {"about another run": 1}


def test_an_actual_may_name_the_version_it_is_about(truth: Truth) -> None:
    named = truth.like(model_version=Column("string", nullable=True))
    first, second = named.rows([0, 1])
    named.bring([{**first, "model_version": "1.0.0"}, {**second, "model_version": "9.0.0"}])
    matched = named.match()
    assert matched.rows["model_version"].to_pylist() == ["1.0.0"]
    assert matched.set_aside == {"about another version": 1}


def test_actuals_of_another_model_are_refused_by_name(truth: Truth) -> None:
    columns = {name: column for name, column in truth.dataset.columns.items() if name != "late"}
    other = replace(truth.dataset, columns=columns)
    with pytest.raises(
        LabError,
        match=r"^lab/datasets/outcomes/dataset\.toml: there is no column 'late', the target of "
        r"'flight-delay'\. Known: flight_date, carrier",
    ):
        match_actuals(truth.registry, truth.home, truth.job, truth.run(), other)


def test_a_key_of_another_type_is_refused_by_name(truth: Truth) -> None:
    other = truth.like(flight=Column("string"))
    with pytest.raises(
        LabError, match=r"key column 'flight' is string, the predictions of 'flight-delay' have it"
    ):
        match_actuals(other.registry, other.home, other.job, other.run(), other.dataset)


def test_no_actuals_are_none(truth: Truth) -> None:
    found = match_actuals(truth.registry, truth.home, truth.job, truth.run(), truth.dataset)
    assert found is None
