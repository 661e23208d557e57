"""Log lines as text and as JSON: each says which model, version, date and run it is about."""

import io
import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from pilotline.flows.screen.logs import (
    JsonLines,
    said_in,
    way_of,
    write_json_line,
    write_text_line,
)
from pilotline.flows.server.api import PrefectApi
from pilotline.flows.server.choice import FOR_PREFECT
from pilotline.tasks.errors import SettingsError
from pilotline.tasks.logs import about
from tests.flows.conftest import Run, query_sqlite
from tests.support.commands import run_process
from tests.support.flows.approvals import Desk, OwnServer
from tests.support.flows.factory import CHALLENGER, MODEL
from tests.support.places import ROOT

NAMES = ("model", "version", "date", "run")
DAY = "2013-02-01"
LINES = {"PILOTLINE_LOG": "json", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO"}


def make_record(text: str, level: int = logging.INFO, error: bool = False) -> logging.LogRecord:
    """Return a record, with the error at hand where that is wanted."""
    told = sys.exc_info() if error else None
    return logging.LogRecord("pilotline", level, "", 0, text, None, told)


def facts_in(lines: list[Any]) -> list[tuple[str | None, ...]]:
    """Return what each line is about."""
    return [tuple(line[name] for name in NAMES) for line in lines]


def read_lines(text: str) -> list[Any]:
    """Return lines of JSON, of which there is nothing else."""
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_of_json_says_all_four_and_null_for_what_is_not_known() -> None:
    with about(model=MODEL, date=DAY):
        line = json.loads(write_json_line(make_record("scored")))
    assert {name: line[name] for name in NAMES} == {
        "model": MODEL,
        "version": None,
        "date": DAY,
        "run": None,
    }
    assert (line["level"], line["logger"], line["message"]) == ("INFO", "pilotline", "scored")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])


def test_a_line_of_text_says_all_four_and_a_dash_for_what_is_not_known() -> None:
    with about(model=MODEL, run="20130201-0a"):
        line = write_text_line(make_record("scored"))
    said = f"| INFO    | pilotline | model={MODEL} version=- date=- run=20130201-0a | scored"
    assert line.endswith(said)


def test_a_heading_for_the_screen_is_information() -> None:
    assert json.loads(write_json_line(make_record("1. Data", logging.INFO + 5)))["level"] == "INFO"


def test_what_comes_from_outside_can_neither_end_a_line_nor_move_a_terminal() -> None:
    text = "a\n2026-11-21 | ERROR | forged\x1b[2J"
    assert json.loads(write_json_line(make_record(text)))["message"] == text
    assert "\n" not in write_json_line(make_record(text))
    first, second = write_text_line(make_record(text)).split("\n")
    assert second == "    2026-11-21 | ERROR | forged\\x1b[2J"
    assert first.endswith("| a")


def test_an_error_is_in_its_line() -> None:
    try:
        raise ValueError("no such day")
    except ValueError:
        record = make_record("failed", logging.ERROR, error=True)
    assert json.loads(write_json_line(record))["error"].endswith("ValueError: no such day")
    assert write_text_line(record).endswith("\n    ValueError: no such day")


def test_what_others_print_becomes_json_too_and_json_passes() -> None:
    kept = io.BytesIO()
    out = JsonLines(io.TextIOWrapper(kept, "utf-8"))
    ours = write_json_line(make_record("ours"))
    print("Worker 'x' ", end="", file=out)
    print("started!", ours, "", '{"time": broken', sep="\n", file=out)
    out.flush()
    lines = read_lines(kept.getvalue().decode())
    said = [(line["logger"], line["message"]) for line in lines]
    assert said == [
        ("output", "Worker 'x' started!"),
        ("pilotline", "ours"),
        ("output", '{"time": broken'),
    ]


def test_what_a_line_says_is_read_from_json_of_ours_alone() -> None:
    assert said_in(write_json_line(make_record("no \u2502 such flow"))) == "no \u2502 such flow"
    for other in ("no such flow", '{"time": broken', '{"message": "theirs"}'):
        assert said_in(other) == other


@pytest.mark.parametrize("way", ["", "text", "json"])
def test_the_setting_names_a_way_to_log(way: str) -> None:
    assert way_of({"PILOTLINE_LOG": way}) == way
    assert way_of({}) == ""


def test_another_way_is_refused_with_those_there_are() -> None:
    with pytest.raises(SettingsError) as refused:
        way_of({"PILOTLINE_LOG": "yaml"})
    assert str(refused.value) == (
        "PILOTLINE_LOG: 'yaml' is no way to log; expected text or json. Correct or unset it."
    )


def test_a_command_refuses_another_way(record: Path) -> None:
    ran = run_process(record, "models", settings={"PILOTLINE_LOG": "JSON"})
    assert (ran.status, "'JSON' is no way to log" in ran.err) == (1, True)


def test_the_container_file_sets_what_lets_prefect_write_our_lines() -> None:
    text = (ROOT / "deployments" / "Containerfile").read_text("utf-8")
    for name, value in FOR_PREFECT.items():
        assert f"{name}={value}" in text


def test_an_error_of_a_command_is_a_line_about_what_was_asked_for(record: Path) -> None:
    words = ("score", "nope", "--date", DAY)
    ran = run_process(record, *words, settings={"PILOTLINE_LOG": "json"})
    (*_, last) = read_lines(ran.err)
    assert (ran.status, last["level"], facts_in([last])) == (
        1,
        "ERROR",
        [("nope", None, DAY, None)],
    )
    assert "'nope'" in last["message"]


def test_a_scored_day_is_told_with_its_run_by_the_command_and_on_its_page(
    home: Path, server: str, pilotline: Run
) -> None:
    words = ("score", MODEL, "--date", "2013-01-10", "--json")
    ran = pilotline(*words, **LINES)
    assert ran.status == 0, ran.err
    ((run,),) = query_sqlite(
        home / "registry.db", "select visible_run from scored_partition where date = '2013-01-10'"
    )
    whole = (MODEL, "1.0.0", "2013-01-10", run)
    lines = read_lines(ran.err)
    told = [line for line in lines if "2013-01-10 succeeded" in line["message"]]
    assert facts_in(told) == [whole]
    assert {line[0] for line in facts_in(lines)} == {MODEL}
    assert {line[2] for line in facts_in(lines)} == {"2013-01-10"}
    last = [line for line in lines if line["logger"] == "prefect.flow_runs"][-1]
    assert (facts_in([last]), last["message"]) == ([whole], "Finished in state Completed()")
    page = PrefectApi(server).post(
        "/logs/filter", {"logs": {"flow_run_id": {"any_": [last["flow_run"]]}}}
    )
    known = f"model={MODEL} version=1.0.0 date=2013-01-10 run={run} | "
    assert [line["message"] for line in page if line["name"] == "pilotline"] == [
        f"{known}{told[0]['message']}"
    ]
    about = re.compile(rf"model={MODEL} version=\S+ date=2013-01-10 run=\S+ \| ")
    assert all(about.match(line["message"]) for line in page)


def test_a_run_of_a_deployment_says_what_it_is_about(record: Path, own_server: OwnServer) -> None:
    desk = Desk(record, own_server, more=LINES | FOR_PREFECT)
    run = desk.start()
    lines = read_lines(desk.printed[-1])
    begun = [line for line in lines if line["message"].startswith("Beginning flow run")]
    assert facts_in(begun) == [(MODEL, CHALLENGER, None, None)]
    assert {line["flow_run"] for line in begun} == {run}
    asked = {"logs": {"flow_run_id": {"any_": [run]}}}
    page = [line["message"] for line in desk.api.post("/logs/filter", asked)]
    assert page
    assert all(re.match(r"model=\S+ version=\S+ date=- run=- \| ", line) for line in page)
    known = f"model={MODEL} version={CHALLENGER} date=- run=- | "
    assert any(line.startswith(f"{known}Beginning flow run") for line in page)
