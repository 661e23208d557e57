"""The one-box factory: a real server and a real worker, asked and used."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilotline.flows.server.api import PrefectApi
from tests.flows.conftest import copy_home, query_sqlite
from tests.support.commands import run_here, run_process
from tests.support.flows.factory import MODEL, Owing
from tests.support.flows.listener import Listener
from tests.support.flows.running import ENDS, Factory, running, wait_for, wait_to_hear
from tests.support.servers.ports import next_port

OFTEN_S = 10  # so soon a start comes; a later one finds nothing to do


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    """Return a web hook that is told of failures."""
    with Listener() as running:
        yield running


@pytest.fixture(scope="module")
def factory(
    owing: Owing,
    listener: Listener,
    shared: Path,
    prefect_tables: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Factory]:
    """Return a running factory whose model owes some nights."""
    home = copy_home(owing.home, tmp_path_factory.mktemp("up") / "home")
    settings = {"PILOTLINE_NOTIFY": f"json://127.0.0.1:{listener.port}"}
    with running(home, next_port(shared), settings, tables=prefect_tables) as factory:
        yield factory


@pytest.fixture(scope="module")
def scored(factory: Factory, owing: Owing) -> list[str]:
    """Return the days that were scored when a start of the schedule had come."""
    deployment = factory.ask(f"/deployments/name/night/{MODEL}")["id"]
    schedules = f"/deployments/{deployment}/schedules"
    often = [{"schedule": {"interval": OFTEN_S}, "active": True}]

    def starts(*states: str) -> Any:
        asked = {
            "deployments": {"id": {"any_": [deployment]}},
            "flow_runs": {"state": {"type": {"any_": [*states]}}},
            "sort": "START_TIME_ASC",
        }
        return factory.ask("/flow_runs/filter", asked)

    def start_and_end() -> Any:
        (made,) = factory.ask(schedules, often)
        wait_for(lambda: starts("PENDING", "RUNNING", *ENDS))
        PrefectApi(factory.api).delete(f"{schedules}/{made['id']}")  # with its starts to come
        return wait_for(lambda: starts(*ENDS))[0]

    first, owed = owing.around(start_and_end)
    assert first["auto_scheduled"]
    said = {
        ", ".join(f"{day} succeeded" for day in days): [day.isoformat() for day in days]
        for days in owed
    }
    return said[first["state"]["message"]]


def test_each_champion_with_a_schedule_is_scheduled_by_its_own_model_toml(factory: Factory) -> None:
    found = factory.ask(f"/deployments/name/night/{MODEL}")
    own = [one["schedule"] for one in found["schedules"] if "cron" in one["schedule"]]
    assert [(one["cron"], one["timezone"]) for one in own] == [("0 2 * * *", "America/New_York")]
    assert found["parameters"] == {"model": MODEL}
    assert found["global_concurrency_limit"]["limit"] == 1
    assert found["concurrency_options"]["collision_strategy"] == "ENQUEUE"


def test_every_flow_is_deployed(factory: Factory) -> None:
    names = {d["name"] for d in factory.ask("/deployments/filter", {})} - {MODEL}
    assert names == {
        *("alert", "backfill", "ingest", "monitor", "night", "release"),
        *("replay", "retrain", "score", "train", "verify", "wake"),
    }


def test_a_second_one_says_that_one_is_running(factory: Factory, shared: Path) -> None:
    assert factory.process is not None
    ran = run_process(factory.home, "up", "--port", str(next_port(shared)))
    assert ran.status == 1
    assert f"process {factory.process.pid}" in ran.err
    assert "a factory runs here since" in ran.err


def test_a_port_that_is_taken_is_said(factory: Factory, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_bytes((factory.home / "policy.toml").read_bytes())
    ran = run_process(tmp_path, "up", "--port", str(factory.port))
    assert ran.status == 1
    assert f"Port {factory.port}: cannot be used (another Prefect server" in ran.err


def test_commands_use_its_server(factory: Factory) -> None:
    ran = run_process(factory.home, "ingest", "arrivals", "--date", "2013-02-20")
    assert (ran.status, "temporary" in ran.err) == (0, False), ran.err
    ingests = {"flow_runs": {"name": {"any_": ["ingest-arrivals-2013-02-20-2013-02-20"]}}}
    assert factory.ask("/flow_runs/count", ingests) == 1


def test_a_scheduled_run_is_inserted_and_scores_every_night_that_is_owed(
    factory: Factory, scored: list[str]
) -> None:
    found = query_sqlite(
        factory.home / "registry.db",
        "select date from run where trigger = 'night' order by started_at",
    )
    assert [day for (day,) in found] == scored


def test_a_run_that_fails_tells_somebody_why_and_what_to_try(
    factory: Factory, listener: Listener
) -> None:
    factory.begin("score", model=MODEL, day="2012-12-31")
    told = wait_to_hear(listener, f"pilotline: score-{MODEL}-2012-12-31 failed")
    assert "Dataset 'flights' has no partition 2012-12-31" in told
    assert told.endswith(f"Try: pilotline score {MODEL} --date 2012-12-31")


def test_a_night_that_is_delivered_late_tells_somebody(
    scored: list[str], listener: Listener
) -> None:
    told = wait_to_hear(listener, "pilotline: a night was late")
    said = [f"{MODEL} {day} was delivered after its time. Try: pilotline status" for day in scored]
    assert told in said


def test_its_state_is_shown(factory: Factory, scored: list[str]) -> None:
    found = run_here(factory.home, "status", "--json").json
    assert [w["status"] for w in found["server"]["workers"]].count("ONLINE") >= 1
    assert (found["server"]["problem"], found["server"]["schedules"]) == ("", 1)
    assert found["models"][0]["last"] == scored[-1]
