"""Sources of datasets: what any kind of source must give."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from pilotline.tasks.lab import Dataset
from pilotline.tasks.sources.files import FileSource
from pilotline.tasks.sources.postgresql import PostgresqlSource
from pilotline.tasks.sources.sqlite import SqliteSource


class PartitionSource(Protocol):
    """Somewhere a day's rows can be asked for."""

    def stream(self, day: date) -> Iterator[pa.RecordBatch]:
        """Yield the day's rows in the declared columns; nulls are allowed everywhere.

        The rows are the day's only if the iterator ends by itself.

        Raises:
            SourceError: the source is gone, does not answer in time, or stops half way.
            PartitionRefusedError: its columns or values are not the declared ones.
        """
        ...

    def read(self, day: date) -> pa.Table:
        """Return what ``stream`` gives, whole."""
        ...


KINDS: dict[str, Callable[[Dataset, Path], PartitionSource]] = {
    "sqlite": SqliteSource,
    "postgresql": PostgresqlSource,
    "files": FileSource,
}


def open_source(dataset: Dataset, home: Path) -> PartitionSource:
    """Return the source of ``dataset``; nothing is opened before it is read."""
    return KINDS[dataset.source.kind](dataset, home)
