"""Data Docs: the library's own page, complete in one file."""

import re
import sqlite3
from contextlib import closing
from datetime import date

import pytest

from registry.errors import UnknownPartitionError
from tasks.data_docs import build_data_docs
from tasks.datasets import Dataset
from tasks.home import Home
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
