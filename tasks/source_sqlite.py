"""A SQLite database as a source, read with the standard library and the declared types."""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.datasets import Dataset
from tasks.errors import PartitionRefusedError, SourceError

PREFIX = "sqlite:///"
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
        self.path = _database_path(dataset, home)

    def read(self, day: date) -> pa.Table:
        """Return the day's rows in the declared columns.

        Raises:
            SourceError: the file is gone, or the query fails.
            PartitionRefusedError: columns or types are not the declared ones.
        """
        if not self.path.is_file():
            raise SourceError(
                self.dataset.name,
                f"the database file {str(self.path)!r} is gone",
                "Check the url in dataset.toml, or run 'pilotline demo' for the example's own.",
            )
        try:
            with closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)) as database:
                cursor = database.execute(self.dataset.source.query, {"date": day.isoformat()})
                names = [column[0] for column in cursor.description or ()]
                rows = cursor.fetchall()
        except sqlite3.Error as err:
            raise SourceError(
                self.dataset.name, f"the query failed ({err})", "Check the query in dataset.toml."
            ) from err
        self._check_names(names, day)
        return self._to_table(names, rows, day)

    def _check_names(self, names: list[str], day: date) -> None:
        missing = [name for name in self.dataset.columns if name not in names]
        extra = [name for name in names if name not in self.dataset.columns]
        if missing or extra or len(set(names)) != len(names):
            raise PartitionRefusedError(
                self.dataset.name,
                day.isoformat(),
                f"expected columns {', '.join(self.dataset.columns)}; "
                f"missing {missing or 'none'}, not declared {extra or 'none'}",
                "Bring [schema] and the query in dataset.toml together.",
            )

    def _to_table(self, names: list[str], rows: Sequence[tuple[Any, ...]], day: date) -> pa.Table:
        columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
        arrays = []
        for field in self.dataset.schema:
            values = columns.get(field.name, ())
            arrays.append(self._to_array(field, values, day))
        schema = pa.schema([field.with_nullable(True) for field in self.dataset.schema])
        return pa.Table.from_arrays(arrays, schema=schema)

    def _to_array(self, field: pa.Field, values: Sequence[Any], day: date) -> pa.Array:
        declared = self.dataset.columns[field.name].type
        expected = PYTHON_TYPES[declared]
        for value in values:
            if value is not None and type(value) not in expected:
                raise self._refusal(field.name, declared, value, day)
        try:
            if declared == "date":
                values = [None if value is None else date.fromisoformat(value) for value in values]
            elif declared == "timestamp":
                values = [None if v is None else _moment(v) for v in values]
            elif declared == "bool":
                values = [None if value is None else {0: False, 1: True}[value] for value in values]
            return pa.array(values, field.type)
        except (ValueError, KeyError, pa.ArrowException) as err:
            raise self._refusal(field.name, declared, err, day) from err

    def _refusal(self, name: str, declared: str, found: object, day: date) -> Exception:
        return PartitionRefusedError(
            self.dataset.name,
            day.isoformat(),
            f"column {name!r}: expected {declared}, found {found!r}",
            "Mend the source or declare another type; nothing is cast silently.",
        )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment


def _database_path(dataset: Dataset, home: Path) -> Path:
    url = dataset.source.url
    if url.startswith("env:"):
        name = url.removeprefix("env:")
        value = os.environ.get(name)
        if not value:
            raise SourceError(
                dataset.name, f"the variable {name!r} is not set", f"Set it to {PREFIX}PATH."
            )
        url = value
    url = url.replace("{home}", str(home))
    if not url.startswith(PREFIX):
        # The value may come from the environment and hold a password: it is not shown.
        raise SourceError(
            dataset.name, f"its url does not start with {PREFIX!r}", "Name a SQLite file."
        )
    return Path(url.removeprefix(PREFIX)).absolute()
