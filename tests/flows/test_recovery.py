"""Crash recovery: kill -9 of everything there is, in the middle of everything that takes long.

The tests share one factory and run in the order in which they are written. The first ones kill;
what became of the work is compared in the end with a home in which nothing was disturbed.
"""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.recovery import MOST_STARTS, START, TAKEN_UP, Recovery
from flows.up_api import PrefectApi
from tasks.errors import SettingsError
from tasks.strays import list_tree
from tests.flows.conftest import (
    Demo,
    contents_of,
    copy_home,
    predictions_of,
    processes_of,
    query_table,
)
from tests.flows.factory import CHALLENGER, MODEL, PEOPLE
from tests.flows.listener import Listener
from tests.flows.test_up import END_LIMIT_S, RUN_LIMIT_S, Factory, start
from tests.support.commands import run_process
from tests.support.ports import next_port
from tests.support.waiting import wait_until

NIGHT = "2013-02-15"
RANGE = ("--start", NIGHT, "--end", "2013-02-28")
CURSED = "2013-03-01"  # a day whose scoring crashes each time
SINCE = f"flight_date >= date '{NIGHT}' and flight_date < date '2013-03-01'"
WORK_LIMIT_S = 120  # from a wish to a model at work: a worker's look and the start of a process
POOL = "elsewhere"  # of runs that are nowhere: facts on the server without a process


@dataclass
class Tour:
    """The factory that is disturbed, and what it should come to."""

    factory: Factory
    predictions: list[tuple[Any, ...]]
    settings: dict[str, str]

    @property
    def home(self) -> Path:
        """Its home."""
        return self.factory.home

    @property
    def commits(self) -> int:
        """How many commits the table of predictions has."""
        log = self.home / "lake" / "predictions" / MODEL / "_delta_log"
        return len(list(log.glob("*.json")))

    def launch(self, flow: str, parameters: dict[str, Any], **more: Any) -> str:
        """Ask for a run of a deployment; return its id."""
        deployment = self.factory.ask(f"/deployments/name/{flow}/{flow}")["id"]
        wish = {"parameters": parameters, **more}
        return str(self.factory.ask(f"/deployments/{deployment}/create_flow_run", wish)["id"])

    def backfill(self, first: str, last: str) -> str:
        """Ask for a backfill."""
        days = {"start": f"2013-02-{first}", "end": f"2013-02-{last}"}
        return self.launch("backfill", {"model": MODEL, "using": "champion", **days})

    def wait_for_work(self, run: str, has_begun: Callable[[], bool] = lambda: True) -> int:
        """Wait until a child of the run holds the model; return the flow's own process."""

        def at_work() -> bool:
            models = {
                p for p, command in processes_of(self.home).items() if "/harness.py" in command
            }
            found = processes_with(run)
            return bool(found and models & set(list_tree(min(found), 200)) and has_begun())

        assert wait_until(at_work, WORK_LIMIT_S), self.tell(run)
        return min(processes_with(run))

    def last(self, run: str) -> Any:
        """Return the run, or what took it up at last."""
        found = self.factory.ask(f"/flow_runs/{run}")
        later = followers_of(PrefectApi(self.factory.api), run)
        return self.last(later[0]["id"]) if later else found

    def wait_for(self, run: str, *states: str) -> Any:
        """Wait until the work is in one of ``states``; return its last run."""

        def came() -> bool:
            try:
                return self.last(run)["state_type"] in states
            except SettingsError:  # the server is down at this moment
                return False

        came_in_time = wait_until(came, RUN_LIMIT_S)
        assert came_in_time, self.tell(run)
        return self.last(run)

    def tell(self, run: str) -> str:
        """Return what is known of a run that does not come to an end."""
        api, last = PrefectApi(self.factory.api), self.last(run)
        logs = {"flow_run_id": {"any_": [last["id"]]}}
        lines = [log["message"] for log in api.post("/logs/filter", {"logs": logs})]
        return "\n".join([str(last["state"]), *lines, str(processes_of(self.home))])


def processes_with(run: str) -> list[int]:
    """Return the processes that a worker started for the run."""
    found, sign = [], f"PREFECT__FLOW_RUN_ID={run}\0".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if sign in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def followers_of(api: PrefectApi, run: str) -> list[Any]:
    """Return the runs that took a run up."""
    key = {"idempotency_key": {"any_": [f"{TAKEN_UP}-{run}"]}}
    return list(api.post("/flow_runs/filter", {"flow_runs": key}))


def kill(*pids: int) -> None:
    """Kill processes with -9."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    """Return a web hook that is told of failures."""
    with Listener() as running:
        yield running


@pytest.fixture(scope="module")
def tour(
    demo: Demo, listener: Listener, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tour]:
    """Return a factory with two weeks to score, and what an undisturbed run makes of them."""
    folder = tmp_path_factory.mktemp("tour")
    settings = {
        "PILOTLINE_NOTIFY": f"json://127.0.0.1:{listener.port}",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    factory = start(copy_home(demo.home, folder / "home"), next_port(shared), **settings)
    days = ("--start", NIGHT, "--end", CURSED)
    ingested = run_process(factory.home, "ingest", "flights", *days)
    assert ingested.status == 0, ingested.err
    words = ("--gate", "review", "--by", PEOPLE["review"], "--comment", "seen")
    approved = run_process(factory.home, "approve", MODEL, CHALLENGER, *words)
    assert approved.status == 0, approved.err
    calm = copy_home(factory.home, folder / "calm")
    fortnight = ("backfill", MODEL, *RANGE, "--using", "champion")
    scored = run_process(calm, *fortnight, settings={"PREFECT_API_URL": factory.api})
    assert scored.status == 0, scored.err
    yield Tour(factory, predictions_of(calm, SINCE), settings)
    factory.process.send_signal(signal.SIGTERM)
    factory.process.communicate(timeout=END_LIMIT_S)
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
    tour: Tour, killed: dict[str, str]
) -> None:
    ended = tour.wait_for(killed["score"], "COMPLETED", "FAILED")
    assert ended["state_type"] == "COMPLETED"
    assert f"{START}2" in ended["tags"]
    assert ended["parameters"] == {"model": MODEL, "day": NIGHT}


def test_a_release_that_is_killed_while_it_verifies_comes_to_its_next_gate(
    tour: Tour, killed: dict[str, str]
) -> None:
    waiting = tour.wait_for(killed["release"], "PAUSED", "COMPLETED", "FAILED")
    assert (waiting["state_name"], f"{START}2" in waiting["tags"]) == ("Suspended", True)
    assert waiting["state"]["state_details"]["pause_key"].startswith("go-live-1-")


def test_a_backfill_that_is_killed_with_its_worker_is_taken_up(tour: Tour) -> None:
    before = tour.commits
    run = tour.backfill("16", "23")
    flow = tour.wait_for_work(run, lambda: tour.commits >= before + 2)
    kill(*tour.factory.children("flows.up_worker"), flow)
    ended = tour.wait_for(run, "COMPLETED", "FAILED")
    assert (ended["state_type"], f"{START}2" in ended["tags"]) == ("COMPLETED", True)
    died = tour.factory.ask(f"/flow_runs/{run}")["state"]
    assert died["message"] == "Its process is gone from this machine and left no result."


def test_a_server_that_is_killed_while_a_flow_scores_costs_no_work(tour: Tour) -> None:
    run = tour.backfill("24", "25")
    tour.wait_for_work(run)
    kill(*tour.factory.children("flows.up_server"))
    assert tour.wait_for(run, "COMPLETED", "FAILED")["state_type"] == "COMPLETED"


def test_what_ran_when_the_machine_stopped_is_taken_up_after_its_start(tour: Tour) -> None:
    run = tour.backfill("26", "28")
    tour.wait_for_work(run)
    tour.factory.process.kill()
    while everything := processes_of(tour.home):
        kill(*everything)
    tour.factory.process.communicate()
    tour.factory.process = start(tour.home, tour.factory.port, **tour.settings).process
    ended = tour.wait_for(run, "COMPLETED", "FAILED")
    assert (ended["state_type"], f"{START}2" in ended["tags"]) == ("COMPLETED", True)


def test_the_predictions_are_those_of_an_undisturbed_run(tour: Tour) -> None:
    assert len(tour.predictions) > 10_000  # the source has 12,949 flights in these days
    assert predictions_of(tour.home, SINCE) == tour.predictions
    days = query_table(
        tour.home / "lake" / "predictions" / MODEL,
        f"select flight_date, count(distinct run_id) as n from t where {SINCE} group by 1",
    )
    assert [day["n"] for day in days] == [1] * 14
    assert contents_of(tour.home)["scratch"] == []


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

    assert wait_until(told, RUN_LIMIT_S)
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


@dataclass
class Elsewhere:
    """Runs of a pool on other machines, as a server knows them, and who looks after them."""

    api: PrefectApi
    deployment: str
    note: Path

    def recovery(self, grace_s: float = 3600) -> Recovery:
        """Return who looks after them."""
        return Recovery(self.api, POOL, self.note, grace_s=grace_s)

    def make(self, *states: str) -> str:
        """Return a run that went through ``states``."""
        path = f"/deployments/{self.deployment}/create_flow_run"
        run = str(self.api.post(path, {"parameters": {}})["id"])
        for state in states:
            self.set(run, state)
        return run

    def set(self, run: str, state: str) -> None:
        """Bring a run to a state."""
        answer = self.api.post(f"/flow_runs/{run}/set_state", {"state": {"type": state}})
        assert answer["status"] == "ACCEPT", answer

    def state_of(self, run: str) -> str:
        """Return the type of a run's state."""
        return str(self.api.get(f"/flow_runs/{run}")["state_type"])


@pytest.fixture
def elsewhere(tour: Tour, tmp_path: Path) -> Elsewhere:
    """Return a pool of its own on the factory's server, in which nothing runs yet."""
    api = PrefectApi(tour.factory.api)
    if api.get(f"/work_pools/{POOL}") is None:
        api.post("/work_pools/", {"name": POOL, "type": "process"})
    flow = api.post("/flows/", {"name": "far-away"})["id"]
    body = {"name": tmp_path.name, "flow_id": flow, "work_pool_name": POOL, "tags": ["pilotline"]}
    deployment = api.post("/deployments/", body)["id"]
    return Elsewhere(api, deployment, tmp_path / "runs-here.json")


def test_a_run_elsewhere_is_dead_when_its_heartbeats_end(elsewhere: Elsewhere) -> None:
    silent = elsewhere.make("PENDING", "RUNNING")
    beating = elsewhere.make("PENDING", "RUNNING")
    beat = {
        "occurred": (datetime.now(UTC) + timedelta(minutes=1)).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{beating}"},
        "id": "7b0a9d1e-6d0f-4b58-9a50-3d6c3b6ff0c5",
    }
    elsewhere.api.post("/events", [beat])
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    wanted = {"filter": {"id": {"id": [beat["id"]]}, "occurred": {"until": until}}}
    assert wait_until(lambda: elsewhere.api.post("/events/filter", wanted)["events"], END_LIMIT_S)
    recovery = elsewhere.recovery(grace_s=1)
    assert wait_until(lambda: recovery.look() and followers_of(elsewhere.api, silent), END_LIMIT_S)
    assert (elsewhere.state_of(silent), elsewhere.state_of(beating)) == ("CRASHED", "RUNNING")


def test_who_looks_for_the_first_time_waits_for_heartbeats(elsewhere: Elsewhere) -> None:
    run = elsewhere.make("PENDING", "RUNNING")
    assert elsewhere.recovery().look() == []
    assert elsewhere.state_of(run) == "RUNNING"


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CANCELLED", "PAUSED"])
def test_what_ended_waits_or_was_cancelled_is_left_alone(elsewhere: Elsewhere, state: str) -> None:
    run = elsewhere.make("PENDING", "RUNNING", state)
    elsewhere.note.write_text(json.dumps([run]), "utf-8")  # it was seen here, and is here no more
    recovery = elsewhere.recovery()
    assert recovery.look() + recovery.look() + recovery.look() == []
    assert elsewhere.state_of(run) == state


def test_a_run_that_died_while_it_was_cancelled_is_cancelled(elsewhere: Elsewhere) -> None:
    run = elsewhere.make("PENDING", "RUNNING", "CANCELLING")
    elsewhere.note.write_text(json.dumps([run]), "utf-8")
    recovery = elsewhere.recovery()
    assert recovery.look() == []
    (said,) = recovery.look()
    assert "is cancelled" in said
    assert elsewhere.state_of(run) == "CANCELLED"
    assert recovery.look() == []


def test_a_run_that_ends_between_two_looks_is_left_alone(elsewhere: Elsewhere) -> None:
    run = elsewhere.make("PENDING", "RUNNING")
    elsewhere.note.write_text(json.dumps([run]), "utf-8")
    recovery = elsewhere.recovery()
    assert recovery.look() == []
    elsewhere.set(run, "COMPLETED")
    assert recovery.look() + recovery.look() == []


def test_two_who_look_take_a_run_up_once(elsewhere: Elsewhere) -> None:
    run = elsewhere.make("PENDING", "CRASHED")
    both = [elsewhere.recovery(), elsewhere.recovery()]
    assert len(both[0].look()) == 1
    elsewhere.api.patch(f"/flow_runs/{run}", {"tags": ["pilotline"]})  # as if at the same moment
    assert len(both[1].look()) == 1
    assert len(followers_of(elsewhere.api, run)) == 1


def test_a_piece_of_work_is_started_a_limited_number_of_times(elsewhere: Elsewhere) -> None:
    run, recovery = elsewhere.make("PENDING", "CRASHED"), elsewhere.recovery()
    starts = 1
    while recovery.look() and (later := followers_of(elsewhere.api, run)):
        run, starts = later[0]["id"], starts + 1
        elsewhere.set(run, "PENDING")
        elsewhere.set(run, "CRASHED")
    assert starts == 4
    assert elsewhere.state_of(run) == "FAILED"


def test_a_server_that_does_not_answer_is_said_once(tmp_path: Path, shared: Path) -> None:
    api = PrefectApi(f"http://127.0.0.1:{next_port(shared)}/api")
    recovery = Recovery(api, POOL, tmp_path / "runs-here.json")
    (said,) = recovery.look()
    assert said.startswith(f"runs that died are not taken up: Prefect server '{api.url}'")
    assert recovery.look() == []
