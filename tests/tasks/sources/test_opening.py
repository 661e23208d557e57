"""Which class reads which kind of source; what all must do is in test_sources_conform.py."""

from datetime import date

from pilotline.tasks.home import Home
from pilotline.tasks.lab.datasets import SOURCES, Dataset
from pilotline.tasks.sources.files import FileSource
from pilotline.tasks.sources.opening import KINDS, open_source
from pilotline.tasks.sources.postgresql import PostgresqlSource
from pilotline.tasks.sources.sqlite import SqliteSource

DAY = date(2013, 1, 1)


def test_each_kind_has_its_class() -> None:
    assert {
        "sqlite": SqliteSource,
        "postgresql": PostgresqlSource,
        "files": FileSource,
    } == KINDS
    assert set(SOURCES) == set(KINDS)


def test_the_example_s_source_reads_its_days(blank: Home, flights: Dataset) -> None:
    rows = open_source(flights, blank.root).read(DAY)
    assert rows.num_rows == 100
    assert set(rows["weekday"].to_pylist()) == {2}  # 1 January 2013 was a Tuesday
