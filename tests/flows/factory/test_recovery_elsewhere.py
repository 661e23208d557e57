"""Crash recovery of runs on other machines, as a server knows them: states and heartbeats."""

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pilotline.flows.factory.recovery import Recovery
from pilotline.flows.server.api import PrefectApi
from tests.support.flows.tour import followers_of
from tests.support.servers.ports import next_port
from tests.support.waiting import wait_until

HEARD_LIMIT_S = 30  # a server writes down events each 5 s


@dataclass
class Elsewhere:
    """Runs of a pool on other machines, as a server knows them, and who looks after them."""

    api: PrefectApi
    pool: str
    deployment: str
    note: Path

    def recovery(self, grace_s: float = 3600) -> Recovery:
        """Return who looks after them."""
        return Recovery(self.api, self.pool, self.note, grace_s=grace_s)

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
def elsewhere(server: str, tmp_path: Path) -> Elsewhere:
    """Return a pool of its own on a server, in which nothing runs yet."""
    api, pool = PrefectApi(server), f"elsewhere-{uuid.uuid4().hex[:8]}"
    api.post("/work_pools/", {"name": pool, "type": "process"})
    flow = api.post("/flows/", {"name": "far-away"})["id"]
    body = {"name": pool, "flow_id": flow, "work_pool_name": pool, "tags": ["pilotline"]}
    deployment = api.post("/deployments/", body)["id"]
    return Elsewhere(api, pool, deployment, tmp_path / "runs-here.json")


def test_a_run_elsewhere_is_dead_when_its_heartbeats_end(elsewhere: Elsewhere) -> None:
    silent = elsewhere.make("PENDING", "RUNNING")
    beating = elsewhere.make("PENDING", "RUNNING")
    beat = {
        "occurred": (datetime.now(UTC) + timedelta(minutes=1)).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{beating}"},
        "id": str(uuid.uuid4()),
    }
    elsewhere.api.post("/events", [beat])
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    wanted = {"filter": {"id": {"id": [beat["id"]]}, "occurred": {"until": until}}}
    assert wait_until(lambda: elsewhere.api.post("/events/filter", wanted)["events"], HEARD_LIMIT_S)
    recovery = elsewhere.recovery(grace_s=1)
    assert wait_until(
        lambda: recovery.look() and followers_of(elsewhere.api, silent), HEARD_LIMIT_S
    )
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
    recovery = Recovery(api, "elsewhere", tmp_path / "runs-here.json")
    (said,) = recovery.look()
    assert said.startswith(f"runs that died are not taken up: Prefect server '{api.url}'")
    assert recovery.look() == []
