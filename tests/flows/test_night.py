"""Nights: what is owed is scored once each, oldest first; what has no data yet waits."""

import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pilotline.tasks.home import find_home
from pilotline.tasks.schedule.standing import list_scheduled
from tests.flows.conftest import copy_home, query_sqlite
from tests.support.commands import run_flow, run_here, run_process, run_python
from tests.support.flows.factory import MODEL, RUN, Owing, move_flights
from tests.support.places import ROOT

RUN_LIMIT_S = 60


@dataclass(frozen=True)
class Nights:
    """A home that owes some nights, the last one of which had no data at first."""

    owing: Owing
    missing: str  # the day

    @property
    def home(self) -> Path:
        """Where it is."""
        return self.owing.home


@dataclass(frozen=True)
class Ended:
    """How a run of the flow ended, what was owed before and after, and what scored by then."""

    state: Any  # its type, its name and its message
    owed: tuple[list[date], ...]
    runs: list[tuple[str, str, str]]


@pytest.fixture(scope="module")
def nights(owing: Owing, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """Return a home that owes some nights; the last day's flights are not known yet."""
    home = copy_home(owing.home, tmp_path_factory.mktemp("night") / "home")
    here = Owing(home, owing.since)
    missing = here.days()[-1].isoformat()
    move_flights(home, missing, "later")
    return Nights(here, missing)


def run_night(nights: Nights, server: str, lab: Path = ROOT / "lab") -> Ended:
    """Run the flow as a worker does."""

    def run() -> Any:
        words = ("-c", RUN.format("night"), MODEL)
        settings = {"PREFECT_API_URL": server, "PILOTLINE_LAB": str(lab)}
        done = run_python(nights.home, *words, settings=settings, limit_s=RUN_LIMIT_S)
        assert done.status == 0, done.err
        return done.json

    state, owed = nights.owing.around(run)
    return Ended(state, tuple(owed), runs_of(nights.home))


def runs_of(home: Path) -> list[tuple[str, str, str]]:
    """Return what scored by night: day, state and moment, in the order it began."""
    return query_sqlite(
        home / "registry.db",
        "select r.date, o.state, r.started_at from run r join run_outcome o on o.run_id = r.id "
        "where r.trigger = 'night' order by r.started_at",
    )


@pytest.fixture(scope="module")
def failed(nights: Nights, server: str) -> Ended:
    """Return how the first run ended: without the database that flights come from."""
    database = nights.home / "online.db"
    gone = database.rename(nights.home / "gone.db")
    try:
        return run_night(nights, server)
    finally:
        gone.rename(database)


@pytest.fixture(scope="module")
def waited(nights: Nights, failed: Ended, server: str) -> Ended:
    """Return how the next run ended: without the last day's flights."""
    return run_night(nights, server)


@pytest.fixture(scope="module")
def done(
    nights: Nights, waited: Ended, server: str, tmp_path_factory: pytest.TempPathFactory
) -> Ended:
    """Return how the run after that ended: all data is there, and the lab is empty by then."""
    move_flights(nights.home, "later", nights.missing)
    words = ("ingest", "flights", "--date", nights.missing)
    ran = run_flow(nights.home, *words, settings={"PREFECT_API_URL": server})
    assert ran.status == 0, ran.err
    return run_night(nights, server, tmp_path_factory.mktemp("lab"))


def test_a_night_that_cannot_be_done_fails_with_the_reason_and_the_command(failed: Ended) -> None:
    kind, _, message = failed.state
    said = [
        f"Try: pilotline backfill {MODEL} --start {days[0]} --end {days[-1]} --using champion"
        for days in failed.owed
    ]
    assert kind == "FAILED"
    first = failed.owed[0][0]
    assert message.startswith(f"{first}: Source of dataset 'flights': the database file")
    assert message[message.index("Try: ") :] in said
    assert failed.runs == []


def test_what_is_owed_is_scored_oldest_first_and_the_last_day_waits_for_its_data(
    nights: Nights, waited: Ended
) -> None:
    kind, name, message = waited.state
    assert (kind, name) == ("COMPLETED", "waiting for data")
    assert message.endswith(f"not ingested yet: {nights.missing}")
    there = [[str(day) for day in days if str(day) != nights.missing] for days in waited.owed]
    assert all(there)
    assert [day for day, _, _ in waited.runs] in there


def test_a_day_that_somebody_ingests_is_scored_though_the_lab_is_empty_by_then(
    nights: Nights, waited: Ended, done: Ended
) -> None:
    before = {day for day, _, _ in waited.runs}
    left = [[str(day) for day in days if str(day) not in before] for days in done.owed]
    assert nights.missing in left[0]
    said = [", ".join(f"{day} succeeded" for day in days) for days in left]
    assert done.state in [["COMPLETED", "Completed", one] for one in said]
    assert [day for day, _, _ in done.runs[len(waited.runs) :]] in left


def test_nothing_is_scored_twice(nights: Nights, done: Ended, server: str) -> None:
    again = run_night(nights, server)
    left = [days[len(done.runs) :] for days in again.owed]
    said = [", ".join(f"{day} succeeded" for day in days) or "no night was open" for days in left]
    assert again.state in [["COMPLETED", "Completed", one] for one in said]
    assert [[str(day) for day in days] for days in again.owed if len(days) == len(again.runs)]
    assert len({day for day, _, _ in again.runs}) == len(again.runs)


def test_each_delivery_is_judged_against_its_deadline(nights: Nights, done: Ended) -> None:
    # 06:00 on the morning after, so nights of two and more days ago are late by more than a day.
    rows = query_sqlite(
        nights.home / "registry.db",
        "select start, value from metric where name = 'delivery_margin_s' order by start",
    )
    scored = sorted(day for day, _, _ in runs_of(nights.home))
    assert [day for day, _ in rows] == scored
    assert rows[0][1] < -24 * 3600
    ran, owed = nights.owing.around(lambda: run_here(nights.home, "status", "--json"))
    (model,) = ran.json["models"]
    assert model["owed"] in [days[-1].isoformat() for days in owed]
    assert model["last"] == scored[-1]
    assert model["delivered_at"] is not None


@pytest.mark.parametrize(
    ("setting", "spoiled", "said"),
    [
        ('score = "0 2 * * *"', 'score = "each night"', "score 'each night' is no cron schedule"),
        ('"America/New_York"', '"America/Atlantis"', "timezone 'America/Atlantis' does not exist"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused_before_anything_is_trained(
    record: Path, tmp_path: Path, setting: str, spoiled: str, said: str
) -> None:
    lab = Path(shutil.copytree(ROOT / "lab", tmp_path / "lab"))
    config = lab / "models" / MODEL / "model.toml"
    text = config.read_text("utf-8")
    assert setting in text
    config.write_text(text.replace(setting, spoiled), "utf-8")
    ran = run_process(record, "train", MODEL, settings={"PILOTLINE_LAB": str(lab)})
    assert ran.status == 1
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_a_champion_that_cannot_be_read_is_not_scheduled_and_said(record: Path) -> None:
    home = find_home({"PILOTLINE_HOME": str(record), "PILOTLINE_LAB": str(ROOT / "lab")}, ROOT)
    said: list[str] = []
    with home.open_registry() as registry:
        (found,) = list_scheduled(registry, {}, said.append)
        assert (found.model, said) == (MODEL, [])
        (blob,) = (path for path in (record / "blobs").rglob(found.version.digest))
        blob.unlink()
        assert list_scheduled(registry, {}, said.append) == []
    assert said[0].startswith(f"{MODEL} 1.0.0 is not scheduled: ")
