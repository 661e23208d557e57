"""Killed with -9 in the middle and run again: the same predictions, and nothing left behind."""

import os
import shutil
import signal
from pathlib import Path

from tests.flows.conftest import (
    Demo,
    Fortnight,
    contents_of,
    copy_home,
    predictions_of,
    query_sqlite,
    query_table,
)
from tests.support.commands import Ran, processes_of, run_flow, run_process, start_process
from tests.support.waiting import wait_until

MODEL = "flight-delay"
NIGHT = "2013-02-15"
DAYS = (NIGHT, "2013-02-21")
WEEK = ("--start", DAYS[0], "--end", DAYS[1])
SINCE = f"flight_date >= date '{NIGHT}' and flight_date < date '2013-03-01'"
START_LIMIT_S = 60
LOOK_S = 0.1  # a look at all processes takes a while
END_LIMIT_S = 20  # for what a killed command leaves; it takes 1 s on two idle cores


def backfill(home: Path, server: str) -> Ran:
    """Score the week."""
    words = ("backfill", MODEL, *WEEK, "--using", "champion")
    return run_process(home, *words, settings={"PREFECT_API_URL": server})


def child_of(home: Path) -> list[int]:
    """Return the processes that hold a model: their command lines end with the harness."""
    return [pid for pid, command in processes_of(home).items() if "/harness.py" in command]


def commits_of(home: Path) -> int:
    """Return how many commits the predictions table has."""
    return len(list((home / "lake" / "predictions" / MODEL / "_delta_log").glob("*.json")))


def test_killed_while_scoring_a_night_and_run_again(
    fortnight: Fortnight, tmp_path: Path, server: str
) -> None:
    home = copy_home(fortnight.unscored, tmp_path / "home")
    before = commits_of(home)
    words = ("score", MODEL, "--date", NIGHT)
    process = start_process(home, *words)
    assert wait_until(lambda: child_of(home), START_LIMIT_S, LOOK_S)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    gone = wait_until(lambda: not processes_of(home), END_LIMIT_S)
    assert gone, processes_of(home)
    assert commits_of(home) == before  # readers saw nothing of it

    again = run_flow(home, *words, "--json", settings={"PREFECT_API_URL": server})
    assert (again.status, again.json["state"]) == (0, "succeeded"), again.err
    night = fortnight.of(NIGHT, NIGHT)
    assert len(night) == 954  # as many as the source has; none is broken
    assert predictions_of(home, SINCE) == night
    ended = query_sqlite(
        home / "registry.db",
        "select state from run_outcome join run on run_id = run.id where date = ? order by epoch",
        NIGHT,
    )
    assert ended == [("crashed",), ("succeeded",)]
    assert contents_of(home)["scratch"] == []
    shutil.rmtree(home)


def test_killed_while_backfilling_and_run_again(
    fortnight: Fortnight, tmp_path: Path, server: str
) -> None:
    home, undisturbed = copy_home(fortnight.unscored, tmp_path / "home"), fortnight.of(*DAYS)
    before = commits_of(home)
    settings = {"PREFECT_API_URL": server}
    words = ("backfill", MODEL, *WEEK, "--using", "champion")
    process = start_process(home, *words, settings=settings)
    assert wait_until(lambda: commits_of(home) >= before + 2, START_LIMIT_S)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert wait_until(lambda: not processes_of(home), END_LIMIT_S), processes_of(home)

    days = {row[0] for row in predictions_of(home, SINCE)}
    assert len(days) >= 2
    whole = [row for row in undisturbed if row[0] in days]
    assert predictions_of(home, SINCE) == whole  # days are there whole or not at all
    again = backfill(home, server)
    assert again.status == 0, again.err
    assert predictions_of(home, SINCE) == undisturbed
    runs = query_table(
        home / "lake" / "predictions" / MODEL,
        f"select flight_date, count(distinct run_id) as n from t where {SINCE} group by 1",
    )
    assert [row["n"] for row in runs] == [1] * 7
    shutil.rmtree(home)


def test_killed_while_ingesting_and_run_again(demo: Demo, tmp_path: Path, server: str) -> None:
    home = copy_home(demo.home, tmp_path / "home")
    settings = {"PREFECT_API_URL": server}
    words = ("ingest", "flights", "--start", NIGHT, "--end", "2013-02-17")
    log = home / "lake" / "datasets" / "flights" / "accepted" / "_delta_log"
    before = len(list(log.glob("*.json")))
    process = start_process(home, *words, settings=settings)
    assert wait_until(lambda: len(list(log.glob("*.json"))) > before, START_LIMIT_S)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    again = run_flow(home, *words, "--json", settings=settings)
    assert again.status == 0, again.err
    source = query_sqlite(
        home / "online.db",
        "select flight_date, count(*) from flights "
        f"where flight_date between '{NIGHT}' and '2013-02-17' group by 1 order by 1",
    )
    kept = query_table(
        home / "lake" / "datasets" / "flights" / "accepted",
        f"select flight_date, count(*) as n from t where {SINCE} group by 1 order by 1",
    )
    assert [(row["flight_date"], row["n"]) for row in kept] == source  # no broken rows here
    shutil.rmtree(home)
