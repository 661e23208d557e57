"""Corrected rows leave the quarantine through the same checks, and no row is lost or doubled."""

import getpass
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from pilotline.registry import Registry
from pilotline.registry.audit.auditing import audit
from pilotline.registry.form.errors import ConflictError, UnknownPartitionError
from pilotline.registry.form.failpoints import NAMES, VARIABLE
from pilotline.registry.record.events import list_events
from pilotline.registry.runs.ingests import get_partition
from pilotline.registry.runs.releases import KIND
from pilotline.tasks.errors import CorrectionRefusedError, PartitionRefusedError
from pilotline.tasks.home import Home
from pilotline.tasks.ingest.commit import commit_days
from pilotline.tasks.ingest.corrections import Correction
from pilotline.tasks.ingest.days import KEPT, UNDONE, DayIngested, ingest_day
from pilotline.tasks.ingest.quarantine import list_quarantine
from pilotline.tasks.ingest.releases import as_they_are, release_rows
from pilotline.tasks.ingest.validation import Validator
from pilotline.tasks.lab.datasets import Dataset
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.sources.opening import open_source
from tests.support.places import ROOT

DAY = date(2013, 1, 1)
ROWS = 100  # of a day in the source
FAILPOINTS = [name for name in NAMES if name.startswith("ingest: ")]
BREAK_TWO = "update flights set distance = -1 where flight_date = '2013-01-01' and flight in (3, 4)"
# Releases row 2 of the day, corrected, in a process of its own.
PROCESS = """
import sys
from datetime import date
from pathlib import Path
from pilotline.tasks.ingest.corrections import read_corrections
from pilotline.tasks.lab.datasets import load_dataset
from pilotline.tasks.home import Home
from pilotline.tasks.ingest.releases import release_rows

root = Path(sys.argv[1])
url = f"sqlite:///{root / 'registry.db'}"
home = Home(root, root.parent / "lab", root / "blobs", root / "lake", url)
dataset = load_dataset(home.lab, "flights")
corrections = read_corrections(Path(sys.argv[2]), dataset, None)
release_rows(home, dataset, corrections, "operations")
"""


@pytest.fixture
def registry(fresh: Home) -> Iterator[Registry]:
    """Return the open registry of a home where nothing was ingested."""
    with fresh.open_registry() as opened:
        yield opened


@pytest.fixture
def bring_in(fresh: Home, flights: Dataset, validator: Validator, registry: Registry) -> Any:
    """Return a function that ingests the day."""

    def brought() -> DayIngested:
        source = open_source(flights, fresh.root)
        return ingest_day(flights, source, validator, DAY, registry, fresh.lake)

    return brought


def change(home: Home, sql: str) -> None:
    """Change the source."""
    with closing(sqlite3.connect(home.root / "online.db")) as database, database:
        database.execute(sql)


def corrected(home: Home, number: int, **changes: Any) -> Correction:
    """Return a quarantined row with changes."""
    (entry,) = [e for e in list_quarantine(home, "flights", DAY) if e["row_number"] == number]
    row = {**entry["row"], **changes}
    return Correction(DAY, number, {**row, "flight_date": date.fromisoformat(row["flight_date"])})


def accepted_flights(home: Home, dataset: Dataset) -> list[int]:
    """Return the flight numbers of the day's accepted rows."""
    table = lake.open_table(lake.accepted_path(home.lake, "flights"))
    rows = lake.read(table, dataset.schema, lake.on_day("flight_date", DAY))
    numbers: list[int] = sorted(rows["flight"].to_pylist())
    return numbers


def quarantined_flights(home: Home) -> list[int]:
    """Return the flight numbers of the day's quarantined rows."""
    return sorted(entry["row"]["flight"] for entry in list_quarantine(home, "flights", DAY))


def test_a_corrected_row_moves_and_the_others_stay(
    fresh: Home, flights: Dataset, registry: Registry, bring_in: Any
) -> None:
    change(fresh, BREAK_TWO)
    first = bring_in()
    done = release_rows(fresh, flights, [corrected(fresh, 2, distance=700)], getpass.getuser())
    assert [(row.row_number, row.released, row.reasons) for row in done.rows] == [(2, True, ())]
    assert accepted_flights(fresh, flights) == [n for n in range(1, ROWS + 1) if n != 4]
    assert quarantined_flights(fresh) == [4]
    with registry.read() as session:
        now = get_partition(session, "flights", DAY)
    assert (now.accepted, now.quarantined) == (99, 1)
    assert now.partition_digest == done.digests[DAY] != first.partition_digest


def test_the_commit_says_which_rows_were_released_and_by_whom(
    fresh: Home, flights: Dataset, bring_in: Any
) -> None:
    change(fresh, BREAK_TWO)
    bring_in()
    release_rows(fresh, flights, [corrected(fresh, 2, distance=700)], "operations")
    last = lake.open_table(lake.accepted_path(fresh.lake, "flights")).history()[0]
    assert json.loads(last["released"]) == {"2013-01-01": [2]}
    assert last["by"] == "operations"


def test_the_release_is_an_event_with_the_digests_before_and_after(
    fresh: Home, flights: Dataset, registry: Registry, bring_in: Any
) -> None:
    change(fresh, BREAK_TWO)
    first = bring_in()
    rows = [corrected(fresh, 2, distance=700), corrected(fresh, 3, distance=700, hour=25)]
    done = release_rows(fresh, flights, rows, "operations")
    with registry.read() as session:
        (event,) = list_events(session, None, KIND)
        now = get_partition(session, "flights", DAY)
    assert event.facts() == {
        "dataset": "flights",
        "date": "2013-01-01",
        "rows": 1,  # the other one did not pass
        "by": "operations",
        "before": first.partition_digest,
        "after": done.digests[DAY],
        "token": now.token,
    }
    assert audit(registry).events == 1


def test_what_does_not_pass_stays_as_it_was_with_what_was_wrong_with_the_correction(
    fresh: Home, flights: Dataset, bring_in: Any
) -> None:
    change(fresh, BREAK_TWO)
    bring_in()
    before = list_quarantine(fresh, "flights")
    rows = [corrected(fresh, 2, distance=700), corrected(fresh, 3, distance=700, hour=25)]
    done = release_rows(fresh, flights, rows, "operations")
    assert [(row.row_number, row.released, row.reasons) for row in done.rows] == [
        (2, True, ()),
        (3, False, ("An hour of the day.",)),
    ]
    assert done.stay == 1
    assert list_quarantine(fresh, "flights") == before[1:]


def test_nothing_is_committed_where_nothing_passes(
    fresh: Home, flights: Dataset, bring_in: Any
) -> None:
    change(fresh, BREAK_TWO)
    first = bring_in()
    done = release_rows(fresh, flights, as_they_are(fresh, flights, DAY, [2, 3]), "operations")
    assert (done.stay, done.digests) == (2, {})
    assert bring_in() == replace(first, changed=False)


def test_a_row_with_the_key_of_an_accepted_one_stays_and_the_accepted_one_too(
    fresh: Home, flights: Dataset, bring_in: Any
) -> None:
    change(fresh, BREAK_TWO)
    bring_in()
    table = lake.open_table(lake.accepted_path(fresh.lake, "flights"))
    (there,) = [
        row
        for row in lake.read(table, flights.schema, lake.on_day("flight_date", DAY)).to_pylist()
        if row["flight"] == 1
    ]
    same_key = {name: there[name] for name in ("carrier", "flight", "origin")}
    done = release_rows(fresh, flights, [corrected(fresh, 2, distance=7, **same_key)], "operations")
    assert [row.reasons for row in done.rows] == [
        ("One row a flight: another row has the same key.",)
    ]
    assert len(accepted_flights(fresh, flights)) == 98
    assert quarantined_flights(fresh) == [3, 4]


def test_of_two_rows_with_one_key_one_may_be_released(
    fresh: Home, flights: Dataset, bring_in: Any
) -> None:
    change(fresh, "insert into flights select * from flights where flight = 7 and hour >= 0")
    bring_in()
    first, second = [entry["row_number"] for entry in list_quarantine(fresh, "flights", DAY)]
    both = as_they_are(fresh, flights, DAY, [first, second])
    assert release_rows(fresh, flights, both, "operations").stay == 2
    assert release_rows(fresh, flights, both[:1], "operations").stay == 0
    assert quarantined_flights(fresh) == [7]
    assert accepted_flights(fresh, flights) == list(range(1, ROWS + 1))


def test_a_row_of_another_day_stays(fresh: Home, flights: Dataset, bring_in: Any) -> None:
    change(fresh, BREAK_TWO)
    bring_in()
    elsewhere = corrected(fresh, 2, distance=700, flight_date="2013-01-02")
    (row,) = release_rows(fresh, flights, [elsewhere], "operations").rows
    assert row.reasons == ("flight_date is another day than the partition's",)


def test_rows_are_released_as_they_are_once_the_rules_allow_them(
    fresh: Home, flights: Dataset, bring_in: Any
) -> None:
    change(fresh, "update flights set dest = 'YYY' where flight = 5")
    bring_in()
    text = json.dumps(flights.suite).replace('"XNA"', '"XNA", "YYY"')
    wider = replace(flights, suite=json.loads(text))
    rows = as_they_are(fresh, wider, DAY, [4])
    assert release_rows(fresh, wider, rows, "operations").stay == 0
    assert quarantined_flights(fresh) == []


def test_accepted_rows_that_would_not_pass_any_more_refuse_the_release(
    fresh: Home, flights: Dataset, bring_in: Any
) -> None:
    change(fresh, BREAK_TWO)
    bring_in()
    fewer = [*flights.suite["expectations"], between("hour", 23, 23)]
    stricter = replace(flights, suite={"name": "flights", "expectations": fewer})
    with pytest.raises(
        PartitionRefusedError,
        match=r"98 accepted rows do not pass the present checks themselves\. Ingest it again first",
    ):
        release_rows(fresh, stricter, [corrected(fresh, 2, distance=700, hour=23)], "operations")


def between(column: str, least: int, most: int) -> dict[str, Any]:
    settings = {"column": column, "min_value": least, "max_value": most}
    return {"type": "expect_column_values_to_be_between", "kwargs": settings}


def test_a_row_that_is_not_in_quarantine_is_refused(
    fresh: Home, flights: Dataset, bring_in: Any
) -> None:
    change(fresh, BREAK_TWO)
    bring_in()
    with pytest.raises(
        CorrectionRefusedError,
        match=r"^Corrections in row 50 of flights 2013-01-01: it is not in quarantine; there: 2, 3"
        r"\. See 'pilotline quarantine flights --date 2013-01-01'\.$",
    ):
        as_they_are(fresh, flights, DAY, [50])
    elsewhere = replace(corrected(fresh, 2), date=date(2013, 1, 2))
    with pytest.raises(UnknownPartitionError):
        release_rows(fresh, flights, [elsewhere], "operations")


def test_the_same_source_rows_keep_what_was_released(
    fresh: Home, flights: Dataset, bring_in: Any
) -> None:
    change(fresh, BREAK_TWO)
    bring_in()
    for number in (2, 3):  # the second rests on the first
        release_rows(fresh, flights, [corrected(fresh, number, distance=700)], "operations")
    again = bring_in()
    assert (again.changed, again.note, again.accepted) == (False, KEPT, ROWS)
    assert accepted_flights(fresh, flights) == list(range(1, ROWS + 1))


def test_other_source_rows_undo_what_was_released_and_say_so(
    fresh: Home, flights: Dataset, bring_in: Any
) -> None:
    change(fresh, BREAK_TWO)
    bring_in()
    release_rows(fresh, flights, [corrected(fresh, 2, distance=700)], "operations")
    change(fresh, "update flights set hour = 23 where flight = 50")
    again = bring_in()
    assert (again.changed, again.note, again.quarantined) == (True, UNDONE, 2)
    assert quarantined_flights(fresh) == [3, 4]
    assert len(accepted_flights(fresh, flights)) == 98


def test_a_day_that_was_ingested_meanwhile_is_not_released_into(
    fresh: Home,
    flights: Dataset,
    registry: Registry,
    bring_in: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change(fresh, BREAK_TWO)
    bring_in()
    row = corrected(fresh, 2, distance=700)

    def late(*arguments: Any) -> Any:
        change(fresh, "update flights set hour = 23 where flight = 50")
        bring_in()
        return commit_days(*arguments)

    monkeypatch.setattr("pilotline.tasks.ingest.releases.commit_days", late)
    with pytest.raises(ConflictError, match=r"^flights 2013-01-01 changed meanwhile"):
        release_rows(fresh, flights, [row], "operations")
    assert quarantined_flights(fresh) == [3, 4]
    assert len(accepted_flights(fresh, flights)) == 98


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_a_kill_at_any_moment_and_the_release_again_equal_no_kill(
    fresh: Home, flights: Dataset, registry: Registry, bring_in: Any, failpoint: str
) -> None:
    change(fresh, BREAK_TWO)
    bring_in()
    entries = list_quarantine(fresh, "flights", DAY)
    entries[0]["row"]["distance"] = 700
    path = fresh.root / "rows.json"
    path.write_text(json.dumps(entries[:1]))
    command = [sys.executable, "-c", PROCESS, str(fresh.root), str(path)]
    killed = subprocess.run(command, env=os.environ | {VARIABLE: failpoint}, cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    recorded = failpoint == "ingest: recorded"
    # What counts is one of the two, whole: before it, or after it.
    assert quarantined_flights(fresh) == ([4] if recorded else [3, 4])
    again = subprocess.run(command, cwd=ROOT, check=False, capture_output=True)
    assert again.returncode == (1 if recorded else 0)  # the row is not in quarantine any more
    assert quarantined_flights(fresh) == [4]
    assert accepted_flights(fresh, flights) == [n for n in range(1, ROWS + 1) if n != 4]
    with registry.read() as session:
        now = get_partition(session, "flights", DAY)
        events = list_events(session, None, KIND)
    assert (now.accepted, now.quarantined) == (99, 1)
    assert [event.facts()["after"] for event in events] == [now.partition_digest]
    assert bring_in().note == KEPT
