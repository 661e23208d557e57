"""A dataset with a column of each declared type, and one day of it as every source gives it."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from pilotline.tasks.lab.datasets import Column, Dataset, Source

DAY = date(2013, 1, 1)
COLUMNS = {
    "day": Column("date"),
    "name": Column("string", nullable=True),
    "count": Column("int64"),
    "share": Column("float64", nullable=True),
    "open": Column("bool"),
    "at": Column("timestamp"),
}
MOMENT = datetime(2013, 1, 1, tzinfo=UTC)
ROWS: list[dict[str, Any]] = [
    {"day": DAY, "name": "a", "count": 7, "share": 0.1, "open": True, "at": MOMENT},
    {"day": DAY, "name": None, "count": -8, "share": None, "open": False, "at": MOMENT},
    {"day": DAY, "name": 'ü, "b"', "count": 2**53 + 1, "share": 1e300, "open": True, "at": MOMENT},
]


def facts_from(source: Source) -> Dataset:
    """Return the dataset with ``source``."""
    return Dataset("facts", "operations", "", "day", ("day", "name"), source, COLUMNS, 0.5, {})


def with_columns(dataset: Dataset, columns: dict[str, Column]) -> Dataset:
    """Return the dataset with other declared columns."""
    return replace(dataset, columns=columns)


def facts_table() -> pa.Table:
    """Return the rows as Arrow holds them."""
    return pa.Table.from_pylist(ROWS, schema=facts_from(Source("files")).schema)
