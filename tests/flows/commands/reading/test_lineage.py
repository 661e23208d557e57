"""Lineage and replay as people and programs meet them: trees, events, exit statuses."""

import json
import re
import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from deltalake import DeltaTable

from pilotline.flows.commands.reading.lineage_tree import say_days
from tests.flows.conftest import Demo, Run, contents_of, copy_home, query_sqlite
from tests.support.commands import run_here
from tests.support.places import ROOT

DAY = "2013-02-01"
KEY = "carrier=UA,flight=1018,origin=EWR"
MODEL = "flight-delay"


def run_of(home: Path, day: str = DAY) -> str:
    """Return the run that readers of production see on a day."""
    sql = "select visible_run from scored_partition where date = ? and variant = 'production'"
    ((run_id,),) = query_sqlite(home / "registry.db", sql, day)
    return str(run_id)


@pytest.mark.parametrize(
    ("days", "said"),
    [
        ([1], "2013-02-01"),
        ([1, 2], "2013-02-01 .. 2013-02-02, 2 days"),
        ([3, 1, 2, 2], "2013-02-01 .. 2013-02-03, 3 days"),
        ([1, 3, 4], "2013-02-01, 2013-02-03 .. 2013-02-04, 3 days"),
        (
            [1, 3, 5, 7, 9, 10, 12],
            "2013-02-01, 2013-02-03, 2013-02-05, 2013-02-07, and 3 more up to 2013-02-12, 7 days",
        ),
    ],
)
def test_neighbouring_days_are_said_as_ranges(days: list[int], said: str) -> None:
    assert say_days(date(2013, 2, day) for day in days) == said


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (
            (f"{MODEL}@1.0.0",),
            [
                "flight-delay 1.0.0",
                "learned from flights 2013-01-01 .. 2013-01-24, 24 days",
                "judged on arrivals 2013-01-25 .. 2013-01-31, 7 days",
                "author@example.org",
                "no parent",
                "descendant flight-delay 1.0.1",
                "predictions visible now, production",
            ],
        ),
        ((f"{MODEL}@1.0.1",), ["parent flight-delay 1.0.0", "no version descends", "no runs"]),
        ((MODEL,), ["flight-delay 1.0.0", "flight-delay 1.0.1"]),
        (
            (MODEL, "--date", DAY),
            ["version flight-delay 1.0.0", f"dataset flights {DAY}", "ingested", "visible now"],
        ),
        (
            (MODEL, "--date", DAY, "--key", KEY),
            ["prediction flight_date=2013-02-01, carrier=UA", "probability 0.", "ingested"],
        ),
        (
            ("flights", "--date", "2013-01-03"),
            ["flight-delay 1.0.0 learned from it", "no run scored it", "token"],
        ),
        (("dataset/flights", "--date", DAY), ["scored it, production by flight-delay 1.0.0"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_tree_for_people_and_events_for_programs(
    words: tuple[str, ...], needed: list[str], demo: Demo, read: Run
) -> None:
    before = contents_of(demo.home)
    shown, asked = read("lineage", *words), read("lineage", *words, "--json")
    assert (shown.status, asked.status) == (0, 0), shown.err + asked.err
    for text in needed:
        assert text in shown.out
    assert {"eventType", "eventTime", "run", "job"} <= set(asked.json[0])
    assert "server" not in shown.err + asked.err
    assert contents_of(demo.home) == before


def test_the_events_of_a_prediction_hold_its_key_and_value(demo: Demo, read: Run) -> None:
    asked = read("lineage", MODEL, "--date", DAY, "--key", KEY, "--json")
    traced = read("trace", MODEL, "--date", DAY, "--key", KEY, "--json").json
    (facet,) = [
        made["facets"]["pilotline_prediction"]
        for event in asked.json
        for made in event["outputs"]
        if "pilotline_prediction" in made["facets"]
    ]
    assert facet["key"] == traced["key"]
    assert facet["values"] == traced["prediction"]


def change_record(home: Path, sql: str, *values: object) -> None:
    """Change the registry behind its back, whatever guards it."""
    with closing(sqlite3.connect(home / "registry.db")) as database, database:
        triggers = "select name from sqlite_master where type = 'trigger'"
        for (name,) in database.execute(triggers).fetchall():
            database.execute(f'drop trigger "{name}"')
        database.execute(sql, values)


def test_names_from_outside_cannot_move_the_cursor_or_mark_up(demo: Demo, tmp_path: Path) -> None:
    home = copy_home(demo.home, tmp_path / "home")
    change_record(home, "update model_version set author = ?", "[red]me[/red]\x1b[2J\nno parent")
    shown = run_here(home, "lineage", MODEL)
    assert shown.status == 0
    assert "author [red]me[/red]\\x1b[2J\\nno parent, registered" in shown.out
    assert "\x1b" not in shown.out


def test_a_run_that_committed_nothing_is_shown_and_not_replayed(demo: Demo, tmp_path: Path) -> None:
    home, run_id = copy_home(demo.home, tmp_path / "home"), run_of(demo.home)
    ended = "state = 'failed', reason = 'out of memory', table_version = null"
    change_record(home, f"update run_outcome set {ended} where run_id = ?", run_id)
    change_record(home, "update scored_partition set visible_run = null where date = ?", DAY)
    refused = run_here(home, "replay", run_id)
    assert refused.status == 1
    assert "it committed no predictions: it ended failed (out of memory)" in refused.err
    shown = run_here(home, "lineage", run_id)
    assert "no predictions visible: it failed: out of memory" in shown.out


def test_a_replay_says_equal_and_then_names_what_was_changed(pilotline: Run, home: Path) -> None:
    run_id = run_of(home)
    before = contents_of(home)
    equal = pilotline("replay", run_id, "--json")
    assert (equal.status, equal.json["equal"]) == (0, True), equal.err
    figures = equal.json["figures"]
    ((rows,),) = query_sqlite(
        home / "registry.db", "select rows from run_outcome where run_id = ?", run_id
    )
    assert (figures["recorded"], figures["replayed"], figures["differing"]) == (rows, rows, 0)
    assert contents_of(home) == before

    path = home / "lake" / "predictions" / MODEL
    change_one(path)
    different = pilotline("replay", run_id)
    assert different.status == 1
    for needed in (
        *("NOT EQUAL", "flight_date=2013-02-01, carrier=UA, flight=1018, origin=EWR"),
        *("probability", "0.123456789", "what readers see now", "1 differing"),
    ):
        assert needed in different.out
    named = pilotline("replay", run_id, "--json").json["figures"]["first"]
    assert (named["column"], named["recorded"]) == ("probability", 0.123456789)


def change_one(path: Path) -> None:
    """Change one prediction behind pilotline's back."""
    where = (
        f"variant = 'production' and flight_date = '{DAY}' and carrier = 'UA' "
        "and flight = 1018 and origin = 'EWR'"
    )
    changed = DeltaTable(str(path)).update(predicate=where, updates={"probability": "0.123456789"})
    assert changed["num_updated_rows"] == 1


def test_the_reference_page_names_every_facet_that_is_written(demo: Demo, read: Run) -> None:
    page = (ROOT / "docs" / "reference" / "lineage.md").read_text("utf-8")
    words = ("lineage", MODEL, "--date", DAY, "--key", KEY, "--json")
    written = set(re.findall(r'"(pilotline_\w+)"', json.dumps(read(*words).json)))
    assert written
    for facet in written:
        assert f"`{facet}`" in page
