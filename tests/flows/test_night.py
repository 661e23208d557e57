"""Nights: what is owed is scored once each, oldest first; what has no data yet waits.

The tests share one home and run in the order in which they are written.
"""

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasks.home import find_home
from tasks.standing import list_scheduled
from tests.flows.conftest import Demo, query_sqlite
from tests.flows.factory import (
    MODEL,
    PYTHON,
    RUN,
    make_owing,
    owed_days,
    worker_environment,
)
from tests.support.commands import ROOT, run_process


@pytest.fixture(scope="module")
def home(demo: Demo, server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home that owes some nights; the last day's flights are not known yet."""
    home = make_owing(demo.home, tmp_path_factory.mktemp("night") / "home", server)
    move_flights(home, owed_days()[-1].isoformat(), "later")
    return home


def move_flights(home: Path, day: str, to: str) -> None:
    """Give a day's flights another date, which takes them out of the source, or brings them in."""
    with closing(sqlite3.connect(home / "online.db")) as database:
        database.execute("update flights set flight_date = ? where flight_date = ?", (to, day))
        database.commit()


def run_night(home: Path, server: str, lab: Path = ROOT / "lab") -> Any:
    """Run the flow as a worker does; return type, name and message of the state it ends in."""
    done = subprocess.run(
        [PYTHON, "-c", RUN.format("night"), MODEL],
        env=worker_environment(home, server) | {"PILOTLINE_LAB": str(lab)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def runs_of(home: Path) -> list[tuple[str, str, str]]:
    """Return what scored by night: day, state and moment, in the order it began."""
    return query_sqlite(
        home / "registry.db",
        "select r.date, o.state, r.started_at from run r join run_outcome o on o.run_id = r.id "
        "where r.trigger = 'night' order by r.started_at",
    )


def test_a_night_that_cannot_be_done_fails_with_the_reason_and_the_command(
    home: Path, server: str
) -> None:
    (home / "online.db").rename(home / "gone.db")
    kind, _, message = run_night(home, server)
    (home / "gone.db").rename(home / "online.db")
    first, last = owed_days()[0], owed_days()[-1]
    assert kind == "FAILED"
    assert message.startswith(f"{first}: Source of dataset 'flights': the database file")
    said = f"Try: pilotline backfill {MODEL} --start {first} --end {last} --using champion"
    assert message.endswith(said)
    assert runs_of(home) == []


def test_what_is_owed_is_scored_oldest_first_and_the_last_day_waits_for_its_data(
    home: Path, server: str
) -> None:
    *there, missing = (day.isoformat() for day in owed_days())
    kind, name, message = run_night(home, server)
    assert (kind, name) == ("COMPLETED", "waiting for data")
    assert message.endswith(f"not ingested yet: {missing}")
    assert [day for day, _, _ in runs_of(home)] == there


def test_a_day_that_somebody_ingests_is_scored_though_the_lab_is_empty_by_then(
    home: Path, server: str, tmp_path: Path
) -> None:
    last = owed_days()[-1].isoformat()
    move_flights(home, "later", last)
    named = {"PREFECT_API_URL": server}
    assert run_process(home, "ingest", "flights", "--date", last, settings=named).status == 0
    before = len(runs_of(home))
    found = run_night(home, server, tmp_path)
    assert found == ["COMPLETED", "Completed", f"{last} succeeded"]
    assert [day for day, _, _ in runs_of(home)[before:]] == [last]


def test_nothing_is_scored_twice(home: Path, server: str) -> None:
    before = len(runs_of(home))
    assert run_night(home, server) == ["COMPLETED", "Completed", "no night was open"]
    assert len(runs_of(home)) == before


def test_each_delivery_is_judged_against_its_deadline(home: Path) -> None:
    # 06:00 on the morning after, so nights of two and more days ago are late by more than a day.
    rows = query_sqlite(
        home / "registry.db",
        "select start, value from metric where name = 'delivery_margin_s' order by start",
    )
    assert [day for day, _ in rows] == [day.isoformat() for day in owed_days()]
    assert rows[0][1] < -24 * 3600
    ran = run_process(home, "status", "--json")
    (model,) = ran.json["models"]
    assert model["last"] == model["owed"] == owed_days()[-1].isoformat()
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
