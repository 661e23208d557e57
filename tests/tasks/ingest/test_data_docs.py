"""Data Docs: the library's own page, complete in one file."""

import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import date

import pytest

from pilotline.registry.form.errors import UnknownPartitionError
from pilotline.tasks.errors import PartitionRefusedError
from pilotline.tasks.home import Home
from pilotline.tasks.ingest.data_docs import build_data_docs, build_refusal_docs
from pilotline.tasks.lab.datasets import Dataset
from tests.tasks.conftest import ingest

DAY = date(2013, 1, 1)


def test_the_page_says_what_was_expected_and_found_and_loads_nothing(
    fresh: Home, flights: Dataset
) -> None:
    with closing(sqlite3.connect(fresh.root / "online.db")) as database, database:
        database.execute("update flights set distance = -7 where flight = 3")
        database.execute("update flights set dest = '<script src=//x.org>' where flight = 4")
    ingest(fresh, "flights", [DAY])
    path = build_data_docs(fresh, flights, DAY)
    page = path.read_text("utf-8")
    assert path == fresh.root / "data-docs" / "flights" / "2013-01-01.html"
    assert "values must be greater than or equal to" in re.sub(r"<[^>]+>|\s+", " ", page)
    assert "-7" in page
    assert "&lt;script src=//x.org&gt;" in page  # a value, not an element
    assert not re.findall(r"<(?:script|link|img|iframe|form|a)\b|<[^>]*(?:src|href|action)=", page)
    assert not re.findall(r"https?://|url\(|@import", page)
    assert "default-src 'none'" in page


def test_a_day_that_was_never_ingested_has_no_page(fresh: Home, flights: Dataset) -> None:
    with pytest.raises(UnknownPartitionError):
        build_data_docs(fresh, flights, DAY)


def refuse(home: Home, *changes: str) -> PartitionRefusedError:
    """Change the source, and return the refusal of the day."""
    with closing(sqlite3.connect(home.root / "online.db")) as database, database:
        for sql in changes:
            database.execute(sql)
    with pytest.raises(PartitionRefusedError) as refused:
        ingest(home, "flights", [DAY])
    return refused.value


def test_a_day_of_too_many_broken_rows_has_a_page_that_counts_every_reason(
    fresh: Home, flights: Dataset
) -> None:
    refused = refuse(
        fresh,
        "update flights set distance = -7 where flight <= 9",
        "update flights set dep_delay = 9e999 where flight = 1",  # no expectation: a guard
    )
    path = build_refusal_docs(fresh, flights, refused)
    assert path == fresh.root / "data-docs" / "flights" / "2013-01-01-refused.html"
    page = path.read_text("utf-8")
    assert "<h1>flights 2013-01-01: refused</h1>" in page
    assert "9 of 100 rows are broken (9.0%, at most 5.0%)" in page
    assert re.search(r"<td>A flight covers [^<]*</td><td>9</td>", page)
    assert "<td>dep_delay is not finite</td><td>1</td>" in page
    assert "values must be greater than or equal to" in re.sub(r"<[^>]+>|\s+", " ", page)
    assert not (path.parent / "2013-01-01.html").exists()


def test_a_day_that_fails_as_a_whole_has_a_page(fresh: Home, flights: Dataset) -> None:
    again = (
        "insert into flights select flight_date, carrier, flight + {}, origin, dest, tailnum, "
        "hour, minute, distance, dep_delay from flights where flight_date = '2013-01-01'"
    )
    refused = refuse(fresh, *(again.format(100 * 2**n) for n in range(5)))
    path = build_refusal_docs(fresh, flights, refused)
    assert path is not None
    page = path.read_text("utf-8")
    assert re.search(r"<td>A day of 2013 has [^<]* \(found 3200\)</td><td>whole day</td>", page)
    assert "3,200 rows, 0 of them broken" in page


def test_the_page_of_a_refused_day_shows_values_and_reasons_as_texts(
    fresh: Home, flights: Dataset
) -> None:
    evil = "<script src=//x.org>"
    refuse(fresh, f"update flights set dest = '{evil}', carrier = '{evil}', tailnum = '{evil}'")
    suite = dict(flights.suite)
    suite["expectations"] = [
        {**entry, "meta": {"reason": f"{evil} {n}"}}
        for n, entry in enumerate(suite["expectations"])
    ]
    refused = PartitionRefusedError("flights", str(DAY), f"broken: {evil}", f"Mend {evil}.")
    path = build_refusal_docs(fresh, replace(flights, suite=suite), refused)
    assert path is not None
    page = path.read_text("utf-8")
    assert page.count("&lt;script src=//x.org&gt;") >= 4
    assert not re.findall(r"<(?:script|link|img|iframe|form|a)\b|<[^>]*(?:src|href|action)=", page)
    assert not re.findall(r"https?://|url\(|@import", page)


@pytest.mark.parametrize(
    "change",
    ["delete from flights where flight_date = '2013-01-01'", "update flights set hour = 'x'"],
)
def test_a_day_whose_rows_cannot_be_judged_has_no_page(
    fresh: Home, flights: Dataset, change: str
) -> None:
    assert build_refusal_docs(fresh, flights, refuse(fresh, change)) is None
