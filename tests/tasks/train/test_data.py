"""What a version learns from: pinned days, checked against their digests."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from pilotline.registry import Registry
from pilotline.tasks.errors import LabError, LakeError, NothingToDoError
from pilotline.tasks.home import Home
from pilotline.tasks.lab.models import ModelSpec, load_model_folder
from pilotline.tasks.train.data import load_rows, read_pin, select_days
from tests.conftest import local

UNTIL = date(2013, 1, 13)


@pytest.fixture
def spec(home: Home) -> ModelSpec:
    """Return what the lab's model says."""
    return load_model_folder(home.lab, "flight-delay").spec


def test_the_last_days_are_held_out_and_those_before_are_learned_from(
    home: Home, registry: Registry, spec: ModelSpec
) -> None:
    found = select_days(registry, home, spec, UNTIL)
    assert [day.day for day in found.train] == list(range(1, 11))
    assert [day.day for day in found.holdout] == [11, 12, 13]
    assert len(found.learned()) == 2 * 13
    few = replace(spec, retraining=replace(spec.retraining, train_partitions=4))
    assert [day.day for day in select_days(registry, home, few, None).train] == [16, 17, 18, 19]


def test_rows_are_flights_whose_arrival_is_known_sorted_by_key(
    home: Home, registry: Registry, spec: ModelSpec
) -> None:
    rows = load_rows(registry, home, spec, select_days(registry, home, spec, UNTIL))
    assert (rows.train.num_rows, rows.holdout.num_rows) == (950, 285)  # 95 of 100 a day
    keys = [
        tuple(row.values())
        for row in rows.train.select(["flight_date", "carrier", "flight", "origin"]).to_pylist()
    ]
    assert keys == sorted(keys)
    with closing(sqlite3.connect(home.root / "online.db")) as database:
        (late,) = database.execute(
            "select sum(arr_delay >= 15) from arrivals where flight_date <= '2013-01-10'"
        ).fetchone()
    assert sum(rows.train["late"].to_pylist()) == late


def test_too_few_days_are_refused_in_numbers(
    home: Home, registry: Registry, spec: ModelSpec
) -> None:
    with pytest.raises(
        NothingToDoError,
        match=r"^Training 'flight-delay': 3 days have both input and actuals, 3 are held out and "
        r"at least one more is needed \(flights: 2013-01-01 to 2013-01-22, 22 days; arrivals",
    ):
        select_days(registry, home, spec, date(2013, 1, 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": ("hour", "gate")}, r"feature 'gate' is no column of 'flights'\. Known:"),
        ({"target": "early"}, r"target 'early' is no column of 'arrivals'\. Known:"),
    ],
)
def test_columns_no_dataset_has_are_refused(
    home: Home, registry: Registry, spec: ModelSpec, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(LabError, match=message):
        select_days(registry, home, replace(spec, **changes), UNTIL)


def test_a_day_that_is_not_what_was_ingested_is_not_learned_from(
    home: Home, registry: Registry, spec: ModelSpec
) -> None:
    pin = select_days(registry, home, spec, UNTIL).input
    other = replace(pin, days={**pin.days, date(2013, 1, 5): "0" * 64})
    with pytest.raises(
        LakeError,
        match=r"^Table 'flights': day 2013-01-05 reads as [0-9a-f]{12}\.\.\., ingested as 0{12}"
        r"\.\.\.\. Its files are damaged: restore",
    ):
        read_pin(home, other)


@pytest.mark.parametrize("keep", [None, 100])
def test_a_lost_or_cut_file_is_noticed(
    home: Home, registry: Registry, spec: ModelSpec, keep: int | None
) -> None:
    pin = select_days(registry, home, spec, UNTIL).input
    folder = local(home.lake) / "datasets/flights/accepted" / "flight_date=2013-01-05"
    (file,) = folder.glob("*.parquet")
    if keep is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(LakeError, match=r"^Table 'accepted': a data file cannot be read \("):
        read_pin(home, pin)
