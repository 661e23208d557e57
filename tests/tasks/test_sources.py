"""Sources of datasets."""

from tasks.datasets import Dataset
from tasks.home import Home
from tasks.source_sqlite import SqliteSource
from tasks.sources import open_source


def test_a_dataset_s_source_reads_its_days(fresh: Home, flights: Dataset) -> None:
    from datetime import date

    source = open_source(flights, fresh.root)
    assert isinstance(source, SqliteSource)
    assert source.read(date(2013, 1, 1)).num_rows == 100
