"""Checking rows: the suite, and the guards a suite does not give."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest

from pilotline.tasks.errors import LabError, PartitionRefusedError
from pilotline.tasks.ingest.validation import Validator
from pilotline.tasks.lab.datasets import Dataset

DAY = date(2013, 1, 1)


def flight(number: int, **changes: Any) -> dict[str, Any]:
    row = {"flight_date": DAY, "carrier": "UA", "flight": number, "origin": "EWR", "dest": "ORD"}
    row |= {"tailnum": None, "hour": 9, "minute": 0, "distance": 719, "dep_delay": None}
    return {**row, "weekday": 2, **changes}


def table(dataset: Dataset, *rows: dict[str, Any]) -> pa.Table:
    schema = pa.schema([field.with_nullable(True) for field in dataset.schema])
    return pa.Table.from_pylist(list(rows), schema)


def test_rows_that_keep_the_rules_pass(flights: Dataset, validator: Validator) -> None:
    verdict = validator.check(table(flights, flight(1), flight(2, dep_delay=-3.0)), DAY)
    assert (verdict.reasons, verdict.failures) == ({}, [])


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"distance": -5}, ["A flight covers some distance"]),
        ({"dest": "ZZZ"}, ["The airports on the 2013 timetable"]),
        ({"origin": None}, ["origin is null", "Part of the key."]),
        ({"dest": None}, ["dest is null", "Every flight is bound for somewhere."]),
        ({"dep_delay": float("nan")}, ["dep_delay is not finite"]),
        ({"dep_delay": float("inf")}, ["dep_delay is not finite"]),
        ({"dep_delay": float("-inf")}, ["dep_delay is not finite"]),
        ({"flight_date": DAY + timedelta(days=1)}, ["flight_date is another day than the par"]),
        ({"flight_date": None}, ["flight_date is null", "Part of the key."]),
        ({"hour": 24, "weekday": 7}, ["An hour of the day.", "0 is Sunday."]),
    ],
)
def test_a_broken_row_gets_every_reason(
    flights: Dataset, validator: Validator, changes: dict[str, Any], reasons: list[str]
) -> None:
    verdict = validator.check(table(flights, flight(1), flight(2, **changes), flight(3)), DAY)
    assert list(verdict.reasons) == [1]
    assert len(verdict.reasons[1]) == len(reasons)
    assert all(
        said.startswith(reason) for said, reason in zip(verdict.reasons[1], reasons, strict=True)
    )


def test_every_row_of_a_shared_key_is_broken(flights: Dataset, validator: Validator) -> None:
    verdict = validator.check(table(flights, flight(1), flight(2), flight(1, dest="BOS")), DAY)
    said = ["One row a flight: another row has the same key."]
    assert verdict.reasons == {0: said, 2: said}


def test_rows_that_share_a_null_in_the_key_are_broken_for_the_null(
    flights: Dataset, validator: Validator
) -> None:
    twice = flight(1, carrier=None)
    verdict = validator.check(table(flights, twice, flight(2), twice), DAY)
    assert set(verdict.reasons) == {0, 2}
    assert "carrier is null" in verdict.reasons[0]


def test_a_check_of_the_whole_day_that_fails_is_no_row_s_fault(
    flights: Dataset, validator: Validator
) -> None:
    rows = table(flights, *(flight(n) for n in range(2001)))
    verdict = validator.check(rows, DAY)
    assert verdict.reasons == {}
    (failure,) = verdict.failures
    assert failure.endswith("(found 2001)")


def test_a_day_without_rows_is_refused(flights: Dataset, validator: Validator) -> None:
    with pytest.raises(
        PartitionRefusedError,
        match=r"^Partition 2013-01-01 of dataset 'flights' refused: the source has no rows for "
        r"this day\. Check the date, or wait",
    ):
        validator.check(table(flights), DAY)


@pytest.mark.parametrize(
    ("expectation", "message"),
    [
        (
            {"type": "expect_column_values_to_be_of_the_moment", "kwargs": {}},
            r"^lab/datasets/flights/expectations\.json: Great Expectations refuses 'expect_column_"
            r"values_to_be_of_the_moment', or what it is given\. Compare it",
        ),
        (
            {"type": "expect_column_values_to_be_between", "kwargs": {"columns": "hour"}},
            r"refuses the suite \(3 validation errors for ExpectColumnValuesToBeBetween",
        ),
        (
            "expect_column_values_to_not_be_null",
            r"refuses 'expect_column_values_to_not_be_null'|refuses the suite",
        ),
        (
            {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "gate"}},
            r"column values to not be null .*'gate'.* cannot be evaluated \(.*Name columns that",
        ),
    ],
)
def test_a_suite_that_cannot_be_evaluated_is_refused(
    flights: Dataset, expectation: Any, message: str
) -> None:
    good = flights.suite["expectations"]
    suite = {"name": "flights", "expectations": [*good, expectation]}
    with pytest.raises(LabError, match=message):
        Validator(replace(flights, suite=suite)).check(table(flights, flight(1)), DAY)


def test_an_expectation_without_a_reason_is_put_in_words(flights: Dataset) -> None:
    expectation = {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "hour", "max_value": 12},
    }
    suite = {"name": "flights", "expectations": [expectation]}
    verdict = Validator(replace(flights, suite=suite)).check(
        table(flights, flight(1, hour=13)), DAY
    )
    assert verdict.reasons[0][0].startswith("column values to be between {'column': 'hour', ")


def test_a_column_without_a_single_value_passes_no_expectation(flights: Dataset) -> None:
    between: dict[str, Any] = {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "dep_delay", "max_value": 2880},
        "meta": {"reason": "Not two days late."},
    }
    rows = table(flights, flight(1), flight(2))
    suite = {"name": "flights", "expectations": [between]}
    (failure,) = Validator(replace(flights, suite=suite)).check(rows, DAY).failures
    assert failure.startswith("every value of dep_delay is null, so this checked nothing: Not two")
    between["meta"] = {"vacuous": True}
    assert Validator(replace(flights, suite=suite)).check(rows, DAY).failures == []


def test_a_column_of_nothing_but_nan_is_broken_in_every_row(
    flights: Dataset, validator: Validator
) -> None:
    nan = float("nan")
    rows = table(flights, flight(1, dep_delay=nan), flight(2, dep_delay=nan))
    assert validator.check(rows, DAY).broken.tolist() == [0, 1]


def test_a_key_must_be_unique_though_no_expectation_says_so(flights: Dataset) -> None:
    suite = {"name": "flights", "expectations": [flights.suite["expectations"][0]]}
    rows = table(flights, flight(1), flight(2), flight(1, dest="BOS"))
    verdict = Validator(replace(flights, suite=suite)).check(rows, DAY)
    said = ["another row has the same key"]
    assert verdict.reasons == {0: said, 2: said}


def test_days_together_are_judged_as_each_alone(flights: Dataset) -> None:
    after = DAY + timedelta(days=1)
    unique = {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "flight"}}
    mean = {
        "type": "expect_column_mean_to_be_between",
        "kwargs": {"column": "hour", "max_value": 12},
    }
    suite = {"name": "flights", "expectations": [*flights.suite["expectations"], unique, mean]}
    checks = Validator(replace(flights, suite=suite))
    days = [
        (DAY, table(flights, flight(1), flight(2, hour=24), flight(3, dest=None))),
        (after, table(flights, *(flight(n, flight_date=after, hour=20) for n in (1, 2, 2)))),
    ]
    together = checks.check_days(days)
    for (day, rows), verdict in zip(days, together, strict=True):
        alone = checks.check(rows, day)
        assert verdict.reasons == alone.reasons
        assert verdict.failures == alone.failures
    assert sorted(together[0].reasons) == [1, 2]
    assert sorted(together[1].reasons) == [1, 2]  # the mean fails, and the flight is there twice
    assert [len(verdict.failures) for verdict in together] == [1, 1]


def test_a_large_day_is_judged_in_slices_as_it_is_whole(
    flights: Dataset, validator: Validator, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[int, dict[str, Any]] = {
        7: {"distance": -1},
        8: {"hour": 30},
        19: {"dest": "ZZZ", "hour": 24},
    }
    rows = table(flights, *(flight(n, **changes.get(n, {})) for n in range(23)), flight(3))
    whole = validator.check(rows, DAY)
    monkeypatch.setattr("pilotline.tasks.ingest.validation.SLICE_ROWS", 5)
    assert validator.check(rows, DAY).reasons == whole.reasons
    assert sorted(whole.reasons) == [3, 7, 8, 19, 23]
