"""Sources of datasets: the same day from each kind is the same partition."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from registry.s3_client import connect
from tasks.datasets import SOURCES, Dataset, Source
from tasks.digests import partition_digest
from tasks.home import Home
from tasks.source_files import FileSource
from tasks.source_postgresql import PostgresqlSource
from tasks.source_sqlite import SqliteSource
from tasks.sources import KINDS, open_source
from tests.conftest import S3Address
from tests.tasks.test_source_s3 import put

DAY = date(2013, 1, 1)
# As the factory's SQLite has it; extract gives numeric, so its type is said.
FLIGHTS = """
create table flights (
    flight_date date, carrier text, flight int, origin text, dest text, tailnum text,
    hour int, minute int, distance int, dep_delay double precision
)
"""
QUERY = """
select *, extract(dow from flight_date)::int as weekday from flights where flight_date = :date
"""


@pytest.fixture
def from_sqlite(fresh: Home, flights: Dataset) -> pa.Table:
    """Return the day as the factory's SQLite file gives it."""
    return open_source(flights, fresh.root).read(DAY)


def digest_from(dataset: Dataset, source: Source, home: Path) -> str:
    """Return the partition digest of the day from another source."""
    rows = open_source(replace(dataset, source=source), home).read(DAY)
    return partition_digest(rows, dataset.key)


def test_each_kind_has_its_class() -> None:
    assert {
        "sqlite": SqliteSource,
        "postgresql": PostgresqlSource,
        "files": FileSource,
    } == KINDS
    assert set(SOURCES) == set(KINDS)


def test_a_dataset_s_source_reads_its_days(from_sqlite: pa.Table) -> None:
    assert from_sqlite.num_rows == 100


def test_postgresql_gives_the_same_partition(
    from_sqlite: pa.Table,
    flights: Dataset,
    fresh: Home,
    new_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = new_database.replace("postgresql+psycopg://", "postgresql://")
    with (
        closing(sqlite3.connect(fresh.root / "online.db")) as database,
        psycopg.connect(address) as connection,
    ):
        connection.execute(FLIGHTS)
        marks = ", ".join(["%s"] * 10)
        rows = database.execute("select * from flights").fetchall()
        connection.cursor().executemany(f"insert into flights values ({marks})".encode(), rows)
    monkeypatch.setenv("FLIGHTS_URL", address)
    digest = digest_from(flights, Source("postgresql", "env:FLIGHTS_URL", QUERY), fresh.root)
    assert digest == partition_digest(from_sqlite, flights.key)


@pytest.mark.parametrize("extension", ["csv", "parquet"])
def test_files_give_the_same_partition(
    from_sqlite: pa.Table, flights: Dataset, tmp_path: Path, extension: str
) -> None:
    path = tmp_path / f"2013-01-01.{extension}"
    if extension == "csv":
        csv.write_csv(from_sqlite, path)
    else:
        parquet.write_table(from_sqlite, path)
    digest = digest_from(flights, Source("files", path=f"{{home}}/{{date}}.{extension}"), tmp_path)
    assert digest == partition_digest(from_sqlite, flights.key)


def test_objects_under_s3_give_the_same_partition(
    from_sqlite: pa.Table, flights: Dataset, tmp_path: Path, s3_environment: S3Address
) -> None:
    prefix = f"s3://{s3_environment.bucket}/flights"
    put(connect(), f"{prefix}/2013-01-01/a.parquet", from_sqlite.slice(0, 40))
    put(connect(), f"{prefix}/2013-01-01/b.parquet", from_sqlite.slice(40))
    digest = digest_from(flights, Source("files", path=f"{prefix}/{{date}}/*.parquet"), tmp_path)
    assert digest == partition_digest(from_sqlite, flights.key)
