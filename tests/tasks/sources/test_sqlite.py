"""SQLite as a source: declared types, nothing cast silently."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pilotline.tasks.errors import PartitionRefusedError, SourceError
from pilotline.tasks.lab.datasets import Dataset, Source
from pilotline.tasks.sources.sqlite import BATCH_ROWS, SqliteSource
from tests.support.tasks.facts import COLUMNS, DAY, facts_from

ROW = ("2013-01-01", "a", 7, 0.5, 1, "2013-01-01T01:00:00+01:00")


@pytest.fixture
def dataset() -> Dataset:
    """Return a dataset with a column of each type."""
    query = "select * from facts where day = :date"
    return facts_from(Source("sqlite", "sqlite:///{home}/online.db", query))


def fill(home: Path, *rows: tuple[object, ...], columns: str = ", ".join(COLUMNS)) -> None:
    """Write a table without declared types, so that values stay as they are."""
    with closing(sqlite3.connect(home / "online.db")) as database, database:
        database.execute(f"create table facts ({columns})")
        marks = ", ".join("?" * len(columns.split(",")))
        database.executemany(f"insert into facts values ({marks})", rows)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, "today", r"column 'day': expected date, found ValueError"),
        (0, 20130101, r"column 'day': expected date, found 20130101"),
        (1, 5, r"column 'name': expected string, found 5\. Mend the source or declare another"),
        (2, "7", r"column 'count': expected int64, found '7'"),
        (2, 7.0, r"column 'count': expected int64, found 7\.0"),
        (3, 1, r"column 'share': expected float64, found 1\."),
        (4, 2, r"column 'open': expected bool, found KeyError\(2\)"),
        (5, "2013-01-01T01:00:00", r"column 'at': expected timestamp, found .* has no time zone"),
    ],
)
def test_a_value_of_another_type_refuses_the_day(
    dataset: Dataset, tmp_path: Path, place: int, value: object, message: str
) -> None:
    row = list(ROW)
    row[place] = value
    fill(tmp_path, tuple(row))
    every = replace(dataset, source=replace(dataset.source, query="select * from facts --:date"))
    with pytest.raises(PartitionRefusedError, match=message):
        SqliteSource(every, tmp_path).read(DAY)


def test_a_time_zone_lost_in_the_middle_of_a_day_refuses_it(
    dataset: Dataset, tmp_path: Path
) -> None:
    fill(tmp_path, ROW, (*ROW[:5], "2013-01-01T02:00:00+02:00"), (*ROW[:5], "2013-01-01T03:00:00"))
    with pytest.raises(PartitionRefusedError, match=r"'2013-01-01T03:00:00' has no time zone"):
        SqliteSource(dataset, tmp_path).read(DAY)


def test_a_column_named_twice_refuses_the_day(dataset: Dataset, tmp_path: Path) -> None:
    fill(tmp_path, ROW)
    twice = replace(dataset.source, query="select *, name from facts where day = :date")
    with pytest.raises(PartitionRefusedError, match=r"declared ones: 1 twice\."):
        SqliteSource(replace(dataset, source=twice), tmp_path).read(DAY)


def test_a_day_comes_in_batches(dataset: Dataset, tmp_path: Path) -> None:
    fill(tmp_path, *[ROW] * (BATCH_ROWS + 1))
    sizes = [batch.num_rows for batch in SqliteSource(dataset, tmp_path).stream(DAY)]
    assert sizes == [BATCH_ROWS, 1]


def test_a_query_that_takes_too_long_is_ended(dataset: Dataset, tmp_path: Path) -> None:
    fill(tmp_path, ROW)
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) "
    endless += "select * from facts where day = :date and (select count(*) from n) > 0"
    slow = replace(dataset, source=replace(dataset.source, query=endless, timeout_s=0.5))
    with pytest.raises(
        SourceError, match=r"it did not give the day within 0\.5 s\. Look at the source, or raise"
    ):
        SqliteSource(slow, tmp_path).read(DAY)


def test_a_missing_file_is_named(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"^Source of dataset 'facts': the database file '.*online\.db' is gone"
    ):
        SqliteSource(dataset, tmp_path).read(DAY)


def test_a_query_that_fails_says_why(dataset: Dataset, tmp_path: Path) -> None:
    fill(tmp_path, columns="other")
    with pytest.raises(SourceError, match=r"the query failed \(no such column: day\)\. Check the"):
        SqliteSource(dataset, tmp_path).read(DAY)


def test_a_query_cannot_write(dataset: Dataset, tmp_path: Path) -> None:
    fill(tmp_path, ROW)
    deleting = replace(dataset.source, query="delete from facts where day = :date")
    with pytest.raises(SourceError, match=r"the query failed \(attempt to write a readonly"):
        SqliteSource(replace(dataset, source=deleting), tmp_path).read(DAY)


def test_a_url_may_come_from_a_variable(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, ROW)
    source = replace(dataset.source, url="env:FACTS_URL")
    monkeypatch.setenv("FACTS_URL", f"sqlite:///{tmp_path}/online.db")
    named = SqliteSource(replace(dataset, source=source), tmp_path / "elsewhere")
    assert named.read(DAY).num_rows == 1


def test_a_url_of_another_kind_is_refused_without_showing_it(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTS_URL", "postgresql://user:secret@server/facts")
    named = replace(dataset, source=replace(dataset.source, url="env:FACTS_URL"))
    with pytest.raises(SourceError, match=r"does not start with 'sqlite:///'\. Name") as caught:
        SqliteSource(named, tmp_path).read(DAY)
    assert "secret" not in str(caught.value)
