"""The one-box factory: a real server, a real worker, and what happens when something dies.

The tests of this file share one factory and run in the order in which they are written.
"""

import json
import os
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.up_api import PrefectApi
from tests.flows.conftest import Demo, answers, processes_of, query_sqlite
from tests.flows.factory import MODEL, make_owing, owed_days
from tests.flows.listener import Listener
from tests.support.commands import run_process, start_process
from tests.support.ports import next_port
from tests.support.waiting import wait_until

READY_LIMIT_S = 180  # it takes 12 s on two idle cores
END_LIMIT_S = 60
RUN_LIMIT_S = 240  # Prefect looks for schedules each minute


@dataclass
class Factory:
    """A running ``pilotline up``."""

    home: Path
    port: int
    process: subprocess.Popen[str]

    @property
    def api(self) -> str:
        """Where its server is."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def facts(self) -> Any:
        """What it wrote down in the home, nothing while it does not run."""
        try:
            return json.loads((self.home / "prefect" / "up.json").read_text("utf-8"))
        except FileNotFoundError:
            return {}

    def ask(self, path: str, body: Any = None) -> Any:
        """Ask its server."""
        server = PrefectApi(self.api)
        return server.get(path) if body is None else server.post(path, body)

    def children(self, module: str) -> list[int]:
        """Return the processes of the home that run ``module``."""
        return [pid for pid, command in processes_of(self.home).items() if module in command]


def start(home: Path, port: int, **settings: str) -> Factory:
    """Start a factory and wait until it is ready."""
    process = start_process(home, "up", "--port", str(port), settings=settings)
    factory = Factory(home, port, process)

    def ready_or_ended() -> bool:
        facts = factory.facts  # perhaps of one that was killed
        own = facts.get("pid") == process.pid and facts["ready"]
        return own or process.poll() is not None

    ready = wait_until(ready_or_ended, READY_LIMIT_S)
    assert ready
    assert factory.process.poll() is None, factory.process.communicate()
    return factory


def wait_to_hear(listener: Listener, title: str) -> str:
    """Return the message with ``title`` once somebody was told it."""

    def heard() -> list[str]:
        return [told["message"] for told in listener.heard if told["title"] == title]

    assert wait_until(heard, RUN_LIMIT_S)
    return heard()[0]


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    """Return a web hook that is told of failures."""
    with Listener() as running:
        yield running


@pytest.fixture(scope="module")
def factory(
    demo: Demo,
    server: str,
    listener: Listener,
    shared: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Factory]:
    """Return a running factory whose model owes some nights."""
    home = make_owing(demo.home, tmp_path_factory.mktemp("up") / "home", server)
    address = f"json://127.0.0.1:{listener.port}"
    factory = start(home, next_port(shared), PILOTLINE_NOTIFY=address)
    yield factory
    factory.process.send_signal(signal.SIGTERM)
    factory.process.communicate(timeout=END_LIMIT_S)


def test_each_champion_with_a_schedule_is_scheduled_by_its_own_model_toml(factory: Factory) -> None:
    found = factory.ask(f"/deployments/name/night/{MODEL}")
    (schedule,) = found["schedules"]
    assert schedule["schedule"]["cron"] == "0 2 * * *"
    assert schedule["schedule"]["timezone"] == "America/New_York"
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
    ingests = {"flows": {"name": {"any_": ["ingest"]}}}
    before = factory.ask("/flow_runs/count", ingests)
    ran = run_process(factory.home, "ingest", "arrivals", "--date", "2013-02-20")
    assert (ran.status, "temporary" in ran.err) == (0, False), ran.err
    assert factory.ask("/flow_runs/count", ingests) == before + 1


def test_a_scheduled_run_is_inserted_and_scores_every_night_that_is_owed(factory: Factory) -> None:
    deployment = factory.ask(f"/deployments/name/night/{MODEL}")["id"]
    soon = [{"schedule": {"cron": "* * * * *"}, "active": True}]
    factory.ask(f"/deployments/{deployment}/schedules", soon)

    def ended() -> list[Any]:
        runs = factory.ask(
            "/flow_runs/filter",
            {
                "deployments": {"id": {"any_": [deployment]}},
                "flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}},
                "sort": "START_TIME_ASC",
            },
        )
        return list(runs)

    assert wait_until(ended, RUN_LIMIT_S)
    first = ended()[0]
    assert first["auto_scheduled"]
    days = [day.isoformat() for day in owed_days()]
    assert first["state"]["message"] == ", ".join(f"{day} succeeded" for day in days)
    scored = query_sqlite(
        factory.home / "registry.db",
        "select date from run where trigger = 'night' order by started_at",
    )
    assert [day for (day,) in scored] == days


def test_a_run_that_fails_tells_somebody_why_and_what_to_try(
    factory: Factory, listener: Listener
) -> None:
    deployment = factory.ask("/deployments/name/score/score")["id"]
    wish = {"parameters": {"model": MODEL, "day": "2012-12-31"}}
    factory.ask(f"/deployments/{deployment}/create_flow_run", wish)
    told = wait_to_hear(listener, f"pilotline: score-{MODEL}-2012-12-31 failed")
    assert "Dataset 'flights' has no partition 2012-12-31" in told
    assert told.endswith(f"Try: pilotline score {MODEL} --date 2012-12-31")


def test_a_night_that_is_delivered_late_tells_somebody(
    factory: Factory, listener: Listener
) -> None:
    told = wait_to_hear(listener, "pilotline: a night was late")
    said = [
        f"{MODEL} {day} was delivered after its time. Try: pilotline status" for day in owed_days()
    ]
    assert told in said


def test_its_state_is_shown(factory: Factory) -> None:
    ran = run_process(factory.home, "status", "--json")
    found = ran.json
    assert [w["status"] for w in found["server"]["workers"]].count("ONLINE") >= 1
    assert (found["server"]["problem"], found["server"]["schedules"]) == ("", 1)
    assert found["models"][0]["last"] == owed_days()[-1].isoformat()


def test_a_worker_that_is_killed_is_started_again(factory: Factory) -> None:
    (worker,) = factory.children("flows.up_worker")
    os.kill(worker, signal.SIGKILL)
    assert wait_until(lambda: set(factory.children("flows.up_worker")) - {worker}, END_LIMIT_S)


def test_a_server_that_is_killed_is_started_again(factory: Factory) -> None:
    (server,) = factory.children("flows.up_server")
    os.kill(server, signal.SIGKILL)
    assert wait_until(lambda: set(factory.children("flows.up_server")) - {server}, END_LIMIT_S)
    assert wait_until(lambda: answers(factory.api), READY_LIMIT_S)


def test_nothing_outlives_one_that_is_killed(factory: Factory) -> None:
    factory.process.kill()
    factory.process.communicate(timeout=END_LIMIT_S)
    assert wait_until(lambda: not processes_of(factory.home), END_LIMIT_S)
    ran = run_process(factory.home, "status")
    assert "nothing runs in this home" in ran.out


def test_the_next_one_starts_and_keeps_one_of_the_starts_that_were_missed(factory: Factory) -> None:
    with closing(sqlite3.connect(factory.home / "prefect" / "prefect.db")) as database:
        query = "select id from flow_run where auto_scheduled and state_type = 'SCHEDULED' limit 3"
        missed = [run for (run,) in database.execute(query)]
        marks = ", ".join("?" * len(missed))
        database.execute(
            "update flow_run set expected_start_time = '2026-01-01 00:00:00.000000', "
            f"next_scheduled_start_time = '2026-01-01 00:00:00.000000' where id in ({marks})",
            missed,
        )
        database.commit()
    assert len(missed) == 3
    factory.process = start(factory.home, factory.port).process
    asked = {"flow_runs": {"id": {"any_": missed}}}
    assert factory.ask("/flow_runs/count", asked) == 1


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_every_process_and_leaves_the_port(
    factory: Factory, sign: signal.Signals
) -> None:
    factory.process.send_signal(sign)
    out, err = factory.process.communicate(timeout=END_LIMIT_S)
    assert (factory.process.returncode, out.endswith("Stopped.\n")) == (0, True), err
    assert processes_of(factory.home) == {}
    assert factory.facts == {}
    socket.create_server(("127.0.0.1", factory.port)).close()
    factory.process = start(factory.home, factory.port).process
