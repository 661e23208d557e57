"""A home whose champion owes nights: of these days' flights, since some days ago."""

import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from tasks.example_shift import shift_flights
from tests.flows.conftest import copy_home
from tests.support.commands import ROOT, environment_of, run_process

MODEL = "flight-delay"
CHALLENGER = "1.0.1"  # what the demo leaves waiting at review
ZONE = ZoneInfo("America/New_York")  # of the example's schedule
PEOPLE = {"review": "reviewer@example.org", "go-live": "operations@example.org"}
# In a process of its own, as a worker runs it.
RUN = """
import json, sys
from flows.{0} import {0}
state = {0}(*sys.argv[1:], return_state=True)
json.dump([state.type.value, state.name, state.message], sys.stdout)
"""
PYTHON = sys.executable


def make_owing(demo_home: Path, target: Path, server: str, days: int = 3) -> Path:
    """Copy the demo's home and promote its challenger as of some days ago."""
    home = copy_home(demo_home, target)
    policy = home / "policy.toml"
    text = policy.read_text("utf-8")
    policy.write_text(text.replace("[isolation]", "backdating = true\n\n[isolation]"), "utf-8")
    shift_flights(home / "online.db", datetime.now(ZONE).date())
    named = {"PREFECT_API_URL": server}
    since = datetime.now(UTC) - timedelta(days=days)
    for gate, person in PEOPLE.items():
        words = ("--gate", gate, "--by", person, "--comment", "seen")
        ran = run_process(home, "approve", MODEL, CHALLENGER, *words)
        assert ran.status == 0, ran.err
        moment = ("--effective-from", since.isoformat(timespec="seconds"))
        ran = run_process(home, "release", MODEL, CHALLENGER, *moment, settings=named)
        assert ran.status == 0, ran.err
    return home


def owed_days(days: int = 3) -> list[date]:
    """Return what the example owes since so many days ago: each day before a night at two."""
    since, at = datetime.now(ZONE) - timedelta(days=days), datetime.now(ZONE)
    nights = [since.date() + timedelta(days=n) for n in range(days + 2)]
    due = [datetime(night.year, night.month, night.day, 2, tzinfo=ZONE) for night in nights]
    return [moment.date() - timedelta(days=1) for moment in due if since < moment <= at]


def worker_environment(home: Path, server: str) -> dict[str, str]:
    """Return the environment in which a worker runs flows of ``home``."""
    names = {"PREFECT_API_URL": server, "PREFECT_HOME": str(home / "prefect")}
    return environment_of(home, names) | {"PYTHONPATH": str(ROOT)}
