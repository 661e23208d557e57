"""``pilotline status`` where nothing runs: it says so, and still tells what the registry knows."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pilotline.flows.factory.deploy import ensure_pool
from pilotline.flows.server.api import PrefectApi
from tests.support.commands import run_here

MODEL = "flight-delay"


@pytest.fixture(scope="module")
def server(own_server: str) -> str:
    """Return a server of this file's own: it counts the runs there are."""
    return own_server


def test_without_a_server_it_says_so_and_shows_the_nights(record: Path) -> None:
    ran = run_here(record, "status")
    assert ran.status == 1
    said = "No Prefect server: nothing runs in this home. 'pilotline up' starts it."
    assert ran.out.startswith(said)
    assert f"{MODEL}" in ran.out
    assert "0 2 * * * America/New_York" in ran.out


def test_what_waits_for_a_decision_is_listed(record: Path) -> None:
    waiting = run_here(record, "status", "--json").json["approvals"]
    assert waiting == [{"model": MODEL, "version": "1.0.1", "gate": "review"}]


def test_go_live_waits_for_nobody_before_the_version_is_verified(record: Path) -> None:
    by = ("--gate", "review", "--by", "reviewer@example.org", "--comment", "read it")
    assert run_here(record, "approve", MODEL, "1.0.1", *by).status == 0
    (waiting,) = run_here(record, "status", "--json").json["approvals"]
    assert waiting["gate"] == "go-live, once it is verified"


def test_a_server_that_is_down_is_said(record: Path) -> None:
    ran = run_here(record, "status", settings={"PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert ran.status == 1
    assert "Prefect server 'http://127.0.0.1:9/api': does not answer" in ran.out


def test_a_server_without_the_work_pool_is_said(record: Path, server: str) -> None:
    settings = {"PREFECT_API_URL": server, "PILOTLINE_POOL": "nowhere"}
    ran = run_here(record, "status", settings=settings)
    assert f"Prefect server '{server}': has no work pool 'nowhere'" in ran.out


def test_a_run_that_nobody_starts_is_counted_as_late(record: Path, server: str) -> None:
    api = PrefectApi(server)
    ensure_pool(api, "pilotline")
    settings = {"PREFECT_API_URL": server}
    before = run_here(record, "status", "--json", settings=settings).json["server"]["late"]
    due = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    state = {"type": "SCHEDULED", "name": "Late", "state_details": {"scheduled_time": due}}
    flow = api.post("/flows/", {"name": "late"})["id"]
    run = api.post("/flow_runs/", {"flow_id": flow, "tags": ["pilotline"], "state": state})["id"]
    after = run_here(record, "status", "--json", settings=settings).json["server"]["late"]
    api.delete(f"/flow_runs/{run}")
    assert after == before + 1


def test_backfills_that_run_or_are_paused_are_named(record: Path, server: str) -> None:
    api = PrefectApi(server)
    ensure_pool(api, "pilotline")
    settings = {"PREFECT_API_URL": server}
    flow = api.post("/flows/", {"name": "backfill"})["id"]
    days = {"start": "2013-01-01", "end": "2013-12-31", "using": "champion"}
    kinds = {"RUNNING": "Running", "PAUSED": "Suspended", "COMPLETED": "Completed"}
    runs = [
        api.post(
            "/flow_runs/",
            {
                "flow_id": flow,
                "parameters": {"model": name, **days},
                "state": {"type": kind, "name": kinds[kind]},
            },
        )["id"]
        for name, kind in (("one", "RUNNING"), ("two", "PAUSED"), ("three", "COMPLETED"))
    ]
    printed = run_here(record, "status", settings=settings).out
    found = run_here(record, "status", "--json", settings=settings).json["server"]
    for run in runs:
        api.delete(f"/flow_runs/{run}")
    said = "1 running, 1 paused: one 2013-01-01 to 2013-12-31, two 2013-01-01 to 2013-12-31"
    (line,) = [line for line in printed.splitlines() if line.startswith("backfills")]
    assert line.split(maxsplit=1)[1].strip() == said
    assert {(one["run"], one["state"]) for one in found["backfills"]} == {
        (runs[0], "running"),
        (runs[1], "paused"),
    }
    assert "backfills" not in run_here(record, "status", settings=settings).out


def test_a_lock_that_a_killed_factory_left_is_recognised(record: Path) -> None:
    (record / "prefect").mkdir(exist_ok=True)
    (record / "prefect" / "up.lock").touch()
    facts = '{"pid": 1, "api_url": "http://127.0.0.1:9/api", "since": "", "ready": true}'
    (record / "prefect" / "up.json").write_text(facts, "utf-8")
    assert run_here(record, "status", "--json").json["server"]["up"] is None
