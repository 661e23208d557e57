"""Crash recovery of long work: kill -9 of its worker, of the server, of everything there is.

What became of the work is compared with a home in which nothing was disturbed.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilotline.flows.factory.recovery import START
from tests.flows.conftest import Fortnight, contents_of, copy_home, predictions_of, query_table
from tests.support.commands import processes_of
from tests.support.flows.factory import MODEL
from tests.support.flows.tour import Tour, kill, touring
from tests.support.servers.ports import next_port

SINCE = "flight_date >= date '2013-02-15' and flight_date < date '2013-03-01'"


@pytest.fixture(scope="module")
def tour(
    fortnight: Fortnight,
    shared: Path,
    prefect_tables: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Tour]:
    """Return a factory with two weeks to score."""
    folder = tmp_path_factory.mktemp("tour")
    with touring(
        copy_home(fortnight.unscored, folder / "home"), next_port(shared), prefect_tables
    ) as tour:
        yield tour
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def without_worker(tour: Tour) -> tuple[str, Any]:
    """Return a backfill that was killed together with its worker, and how its work ended."""
    before = tour.commits
    run = tour.backfill("15", "23")
    flow = tour.wait_for_work(run, lambda: tour.commits >= before + 2)
    kill(*tour.factory.children("pilotline.flows.server.worker"), flow)
    return run, tour.wait_for(run, "COMPLETED", "FAILED")


@pytest.fixture(scope="module")
def without_server(tour: Tour) -> Any:
    """Return how the work of a backfill ended whose server was killed."""
    run = tour.backfill("24", "25")
    tour.wait_for_work(run)
    kill(*tour.factory.children("pilotline.flows.server.serving"))
    return tour.wait_for(run, "COMPLETED", "FAILED")


@pytest.fixture(scope="module")
def without_machine(tour: Tour) -> Any:
    """Return how the work of a backfill ended that ran when everything was killed."""
    run = tour.backfill("26", "28")
    tour.wait_for_work(run)
    tour.factory.kill()
    while everything := processes_of(tour.home):
        kill(*everything)
    tour.factory.start()
    return tour.wait_for(run, "COMPLETED", "FAILED")


def test_a_backfill_that_is_killed_with_its_worker_is_taken_up(
    tour: Tour, without_worker: tuple[str, Any]
) -> None:
    run, ended = without_worker
    assert (ended["state_type"], f"{START}2" in ended["tags"]) == ("COMPLETED", True)
    died = tour.factory.ask(f"/flow_runs/{run}")["state"]
    assert died["message"] == "Its process is gone from this machine and left no result."


def test_a_server_that_is_killed_while_a_flow_scores_costs_no_work(without_server: Any) -> None:
    assert without_server["state_type"] == "COMPLETED"


def test_what_ran_when_the_machine_stopped_is_taken_up_after_its_start(
    without_machine: Any,
) -> None:
    ended = without_machine
    assert (ended["state_type"], f"{START}2" in ended["tags"]) == ("COMPLETED", True)


@pytest.mark.usefixtures("without_worker", "without_server", "without_machine")
def test_the_predictions_are_those_of_an_undisturbed_run(tour: Tour, fortnight: Fortnight) -> None:
    assert len(fortnight.predictions) > 10_000  # the source has 12,949 flights in these days
    assert predictions_of(tour.home, SINCE) == fortnight.predictions
    days = query_table(
        tour.home / "lake" / "predictions" / MODEL,
        f"select flight_date, count(distinct run_id) as n from t where {SINCE} group by 1",
    )
    assert [day["n"] for day in days] == [1] * 14
    assert contents_of(tour.home)["scratch"] == []
