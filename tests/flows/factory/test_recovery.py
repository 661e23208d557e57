"""Crash recovery: kill -9 of flows in the middle of what takes long, and what is made of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotline.flows.factory.recovery import MOST_STARTS, START
from pilotline.flows.server.api import PrefectApi
from tests.flows.conftest import Fortnight, copy_home, predictions_of
from tests.support.commands import run_here
from tests.support.flows.factory import CHALLENGER, MODEL, PEOPLE
from tests.support.flows.listener import Listener
from tests.support.flows.running import RUN_LIMIT_S
from tests.support.flows.tour import WORK_LIMIT_S, Tour, followers_of, kill, touring
from tests.support.servers.ports import next_port
from tests.support.waiting import wait_until

NIGHT = "2013-02-15"
CURSED = "2013-03-01"  # a day whose scoring crashes each time


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    """Return a web hook that is told of failures."""
    with Listener() as running:
        yield running


@pytest.fixture(scope="module")
def tour(
    fortnight: Fortnight,
    listener: Listener,
    shared: Path,
    prefect_tables: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Tour]:
    """Return a factory with nights to score, and a version that somebody approved at review."""
    folder = tmp_path_factory.mktemp("tour")
    home = copy_home(fortnight.unscored, folder / "home")
    words = ("--gate", "review", "--by", PEOPLE["review"], "--comment", "seen")
    approved = run_here(home, "approve", MODEL, CHALLENGER, *words)
    assert approved.status == 0, approved.err
    settings = {"PILOTLINE_NOTIFY": f"json://127.0.0.1:{listener.port}"}
    with touring(home, next_port(shared), prefect_tables, settings) as tour:
        yield tour
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def killed(tour: Tour) -> dict[str, str]:
    """Return two runs, each killed while its model was at work: a night, and a verification."""
    runs = {
        "score": tour.launch("score", {"model": MODEL, "day": NIGHT}),
        "release": tour.launch("release", {"model": MODEL, "version": CHALLENGER}),
    }
    for run in runs.values():
        kill(tour.wait_for_work(run))
    return runs


def test_a_flow_that_is_killed_while_it_scores_is_taken_up(
    tour: Tour, killed: dict[str, str], fortnight: Fortnight
) -> None:
    ended = tour.wait_for(killed["score"], "COMPLETED", "FAILED")
    assert ended["state_type"] == "COMPLETED"
    assert f"{START}2" in ended["tags"]
    assert ended["parameters"] == {"model": MODEL, "day": NIGHT}
    scored = predictions_of(tour.home, f"flight_date = date '{NIGHT}'")
    assert scored == fortnight.of(NIGHT, NIGHT)


def test_a_release_that_is_killed_while_it_verifies_comes_to_its_next_gate(
    tour: Tour, killed: dict[str, str]
) -> None:
    waiting = tour.wait_for(killed["release"], "PAUSED", "COMPLETED", "FAILED")
    assert (waiting["state_name"], f"{START}2" in waiting["tags"]) == ("Suspended", True)
    assert waiting["state"]["state_details"]["pause_key"].startswith("go-live-1-")


def test_a_run_that_crashes_each_time_is_given_up_and_somebody_is_told(
    tour: Tour, listener: Listener
) -> None:
    run = tour.launch(
        "score",
        {"model": MODEL, "day": CURSED},
        tags=[f"{START}{MOST_STARTS}"],
        job_variables={"env": {"PILOTLINE_FAILPOINT": "score: claimed"}},
    )
    reason = tour.wait_for(run, "FAILED")["state"]["message"]
    assert reason.startswith(f"Given up: it crashed {MOST_STARTS} times. The last time: ")

    def told() -> list[str]:
        title = f"pilotline: score-{MODEL}-{CURSED} failed"
        return [heard["message"] for heard in listener.heard if heard["title"] == title]

    assert wait_until(told, RUN_LIMIT_S), listener.heard
    assert told() == [f"{reason}\nTry: pilotline score {MODEL} --date {CURSED}"]


def test_what_finished_or_waits_is_not_started_again(tour: Tour, killed: dict[str, str]) -> None:
    api = PrefectApi(tour.factory.api)
    calm = {"state": {"type": {"any_": ["COMPLETED", "FAILED", "PAUSED"]}}}
    runs = api.list_all("/flow_runs/filter", {"flow_runs": calm, "sort": "START_TIME_ASC"})
    assert [run["name"] for run in runs if followers_of(api, run["id"])] == []
    assert tour.last(killed["release"])["state_name"] == "Suspended"


def test_a_work_pool_that_somebody_deletes_comes_back_with_its_deployments(tour: Tour) -> None:
    api = PrefectApi(tour.factory.api)
    ours = {"deployments": {"tags": {"all_": ["pilotline"]}}}
    before = {(d["name"], d["work_pool_name"]) for d in api.post("/deployments/filter", ours)}
    assert (MODEL, "pilotline") in before
    api.delete("/work_pools/pilotline")

    def found() -> set[tuple[str, str]]:
        deployments = api.post("/deployments/filter", ours)
        return {(d["name"], d["work_pool_name"]) for d in deployments}

    assert found() != before
    assert wait_until(lambda: found() == before, WORK_LIMIT_S), found()
