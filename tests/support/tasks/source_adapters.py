"""Every kind of source, each with a way to put rows into it: one class here is one more source."""

import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from pilotline.registry.blobs.s3_client import connect
from pilotline.tasks.lab.datasets import Column, Dataset, Source
from pilotline.tasks.sources.opening import PartitionSource, open_source
from tests.conftest import S3Address
from tests.support.tasks.facts import COLUMNS, facts_from, with_columns

QUERY = "select * from facts where day = :date"
PLACEHOLDER = "put here"  # a text in whose place bytes are written


@dataclass
class Adapter(ABC):
    """A source that rows can be put into."""

    home: Path

    def dataset(self, columns: Mapping[str, Column] = COLUMNS, timeout_s: float = 60.0) -> Dataset:
        """Return the facts, or other declared columns, over this source."""
        source = replace(self.source(), timeout_s=timeout_s)
        return with_columns(facts_from(source), dict(columns))

    def open(
        self, columns: Mapping[str, Column] = COLUMNS, timeout_s: float = 60.0
    ) -> PartitionSource:
        """Return the source as the product opens it."""
        return open_source(self.dataset(columns, timeout_s), self.home)

    @abstractmethod
    def source(self) -> Source:
        """Return what a dataset.toml says of it."""

    @abstractmethod
    def put(self, day: date, rows: pa.Table) -> None:
        """Add rows of a day, in the columns and types of the table where the source has types."""

    @abstractmethod
    def put_bytes(self, day: date, rows: pa.Table, text: bytes) -> None:
        """Add rows of a day, with ``text`` wherever the placeholder stands."""

    @abstractmethod
    def take_away(self) -> None:
        """Let the source be gone."""


class Sqlite(Adapter):
    """A SQLite file whose columns have no types."""

    def source(self) -> Source:
        """Return a query over the file."""
        return Source("sqlite", "sqlite:///{home}/online.db", QUERY)

    def put(self, day: date, rows: pa.Table) -> None:
        """Insert the rows; moments are written with an offset, which does not change them."""
        self._insert(rows, {})

    def put_bytes(self, day: date, rows: pa.Table, text: bytes) -> None:
        """Insert the rows, the bytes as a text."""
        self._insert(rows, {PLACEHOLDER: text})

    def take_away(self) -> None:
        """Remove the file."""
        (self.home / "online.db").unlink()

    def _insert(self, rows: pa.Table, instead: Mapping[str, bytes]) -> None:
        values = [[_plain(value) for value in row.values()] for row in rows.to_pylist()]
        names = ", ".join(rows.column_names)
        with closing(sqlite3.connect(self.home / "online.db")) as database, database:
            database.execute(f"create table if not exists facts ({names})")
            marks = ", ".join("?" * rows.num_columns)
            database.executemany(f"insert into facts ({names}) values ({marks})", values)
            for text, put in instead.items():
                database.execute(
                    "update facts set name = cast(? as text) where name = ?", (put, text)
                )


def _plain(value: Any) -> Any:
    """Return a value as SQLite keeps it: dates and moments as ISO text."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(timezone(timedelta(hours=1))).isoformat()
    return value.isoformat() if isinstance(value, date) else value


@dataclass
class Postgresql(Adapter):
    """A table on a PostgreSQL server."""

    url: str

    TYPES: ClassVar[Mapping[pa.DataType, str]] = {
        pa.int64(): "bigint",
        pa.float64(): "double precision",
        pa.string(): "text",
        pa.bool_(): "boolean",
        pa.date32(): "date",
        pa.timestamp("us"): "timestamp",
        pa.timestamp("us", tz="UTC"): "timestamptz",
    }

    def source(self) -> Source:
        """Return a query over the table."""
        return Source("postgresql", self.url, QUERY)

    def put(self, day: date, rows: pa.Table) -> None:
        """Copy the rows into the table."""
        columns = ", ".join(f"{column.name} {self.TYPES[column.type]}" for column in rows.schema)
        into = f"copy facts ({', '.join(rows.column_names)}) from stdin"
        with psycopg.connect(self.url) as connection:
            connection.execute(f"create table if not exists facts ({columns})".encode())
            with connection.cursor().copy(into.encode()) as copy:
                for row in rows.to_pylist():
                    copy.write_row(list(row.values()))

    def put_bytes(self, day: date, rows: pa.Table, text: bytes) -> None:
        """Try to insert the rows: the server takes no text that is not UTF-8."""
        self.put(day, rows)
        change = "update facts set name = convert_from(%b, 'UTF8') where name = %s"
        with psycopg.connect(self.url) as connection:
            connection.execute(change, (text, PLACEHOLDER))

    def take_away(self) -> None:
        """Ask for a database that is not there."""
        self.url = self.url.replace("/test_", "/no_such_test_")


@dataclass
class Files(Adapter):
    """A file of each delivery in the day's folder, on this machine."""

    format: str
    written: int = field(default=0, init=False)

    def source(self) -> Source:
        """Return the folders."""
        return Source("files", path=f"{self.root}/{{date}}")

    @property
    def root(self) -> str:
        """What the folders of days are in, as dataset.toml says it."""
        return "{home}/landing"

    def put(self, day: date, rows: pa.Table) -> None:
        """Write a file."""
        self._write(day, self._encode(rows))

    def put_bytes(self, day: date, rows: pa.Table, text: bytes) -> None:
        """Write a file with the bytes in it."""
        if self.format == "csv":
            data = self._encode(rows).replace(PLACEHOLDER.encode(), text)
        else:
            names = [text if name == PLACEHOLDER else name.encode() for name in _names(rows)]
            at = rows.schema.get_field_index("name")
            broken = pa.array(names, pa.binary()).view(pa.string())
            data = self._encode(rows.set_column(at, "name", broken))
        self._write(day, data)

    def take_away(self) -> None:
        """Remove all folders."""
        shutil.rmtree(self.home / "landing")

    def _encode(self, rows: pa.Table) -> bytes:
        sink = BytesIO()
        if self.format == "csv":
            csv.write_csv(rows, sink)
        else:
            parquet.write_table(rows, sink)
        return sink.getvalue()

    def _write(self, day: date, data: bytes) -> None:
        path = self.home / "landing" / str(day) / f"part-{self.written}.{self.format}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.written += 1


def _names(rows: pa.Table) -> list[str]:
    names: list[str] = rows["name"].to_pylist()
    return names


@dataclass
class Objects(Files):
    """The same under s3://."""

    bucket: str
    client: Any

    @property
    def root(self) -> str:
        """A place of the test's own in the bucket."""
        return f"s3://{self.bucket}/{self.home.name}"

    def take_away(self) -> None:
        """Ask for a bucket that is not there."""
        self.bucket = "no-such-bucket-x"

    def _write(self, day: date, data: bytes) -> None:
        key = f"{self.home.name}/{day}/part-{self.written}.{self.format}"
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data)
        self.written += 1


def _postgresql(request: pytest.FixtureRequest, home: Path) -> Adapter:
    url: str = request.getfixturevalue("new_database")
    return Postgresql(home, url.replace("postgresql+psycopg://", "postgresql://"))


def _objects(request: pytest.FixtureRequest, home: Path) -> Adapter:
    address: S3Address = request.getfixturevalue("s3_environment")
    return Objects(home, "parquet", address.bucket, _client(address))


@cache
def _client(_: S3Address) -> Any:
    """Return one client for all tests, which takes as long to make as a test to run."""
    return connect()


ADAPTERS: Mapping[str, Callable[[pytest.FixtureRequest, Path], Adapter]] = {
    "sqlite": lambda _, home: Sqlite(home),
    "postgresql": _postgresql,
    "csv": lambda _, home: Files(home, "csv"),
    "parquet": lambda _, home: Files(home, "parquet"),
    "s3": _objects,
}
