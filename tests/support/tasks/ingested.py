"""One day of the flights brought in, and what became of it."""

import sqlite3
from contextlib import closing
from datetime import date
from typing import Any

from pilotline.registry import Registry
from pilotline.tasks.home import Home
from pilotline.tasks.ingest.days import DayIngested, ingest_day
from pilotline.tasks.ingest.validation import Validator
from pilotline.tasks.lab.datasets import Dataset
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.sources.opening import open_source

# Ingests the day in a process of its own.
PROCESS = """
import sys
from datetime import date
from pathlib import Path
from pathlib import Path
from pilotline.registry import Registry
from pilotline.tasks.lab.datasets import load_dataset
from pilotline.tasks.ingest.days import ingest_day
from pilotline.tasks.sources.opening import open_source
from pilotline.tasks.ingest.validation import Validator

root = Path(sys.argv[1])
dataset = load_dataset(root.parent / "lab", "flights")
with Registry(f"sqlite:///{root / 'registry.db'}", root / "blobs") as registry:
    ingest_day(
        dataset, open_source(dataset, root), Validator(dataset), date(2013, 1, 1), registry,
        root / "lake")
"""
DAY = date(2013, 1, 1)
ROWS = 100  # of a day in the source
BREAK_TWO = "update flights set distance = -1 where flight_date = '2013-01-01' and flight in (3, 4)"


def change(home: Home, sql: str) -> None:
    """Change the source."""
    with closing(sqlite3.connect(home.root / "online.db")) as database, database:
        database.execute(sql)


def bring_in(
    home: Home, dataset: Dataset, validator: Validator, registry: Registry, day: date = DAY
) -> DayIngested:
    """Ingest a day of the flights."""
    return ingest_day(dataset, open_source(dataset, home.root), validator, day, registry, home.lake)


def accepted(home: Home, dataset: Dataset, day: date = DAY) -> list[dict[str, Any]]:
    """Return the day's accepted rows."""
    table = lake.open_table(lake.accepted_path(home.lake, dataset.name))
    rows: list[dict[str, Any]] = lake.read(
        table, dataset.schema, lake.on_day(dataset.date, day)
    ).to_pylist()
    return rows


def versions(home: Home) -> list[int]:
    """Return the versions of both tables, -1 where there is none."""
    paths = [lake.accepted_path(home.lake, "flights"), lake.quarantine_path(home.lake, "flights")]
    return [lake.open_table(path).version() if lake.is_table(path) else -1 for path in paths]
