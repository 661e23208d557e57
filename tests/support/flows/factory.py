"""A home whose champion owes nights: of these days' flights, since some days ago."""

import json
import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

from pilotline.tasks.example.shift import shift_flights
from tests.support.commands import run_flow, run_here

MODEL = "flight-delay"
CHALLENGER = "1.0.1"  # what the demo leaves waiting at review
ZONE = ZoneInfo("America/New_York")  # of the example's schedule
NIGHT_AT = 2  # o'clock
PEOPLE = {"review": "reviewer@example.org", "go-live": "operations@example.org"}
SINCE = timedelta(days=3)
# In a process of its own, as a worker runs it.
RUN = """
import json, sys
from pilotline.flows.{0} import {0}
state = {0}(*sys.argv[1:], return_state=True)
json.dump([state.type.value, state.name, state.message], sys.stdout)
"""
PYTHON = sys.executable

T = TypeVar("T")


@dataclass(frozen=True)
class Owing:
    """A home, and since when its champion owes nights."""

    home: Path
    since: datetime

    def days(self) -> list[date]:
        """Return what it owes at this moment: each day before a night that was due since."""
        return owed_days(self.since, datetime.now(ZONE))

    def around(self, act: Callable[[], T]) -> tuple[T, Sequence[list[date]]]:
        """Do something; return what came of it, with what was owed before and after.

        The two differ where a night became due meanwhile, and it may have been done in either.
        """
        before = self.days()
        done = act()
        return done, (before, self.days())


def make_owing(folder: Path, home: Path, server: str) -> None:
    """Promote the challenger of a home as of some days ago; note in ``folder`` since when."""
    policy = home / "policy.toml"
    text = policy.read_text("utf-8")
    policy.write_text(text.replace("[isolation]", "backdating = true\n\n[isolation]"), "utf-8")
    at = datetime.now(UTC)
    shift_flights(home / "online.db", at.astimezone(ZONE).date())
    named, since = {"PREFECT_API_URL": server}, (at - SINCE).replace(microsecond=0)
    for gate, person in PEOPLE.items():
        words = ("--gate", gate, "--by", person, "--comment", "seen")
        ran = run_here(home, "approve", MODEL, CHALLENGER, *words)
        assert ran.status == 0, ran.err
        moment = ("--effective-from", since.isoformat())
        ran = run_flow(home, "release", MODEL, CHALLENGER, *moment, settings=named)
        assert ran.status == 0, ran.err
    (folder / "since").write_text(json.dumps(since.isoformat()), "utf-8")


def owed_days(since: datetime, at: datetime) -> list[date]:
    """Return what the example owes: each day before a night at two o'clock between the moments."""
    first = since.astimezone(ZONE).date()
    nights = [first + timedelta(days=n) for n in range((at - since).days + 3)]
    due = [datetime(day.year, day.month, day.day, NIGHT_AT, tzinfo=ZONE) for day in nights]
    return [moment.date() - timedelta(days=1) for moment in due if since < moment <= at]


def move_flights(home: Path, day: str, to: str) -> None:
    """Give a day's flights another date, which takes them out of the source, or brings them in."""
    with closing(sqlite3.connect(home / "online.db")) as database:
        database.execute("update flights set flight_date = ? where flight_date = ?", (to, day))
        database.commit()
