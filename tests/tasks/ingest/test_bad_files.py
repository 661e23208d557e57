"""Bad files through the whole ingest: refused with nothing written, or each row in one place."""

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pytest
from pyarrow import parquet

from pilotline.registry import Registry
from pilotline.registry.runs.ingests import list_partitions
from pilotline.tasks.errors import PartitionRefusedError, SourceError
from pilotline.tasks.home import Home
from pilotline.tasks.ingest.days import DayIngested, ingest_day
from pilotline.tasks.ingest.quarantine import list_quarantine
from pilotline.tasks.ingest.validation import Validator
from pilotline.tasks.lab.datasets import Column, Dataset, Source
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.sources.opening import open_source

DAY = date(2013, 1, 1)
NEXT = DAY + timedelta(days=1)
AT = datetime(2013, 1, 1, 12, tzinfo=UTC)
READINGS = Dataset(
    name="readings",
    owner="operations",
    description="",
    date="day",
    key=("day", "id"),
    source=Source("files", path="{home}/{date}"),
    columns={
        "day": Column("date"),
        "id": Column("int64"),
        "name": Column("string", nullable=True),
        "share": Column("float64", nullable=True),
        "at": Column("timestamp"),
    },
    max_share=0.5,
    suite={
        "name": "readings",
        "expectations": [
            {
                "type": "expect_column_value_lengths_to_be_between",
                "kwargs": {"column": "name", "max_value": 20},
                "meta": {"reason": "A name is short."},
            }
        ],
    },
)
HEADER = "day,id,name,share,at"
GOOD = [f"2013-01-01,{n},a,0.5,2013-01-01T12:00:00Z" for n in range(8)]
# Above the limits that something on the way could have: SQLite's 2,000 columns, PostgreSQL's
# 1,600 and Python's 1,000 nested calls. More take longer and meet no other limit.
WIDE = 2_500
ROWS = [{"day": DAY, "id": n, "name": "a", "share": 0.5, "at": AT} for n in range(8)]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a registry's database with nothing in it; copying it is faster than making it."""
    folder = tmp_path_factory.mktemp("empty")
    Registry(f"sqlite:///{folder / 'registry.db'}", folder / "blobs").close()
    return folder / "registry.db"


@pytest.fixture
def home(empty: Path, tmp_path: Path) -> Home:
    """Return a home where nothing was ingested."""
    root = tmp_path / "home"
    root.mkdir()
    shutil.copy(empty, root / "registry.db")
    url = f"sqlite:///{root / 'registry.db'}"
    return Home(root, tmp_path / "lab", root / "blobs", root / "lake", url)


@pytest.fixture
def registry(home: Home) -> Iterator[Registry]:
    """Return the home's open registry."""
    with home.open_registry() as opened:
        yield opened


@pytest.fixture(scope="module")
def validator() -> Validator:
    """Return the checks of the readings, set up once."""
    return Validator(READINGS)


class Bring(Protocol):
    """Ingests a day of the readings."""

    def __call__(self, day: date = DAY) -> DayIngested:
        """Return what came of it."""


@pytest.fixture
def bring_in(home: Home, registry: Registry, validator: Validator) -> Bring:
    """Return a function that ingests a day of the readings."""

    def brought(day: date = DAY) -> DayIngested:
        source = open_source(READINGS, home.root)
        return ingest_day(READINGS, source, validator, day, registry, home.lake)

    return brought


def deliver(home: Home, lines: list[str], day: date = DAY, name: str = "f.csv") -> Path:
    """Write lines of CSV as a file of a day."""
    return deliver_bytes(home, "\n".join([HEADER, *lines, ""]).encode(), day, name)


def deliver_bytes(home: Home, data: bytes, day: date = DAY, name: str = "f.csv") -> Path:
    """Write a file of a day."""
    path = home.root / str(day) / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def deliver_rows(
    home: Home,
    rows: list[dict[str, Any]],
    day: date = DAY,
    name: str = "f.parquet",
    types: dict[str, pa.DataType] | None = None,
) -> Path:
    """Write rows as a Parquet file of a day, with checksums in its pages."""
    schema = pa.schema(
        [field.with_type((types or {}).get(field.name, field.type)) for field in READINGS.schema]
    )
    path = home.root / str(day) / name
    path.parent.mkdir(exist_ok=True)
    table = pa.Table.from_pylist(rows, pa.schema([field.with_nullable(True) for field in schema]))
    parquet.write_table(table, path, write_page_checksum=True, compression="none")
    return path


def kept(home: Home, day: date = DAY) -> list[dict[str, Any]]:
    """Return a day's accepted rows by their number."""
    table = lake.open_table(lake.accepted_path(home.lake, "readings"))
    rows: list[dict[str, Any]] = lake.read(
        table, READINGS.schema, lake.on_day("day", day)
    ).to_pylist()
    return sorted(rows, key=lambda row: int(row["id"]))


BROKEN_ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "not a number": ({"id": 8, "share": math.nan}, "share is not finite"),
    "plus infinity": ({"id": 8, "share": math.inf}, "share is not finite"),
    "minus infinity": ({"id": 8, "share": -math.inf}, "share is not finite"),
    "a null key": ({"id": None}, "id is null"),
    "the next day": ({"id": 8, "day": NEXT}, "day is another day than the partition's"),
    "another year": (
        {"id": 8, "day": date(1913, 1, 1)},
        "day is another day than the partition's",
    ),
    "no moment": ({"id": 8, "at": None}, "at is null"),
    "a long name": ({"id": 8, "name": "x" * 21}, "A name is short."),
}


@pytest.mark.parametrize("what", BROKEN_ROWS)
@pytest.mark.parametrize("written", ["csv", "parquet"])
def test_a_broken_row_is_quarantined_with_the_reason_and_the_others_are_in(
    home: Home, bring_in: Bring, what: str, written: str
) -> None:
    change, reason = BROKEN_ROWS[what]
    row = {"day": DAY, "id": 8, "name": "a", "share": 0.5, "at": AT} | change
    if written == "csv":
        shown = ["" if value is None else str(value) for value in row.values()]
        deliver(home, [*GOOD, ",".join(shown)])
    else:
        deliver_rows(home, [*ROWS, row])
    done = bring_in()
    assert (done.ingested, done.accepted, done.quarantined) == (9, 8, 1)
    (aside,) = list_quarantine(home, "readings")
    assert (aside["reasons"], aside["row_number"]) == ([reason], 8)
    assert kept(home) == ROWS


@pytest.mark.parametrize("written", ["csv", "parquet"])
def test_all_rows_of_a_shared_key_are_quarantined_though_they_came_in_two_files(
    home: Home, bring_in: Bring, written: str
) -> None:
    if written == "csv":
        deliver(home, GOOD)
        deliver(home, [GOOD[3].replace("0.5", "0.7"), GOOD[4]], name="g.csv")
    else:
        deliver_rows(home, ROWS)
        deliver_rows(home, [ROWS[3] | {"share": 0.7}, ROWS[4]], name="g.parquet")
    assert bring_in().quarantined == 4
    aside = list_quarantine(home, "readings")
    assert [row["row"]["id"] for row in aside] == [3, 4, 3, 4]
    assert {tuple(row["reasons"]) for row in aside} == {("another row has the same key",)}
    assert [row["id"] for row in kept(home)] == [0, 1, 2, 5, 6, 7]


@pytest.mark.parametrize("written", ["csv", "parquet", "parquet without a type"])
def test_a_column_of_nulls_alone_is_in_where_nothing_is_expected_of_it(
    home: Home, bring_in: Bring, written: str
) -> None:
    rows = [row | {"share": None} for row in ROWS]
    if written == "csv":
        deliver(home, [line.replace("0.5", "") for line in GOOD])
    else:
        deliver_rows(home, rows, types={"share": pa.null()} if "type" in written else {})
    assert bring_in().accepted == 8
    assert kept(home) == rows


def test_a_column_of_nulls_alone_refuses_the_day_where_something_is_expected_of_it(
    home: Home, bring_in: Bring
) -> None:
    deliver(home, [line.replace(",a,", ",,") for line in GOOD])
    with pytest.raises(PartitionRefusedError, match="every value of name is null, so this checked"):
        bring_in()


def test_moments_are_kept_when_the_offset_changes_in_the_middle_of_the_day(
    home: Home, bring_in: Bring
) -> None:
    # In Berlin half past two came twice on 27 October 2013: an hour apart.
    day = date(2013, 10, 27)
    clocks = ("2013-10-27T02:30:00+02:00", "2013-10-27T02:30:00+01:00")
    deliver(home, [f"{day},{n},a,0.5,{clock}" for n, clock in enumerate(clocks)], day)
    assert bring_in(day).accepted == 2
    assert [row["at"] for row in kept(home, day)] == [
        datetime(2013, 10, 27, 0, 30, tzinfo=UTC),
        datetime(2013, 10, 27, 1, 30, tzinfo=UTC),
    ]


def cut(path: Path) -> None:
    """Leave half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Flip a bit of the first value that a Parquet file holds."""
    column = parquet.read_metadata(path).row_group(0).column(1)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size - 1] ^= 1
    path.write_bytes(data)


def break_zone(home: Home) -> None:
    """Deliver a file in which one moment has no zone."""
    deliver(home, [*GOOD[:4], GOOD[4].rstrip("Z"), *GOOD[5:]])


def lose_zone(home: Home) -> None:
    """Deliver two files, the second without zones."""
    deliver_rows(home, ROWS[:4], name="e.parquet")
    rows = [row | {"at": AT.replace(tzinfo=None)} for row in ROWS[4:]]
    deliver_rows(home, rows, types={"at": pa.timestamp("us")})


def change_type(home: Home) -> None:
    """Deliver two files, the second with floats for whole numbers."""
    deliver_rows(home, ROWS[:4], name="e.parquet")
    deliver_rows(home, [row | {"id": 4.5} for row in ROWS[4:]], types={"id": pa.float64()})


def add_columns(home: Home) -> None:
    """Deliver a Parquet file of too many columns."""
    more = {f"c{n}": [n] for n in range(10_000)}
    path = deliver_rows(home, ROWS[:1])
    parquet.write_table(pa.table({**parquet.read_table(path).to_pydict(), **more}), path)


def add_csv_columns(home: Home) -> None:
    """Deliver a CSV file of too many columns."""
    names, cells = (",".join(f"{c}{n}" for n in range(10_000)) for c in ("c", ""))
    deliver_bytes(home, f"{HEADER},{names}\n{GOOD[0]},{cells}\n".encode())


REFUSALS: dict[str, tuple[Callable[[Home], object], str]] = {
    "an empty day": (lambda home: deliver(home, []), "the source has no rows for this day"),
    "a broken line": (
        lambda home: deliver(home, [*GOOD, "2013-01-01,8,a"]),
        r"line 10 of '.*f\.csv' is broken: Expected 5 columns, got 3",
    ),
    "a broken line in the second file": (
        lambda home: (deliver(home, GOOD), deliver(home, ["2013-01-01,8,a"], name="g.csv")),
        r"line 2 of '.*g\.csv' is broken",
    ),
    "another encoding": (
        lambda home: deliver_bytes(home, "\n".join([HEADER, *GOOD, ""]).encode("utf-16")),
        "has no header in UTF-8",
    ),
    "a name in Latin-1": (
        lambda home: deliver_bytes(
            home, "\n".join([HEADER, *GOOD, ""]).replace(",a,", ",é,").encode("latin-1")
        ),
        "invalid UTF8 data",
    ),
    "a formula": (
        lambda home: deliver(home, [*GOOD, GOOD[0].replace(",a,", ",=1+1,")]),
        r"column 'name' holds a formula: '=1\+1'",
    ),
    "a cut CSV": (
        lambda home: cut(deliver(home, [*GOOD, GOOD[0] + "0" * 200])),
        "may be cut: its last line has no end",
    ),
    "a cut Parquet": (lambda home: cut(deliver_rows(home, ROWS)), "is damaged or no Parquet file"),
    "a flipped bit": (lambda home: flip(deliver_rows(home, ROWS)), "damaged|checksum|CRC"),
    "a zone lost in the middle of a file": (break_zone, "column 'at': expected timestamp, found"),
    "a zone lost in the second file": (lose_zone, r"(?s)1 of another type.*at +timestamp +"),
    "whole numbers that became floats": (change_type, r"(?s)of another type.*id +int64 +double"),
    "10,000 columns more, Parquet": (add_columns, "10000 not declared"),
    "10,000 columns more, CSV": (add_csv_columns, "10000 not declared"),
    "no file": (lambda home: None, "there is no file"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_bad_day_is_refused_with_nothing_written_and_comes_in_once_it_is_mended(
    home: Home, registry: Registry, bring_in: Bring, what: str
) -> None:
    yesterday = date(2012, 12, 31)
    deliver(home, [line.replace("2013-01-01,", "2012-12-31,", 1) for line in GOOD], yesterday)
    first = bring_in(yesterday)
    spoil, message = REFUSALS[what]
    spoil(home)
    with pytest.raises((PartitionRefusedError, SourceError), match=message):
        bring_in()
    assert lake.open_table(lake.accepted_path(home.lake, "readings")).version() == 1
    assert list_quarantine(home, "readings") == []
    with registry.read() as session:
        assert [day.partition_digest for day in list_partitions(session, "readings")] == [
            first.partition_digest
        ]
    shutil.rmtree(home.root / str(DAY), ignore_errors=True)
    deliver(home, GOOD)
    assert (bring_in().accepted, kept(home)) == (8, ROWS)


@pytest.mark.parametrize("written", ["csv", "parquet"])
def test_thousands_of_declared_columns_come_in(
    home: Home, registry: Registry, written: str
) -> None:
    more = {f"c{n}": Column("int64", nullable=True) for n in range(WIDE)}
    suite = {"name": "wide", "expectations": READINGS.suite["expectations"]}
    wide = replace(READINGS, columns={**READINGS.columns, **more}, suite=suite)
    table = pa.Table.from_pylist(ROWS, READINGS.schema)
    cells = pa.table({name: [n] * 8 for n, name in enumerate(more)})
    for field in cells.schema:
        table = table.append_column(field, cells[field.name])
    path = home.root / str(DAY) / f"f.{written}"
    path.parent.mkdir()
    if written == "csv":
        lines = [f"{line},{','.join(map(str, range(WIDE)))}" for line in GOOD]
        path.write_text("\n".join([",".join([HEADER, *more]), *lines, ""]))
    else:
        parquet.write_table(table, path)
    source = open_source(wide, home.root)
    done = ingest_day(wide, source, Validator(wide), DAY, registry, home.lake)
    assert (done.accepted, done.quarantined) == (8, 0)
    stored = lake.open_table(lake.accepted_path(home.lake, "readings"))
    rows = lake.read(
        stored, pa.schema([wide.schema.field(f"c{WIDE - 1}")]), lake.on_day("day", DAY)
    )
    assert rows[f"c{WIDE - 1}"].to_pylist() == [WIDE - 1] * 8
