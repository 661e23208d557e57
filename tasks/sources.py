"""Sources of datasets: what any kind of source must give."""

from datetime import date
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from tasks.datasets import Dataset
from tasks.source_sqlite import SqliteSource


class PartitionSource(Protocol):
    """Somewhere a day's rows can be asked for."""

    def read(self, day: date) -> pa.Table:
        """Return the day's rows in the declared columns; nulls are allowed everywhere.

        Raises:
            SourceError: the source is gone, or does not answer.
            PartitionRefusedError: its columns or values are not the declared ones.
        """
        ...


def open_source(dataset: Dataset, home: Path) -> PartitionSource:
    """Return the source of ``dataset``; nothing is opened before it is read."""
    return SqliteSource(dataset, home)
