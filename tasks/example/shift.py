"""Give the example's online data repository flights of these days: those of 2013, weeks later.

Whole weeks, because weekdays matter to the model, and 52 of them for each year, so that no day is
left out; the seasons come 5 days earlier in 4 years. What is shifted stands beside 2013 and reaches
into the coming year: nobody asks for a day before it is over.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from pilotline.tasks.errors import SettingsError

FIRST, LAST = date(2013, 1, 1), date(2013, 12, 31)  # the days the seed has
YEAR = timedelta(weeks=52)
TABLES = {
    "flights": "carrier, flight, origin, dest, tailnum, hour, minute, distance, dep_delay",
    "arrivals": "carrier, flight, origin, arr_delay",
}


@dataclass(frozen=True)
class Shifted:
    """What the online data repository holds besides 2013."""

    first: date
    last: date
    weeks: int  # by how much the first of them were shifted


def shift_flights(path: Path, today: date) -> Shifted:
    """Add the flights of 2013, shifted to ``today`` and the year after it, unless they are there.

    Raises:
        SettingsError: the file was not seeded.
    """
    if not path.is_file():
        raise SettingsError(str(path), "the file is missing", "Run 'pilotline demo' first.")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("begin immediate")
        years = (today - FIRST).days // YEAR.days
        for year in (years, years + 1):
            _add_year(db, year * YEAR)
        first, last = db.execute(
            "select min(flight_date), max(flight_date) from flights where flight_date > ?",
            (LAST.isoformat(),),
        ).fetchone()
        db.execute("commit")
    return Shifted(date.fromisoformat(first), date.fromisoformat(last), years * YEAR.days // 7)


def _add_year(db: sqlite3.Connection, later: timedelta) -> None:
    """Add what 2013 holds so much ``later``, but for days that are there already."""
    for table, columns in TABLES.items():
        known = db.execute(f"select max(flight_date) from {table}").fetchone()[0]
        after = date.fromisoformat(known) - later
        db.execute(
            f"insert into {table} (flight_date, {columns}) "
            f"select date(flight_date, ?), {columns} from {table} "
            "where flight_date between ? and ?",
            (f"+{later.days} days", max(FIRST, after + timedelta(days=1)).isoformat(), str(LAST)),
        )
