"""Late and corrected rows through the command: quarantine, release, new days, stale predictions."""

import json
import sqlite3
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.flows.conftest import Demo, Run, copy_home
from tests.support.commands import run_flow, run_here, run_process
from tests.support.waiting import wait_until

# The demo breaks rows of these days and scores the second.
BROKEN = "2013-01-04"
SCORED = "2013-02-10"


def change(home: Path, sql: str) -> None:
    """Change the source."""
    with closing(sqlite3.connect(home / "online.db")) as database, database:
        database.execute(sql)


def shown(home: Path, day: str) -> Any:
    """Return what the command shows of a day's quarantine."""
    return run_here(home, "quarantine", "flights", "--date", day, "--json").json


def test_what_the_command_prints_can_be_corrected_and_released(
    home: Path, pilotline: Run, tmp_path: Path
) -> None:
    rows = shown(home, BROKEN)
    (wrong,) = [row for row in rows if row["row"]["distance"] < 0]
    wrong["row"]["distance"] = 700
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([wrong]))
    # A process: great_expectations, which checks the rows, leaves a thread and a level.
    released = run_process(home, "quarantine", "flights", "--release", str(path), "--json")
    assert (released.status, released.json["rows"][0]["released"]) == (0, True)
    left = [row["row_number"] for row in shown(home, BROKEN)]
    assert left == [row["row_number"] for row in rows if row is not wrong]
    again = pilotline("ingest", "flights", "--date", BROKEN)
    assert "unchanged" in again.out
    assert f"{BROKEN}: rows released from quarantine are kept" in again.err
    events = [json.loads(line) for line in run_here(home, "audit", "export").out.splitlines()]
    (release,) = [json.loads(e["body"]) for e in events if e["kind"] == "rows released"]
    assert (release["dataset"], release["date"], release["rows"]) == ("flights", BROKEN, 1)
    assert run_here(home, "audit", "verify").status == 0


def test_a_row_that_does_not_pass_is_status_1_and_says_why(home: Path) -> None:
    (number, *_) = (row["row_number"] for row in shown(home, BROKEN))
    words = ("quarantine", "flights", "--date", BROKEN, "--release-row", str(number))
    ran = run_process(home, *words)
    assert ran.status == 1
    assert "stays" in ran.out


def test_new_days_go_on_where_the_last_ingest_ended(
    demo: Demo, tmp_path: Path, server: str
) -> None:
    home = copy_home(demo.home, tmp_path / "home")  # in this file's own later days are ingested
    words = ("ingest", "flights", "--new", "--end", "2013-07-23", "--json")

    def days() -> list[str]:
        ran = run_flow(home, *words, settings={"PREFECT_API_URL": server})
        return [day["date"] for day in ran.json]

    assert days() == ["2013-07-22", "2013-07-23"]
    assert days() == []


def test_a_day_that_is_refused_whole_has_a_page_that_says_why(home: Path, pilotline: Run) -> None:
    change(home, "update flights set distance = -1 where flight_date = '2013-12-24'")
    ran = pilotline("ingest", "flights", "--date", "2013-12-24")
    page = home / "data-docs" / "flights" / "2013-12-24-refused.html"
    assert ran.status == 1
    assert "rows are broken (100.0%, at most 5.0%)" in ran.err
    assert f"Data Docs: {page}" in "".join(ran.err.splitlines())
    assert "<h1>flights 2013-12-24: refused</h1>" in page.read_text("utf-8")


def test_the_days_before_a_refused_one_are_in_and_announced(
    home: Path, pilotline: Run, server: str
) -> None:
    change(home, "update flights set distance = -1 where flight_date = '2013-12-02'")
    ran = pilotline("ingest", "flights", "--start", "2013-11-30", "--end", "2013-12-02")
    assert ran.status == 1
    assert "2013-12-02" in ran.err
    wanted = {"filter": {"event": {"name": ["pilotline.partition.ingested"]}}, "limit": 50}

    def announced() -> set[str]:
        asked = urllib.request.Request(
            f"{server}/events/filter",
            json.dumps(wanted).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked) as answer:
            return {event["payload"]["date"] for event in json.load(answer)["events"]}

    assert wait_until(lambda: {"2013-11-30", "2013-12-01"} <= announced(), 30)
    assert "2013-12-02" not in announced()


def test_a_backfill_offers_exactly_the_days_whose_rows_changed(home: Path, pilotline: Run) -> None:
    words = ("backfill", "flight-delay", "--start", "2013-02-08", "--end", "2013-02-14")
    plan = (*words, "--using", "champion", "--plan", "--json")
    assert {day["state"] for day in run_here(home, *plan).json} == {"done"}
    change(home, f"update flights set minute = 1 where flight_date = '{SCORED}' and minute = 0")
    assert (
        pilotline("ingest", "flights", "--start", "2013-02-08", "--end", "2013-02-14").status == 0
    )
    planned = {day["date"]: day["state"] for day in run_here(home, *plan).json}
    assert [day for day, state in planned.items() if state != "done"] == [SCORED]
    assert planned[SCORED] == "stale"


def test_garbage_collection_tells_of_the_lake_too(home: Path) -> None:
    assert run_here(home, "gc", "--plan", "--json").json["lake"] == []
