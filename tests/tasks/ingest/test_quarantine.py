"""The broken rows set aside."""

import sqlite3
from contextlib import closing
from datetime import date

from pilotline.tasks.home import Home
from pilotline.tasks.ingest.days import ingest_day
from pilotline.tasks.ingest.quarantine import count_reasons, list_quarantine
from pilotline.tasks.ingest.validation import Validator
from pilotline.tasks.lab.datasets import Dataset
from pilotline.tasks.sources.opening import open_source


def test_nothing_ingested_means_nothing_quarantined(fresh: Home) -> None:
    assert list_quarantine(fresh, "flights") == []
    assert count_reasons(fresh, "flights") == {}


def test_broken_rows_are_listed_by_day_and_place_with_their_reasons(
    fresh: Home, flights: Dataset, validator: Validator
) -> None:
    with closing(sqlite3.connect(fresh.root / "online.db")) as database, database:
        database.execute("update flights set distance = -1 where flight = 2")
        database.execute("update flights set dest = 'ZZZ', hour = 25 where flight = 1")
    with fresh.open_registry() as registry:
        for day in (date(2013, 1, 2), date(2013, 1, 1)):
            source = open_source(flights, fresh.root)
            ingest_day(flights, source, validator, day, registry, fresh.lake)
    listed = list_quarantine(fresh, "flights")
    assert [(row["date"], row["row"]["flight"]) for row in listed] == [
        ("2013-01-01", 1),
        ("2013-01-01", 2),
        ("2013-01-02", 1),
        ("2013-01-02", 2),
    ]
    assert listed[0]["row"]["dest"] == "ZZZ"
    assert len(listed[0]["reasons"]) == 2
    counts = count_reasons(fresh, "flights")
    assert counts["An hour of the day."] == 2
    assert sum(counts.values()) == 6
