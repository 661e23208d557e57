"""A SQLite database as a source, read with the standard library and the declared types."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from pilotline.tasks.errors import SourceError
from pilotline.tasks.lab import Dataset
from pilotline.tasks.sources.contract import (
    ANY,
    Found,
    check_columns,
    collect,
    nullable,
    refused_value,
)
from pilotline.tasks.sources.credentials import resolve_url
from pilotline.tasks.sources.deadline import Deadline

PREFIX = "sqlite:///"
BATCH_ROWS = 50_000
STEPS = 100_000  # of SQLite's machine between two looks at the clock: about a millisecond
# Declared type -> the types in which SQLite hands its values out. Dates and times have no type
# of their own there and come as ISO text.
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "int64": (int,),
    "float64": (float,),
    "bool": (int,),
    "date": (str,),
    "timestamp": (str,),
}


class SqliteSource:
    """The query of a dataset over a SQLite file, opened read-only for each day."""

    def __init__(self, dataset: Dataset, home: Path) -> None:
        self.dataset = dataset
        self.home = home

    def read(self, day: date) -> pa.Table:
        """Return the day's rows in the declared columns.

        Raises:
            SourceError: the file is gone, the query fails or takes too long.
            PartitionRefusedError: columns or types are not the declared ones.
        """
        return collect(self.dataset, self.stream(day))

    def stream(self, day: date) -> Iterator[pa.RecordBatch]:
        """Yield the day's rows in the declared columns; raises what ``read`` does."""
        path = self._path()
        deadline = Deadline(self.dataset.name, self.dataset.source.timeout_s)
        try:
            uri = f"{path.as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True)) as database:
                database.set_progress_handler(lambda: int(deadline.passed), STEPS)
                cursor = database.execute(self.dataset.source.query, {"date": day.isoformat()})
                names = [column[0] for column in cursor.description or ()]
                # SQLite's columns have no types, its values have.
                found = [Found(name, "untyped", ANY) for name in names]
                check_columns(self.dataset, day, found)
                while rows := cursor.fetchmany(BATCH_ROWS):
                    yield self._to_batch(names, rows, day)
                    deadline.check()
        except sqlite3.Error as err:
            if deadline.passed:
                raise deadline.error() from err
            raise SourceError(
                self.dataset.name, f"the query failed ({err})", "Check the query in dataset.toml."
            ) from err

    def _path(self) -> Path:
        url = resolve_url(self.dataset.name, self.dataset.source.url)
        if not url.startswith(PREFIX):
            # The value may come from the environment and hold a password: it is not shown.
            raise SourceError(
                self.dataset.name, f"its url does not start with {PREFIX!r}", "Name a SQLite file."
            )
        path = Path(url.replace("{home}", str(self.home)).removeprefix(PREFIX)).absolute()
        if not path.is_file():
            raise SourceError(
                self.dataset.name,
                f"the database file {str(path)!r} is gone",
                "Check the url in dataset.toml, or run 'pilotline demo' for the example's own.",
            )
        return path

    def _to_batch(
        self, names: list[str], rows: Sequence[tuple[Any, ...]], day: date
    ) -> pa.RecordBatch:
        columns = dict(zip(names, zip(*rows, strict=True), strict=True))
        arrays = [self._to_array(field, columns[field.name], day) for field in self.dataset.schema]
        return pa.RecordBatch.from_arrays(arrays, schema=nullable(self.dataset))

    def _to_array(self, field: pa.Field, values: Sequence[Any], day: date) -> pa.Array:
        declared = self.dataset.columns[field.name].type
        expected = (*PYTHON_TYPES[declared], type(None))
        if not set(map(type, values)).issubset(expected):
            other = next(value for value in values if type(value) not in expected)
            raise refused_value(self.dataset, day, field.name, repr(other))
        try:
            if declared == "date":
                values = [None if value is None else date.fromisoformat(value) for value in values]
            elif declared == "timestamp":
                values = [None if v is None else _moment(v) for v in values]
            elif declared == "bool":
                values = [None if value is None else {0: False, 1: True}[value] for value in values]
            return pa.array(values, field.type)
        except (ValueError, KeyError, OverflowError, pa.ArrowException) as err:
            raise refused_value(self.dataset, day, field.name, repr(err)) from err


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment
