"""A backfill as a run of a deployment: its page, paused and resumed, cancelled, interrupted.

Each run is executed in a process of its own, as a worker does it.
"""

import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.up_api import PrefectApi
from tests.flows.conftest import (
    Demo,
    contents_of,
    copy_home,
    predictions_of,
    query_sqlite,
    query_table,
)
from tests.flows.factory import MODEL, PYTHON
from tests.support.commands import ROOT, environment_of, run_process, start_process
from tests.support.waiting import wait_until

START, DAYS = date(2013, 2, 15), 14  # four commits: of one day, two, four and seven
END = START + timedelta(days=DAYS - 1)
SINCE = f"flight_date >= date '{START}' and flight_date <= date '{END}'"
RANGE = ("--start", START.isoformat(), "--end", END.isoformat())
LIMIT_S = 120


@dataclass(frozen=True)
class Desk:
    """A home with two more weeks ingested, and a server at which they are scored."""

    home: Path
    url: str

    @property
    def api(self) -> PrefectApi:
        """The server."""
        return PrefectApi(self.url)

    def make_run(self) -> str:
        """Return a new run of the deployment."""
        flow = self.api.post("/flows/", {"name": "backfill"})["id"]
        step = {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
        made = {
            "name": "backfill",
            "flow_id": flow,
            "entrypoint": "flows/backfill.py:backfill",
            "pull_steps": [step],
            "enforce_parameter_schema": False,
        }
        deployment = self.api.post("/deployments/", made)["id"]
        wish = {"model": MODEL, "start": str(START), "end": str(END), "using": "champion"}
        path = f"/deployments/{deployment}/create_flow_run"
        return str(self.api.post(path, {"parameters": wish})["id"])

    def begin(self, run: str) -> subprocess.Popen[str]:
        """Start to execute a run."""
        names = {"PREFECT_API_URL": self.url, "PREFECT_HOME": str(self.home / "prefect")}
        return subprocess.Popen(
            [PYTHON, "-m", "prefect.engine", run],
            env=environment_of(self.home, names) | {"PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def execute(self, run: str) -> Any:
        """Execute a run and return its state."""
        return self.end(self.begin(run), run)

    def end(self, process: subprocess.Popen[str], run: str) -> Any:
        """Wait until the process has ended; return the run's state, with what it printed."""
        said, _ = process.communicate(timeout=LIMIT_S)
        return self.state(run) | {"said": said}

    def running(self) -> set[str]:
        """Return the runs of this flow that go on."""
        asked = {
            "flows": {"name": {"any_": ["backfill"]}},
            "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}},
        }
        return {run["id"] for run in self.api.post("/flow_runs/filter", asked)}

    def state(self, run: str) -> Any:
        """Return the state of a run."""
        return self.api.get(f"/flow_runs/{run}")["state"]

    def wait_for(self, run: str, name: str) -> None:
        """Wait until a run is in the state called ``name``."""
        assert wait_until(lambda: self.state(run)["name"] == name, LIMIT_S), self.state(run)

    def command(self, *words: str) -> Any:
        """Run a command at the server, which succeeds."""
        ran = run_process(self.home, *words, settings={"PREFECT_API_URL": self.url})
        assert ran.status == 0, ran.err
        return ran

    def artifacts(self, run: str) -> dict[str, Any]:
        """Return what is on a run's page, the last of each kind."""
        asked = {"artifacts": {"flow_run_id": {"any_": [run]}}}
        found = self.api.post("/artifacts/filter", asked)
        return {one["type"]: one for one in sorted(found, key=lambda one: str(one["created"]))}

    def days_shown(self) -> list[str]:
        """Return the days that readers see, each of them checked to be whole."""
        sql = "select flight_date as d, count(*) as n, count(distinct run_id) as r from t where "
        table = self.home / "lake" / "predictions" / MODEL
        rows = query_table(table, f"{sql}{SINCE} group by 1 order by 1")
        whole = query_table(
            self.home / "lake" / "datasets" / "flights" / "accepted",
            f"select flight_date as d, count(*) as n from t where {SINCE} group by 1",
        )
        expected = {row["d"]: (row["n"], 1) for row in whole}
        assert {row["d"]: (row["n"], row["r"]) for row in rows}.items() <= expected.items()
        return [row["d"] for row in rows]

    def runs_of_days(self) -> list[tuple[str, str]]:
        """Return day and state of each scoring run, in the order they began."""
        return query_sqlite(
            self.home / "registry.db",
            "select r.date, o.state from run r join run_outcome o on o.run_id = r.id "
            f"where r.date between '{START}' and '{END}' order by r.started_at, r.date",
        )


@pytest.fixture(scope="module")
def unscored(demo: Demo, server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a home with two more weeks of flights, not scored yet."""
    folder = tmp_path_factory.mktemp("backfill")
    home = copy_home(demo.home, folder / "home")
    settings = {"PREFECT_API_URL": server}
    ingested = run_process(home, "ingest", "flights", *RANGE, settings=settings)
    assert ingested.status == 0, ingested.err
    yield home
    shutil.rmtree(folder)


@pytest.fixture
def desk(unscored: Path, tmp_path: Path, server: str) -> Iterator[Desk]:
    """Return a copy of that home."""
    yield Desk(copy_home(unscored, tmp_path / "home"), server)
    shutil.rmtree(tmp_path / "home")


ALL = [(START + timedelta(days=n)).isoformat() for n in range(DAYS)]


def test_a_suspended_run_ends_between_days_and_resumed_does_the_rest_once(desk: Desk) -> None:
    run = desk.make_run()
    process = desk.begin(run)
    desk.wait_for(run, "Running")
    said = desk.command("pause", MODEL).out
    assert "paused after the days it is at" in said
    assert desk.end(process, run)["name"] == "Suspended"
    before = desk.days_shown()
    assert 0 < len(before) < DAYS
    assert contents_of(desk.home)["scratch"] == []

    again = run_process(desk.home, "pause", MODEL, settings={"PREFECT_API_URL": desk.url})
    assert again.status == 1
    assert f"is paused already, and none is running. 'pilotline resume {MODEL}'" in again.err

    desk.command("resume", MODEL)
    assert desk.state(run)["name"] == "Resuming"
    assert desk.execute(run)["name"] == "Completed"
    assert desk.days_shown() == ALL
    assert desk.runs_of_days() == [(day, "succeeded") for day in ALL]  # oldest first, once each


def test_resumed_before_its_process_is_through_a_run_goes_on_in_one_process(desk: Desk) -> None:
    run = desk.make_run()
    slow = desk.begin(run)
    assert wait_until(lambda: "progress" in desk.artifacts(run), LIMIT_S)
    slow.send_signal(signal.SIGSTOP)
    desk.command("pause", MODEL)
    desk.command("resume", MODEL)
    other = desk.begin(run)
    desk.wait_for(run, "Running")
    slow.send_signal(signal.SIGCONT)
    slow.communicate(timeout=LIMIT_S)
    assert desk.end(other, run)["name"] == "Completed"
    assert desk.days_shown() == ALL
    # What the first was at is done by the other, too: at most its second commit, of two days.
    again = Counter(day for day, _ in desk.runs_of_days())
    assert sum(again.values()) <= DAYS + 2


def test_a_commands_run_waits_where_it_is_and_goes_on_when_it_is_resumed(desk: Desk) -> None:
    words = ("backfill", MODEL, *RANGE, "--using", "champion")
    before = desk.running()
    process = start_process(desk.home, *words, settings={"PREFECT_API_URL": desk.url})
    assert wait_until(lambda: desk.running() - before, LIMIT_S)
    (run,) = desk.running() - before
    desk.command("pause", MODEL)
    assert process.stderr is not None
    said = next(line for line in process.stderr if "paused after" in line)
    assert f"'pilotline resume {MODEL}' goes on" in said
    assert 0 < len(desk.days_shown()) < DAYS
    desk.command("resume", MODEL)
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, said
    assert desk.state(run)["name"] == "Completed"
    assert desk.days_shown() == ALL
    assert desk.runs_of_days() == [(day, "succeeded") for day in ALL]


def test_suspended_in_the_ui_a_run_waits_longer_than_the_five_minutes_that_the_ui_sets(
    desk: Desk,
) -> None:
    run = desk.make_run()
    process = desk.begin(run)
    assert wait_until(lambda: "progress" in desk.artifacts(run), LIMIT_S)
    until = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    details = {"pause_timeout": until, "pause_reschedule": True}
    state = {"type": "PAUSED", "name": "Suspended", "state_details": details}
    assert desk.api.post(f"/flow_runs/{run}/set_state", {"state": state})["status"] == "ACCEPT"
    ended = desk.end(process, run)
    assert ended["name"] == "Suspended"
    assert ended["state_details"]["pause_timeout"] is None
    assert 0 < len(desk.days_shown()) < DAYS
    desk.command("resume", MODEL)
    assert desk.execute(run)["name"] == "Completed"
    assert desk.days_shown() == ALL


def test_the_page_of_a_run_shows_its_progress_and_a_table_of_days_with_links(desk: Desk) -> None:
    run = desk.make_run()
    assert desk.execute(run)["name"] == "Completed"
    found = desk.artifacts(run)
    assert found["progress"]["data"] == 100
    said = f"{MODEL}: {DAYS} of {DAYS} days, {DAYS} succeeded"
    assert found["progress"]["description"] == said
    rows = json.loads(found["table"]["data"])
    assert [row["day"] for row in rows] == ALL
    first = rows[0]
    assert (first["was"], first["is"], first["version"]) == ("missing", "succeeded", "1.0.0")
    assert first["rows"] == 954  # as many as the source has on that day; none is broken
    page = desk.url.removesuffix("/api") + f"/runs/flow-run/{run}"
    assert first["run"].startswith("[20130215-")
    assert first["run"].endswith(f"]({page})")

    asked = {"flow_runs": {"id": {"any_": [run]}}}
    tasks = desk.api.post("/task_runs/filter", asked)
    assert sorted(task["name"].rsplit("-", 1)[0] for task in tasks) == ["make_plan", "run_plan"]
    packages = query_sqlite(
        desk.home / "registry.db",
        "select distinct json_extract(resources, '$.build_s') from run_outcome "
        f"join run on run.id = run_id where date between '{START}' and '{END}'",
    )
    assert len(packages) == 1  # one environment served all days


def test_a_cancelled_run_leaves_whole_days_only(desk: Desk) -> None:
    run = desk.make_run()
    process = desk.begin(run)
    desk.wait_for(run, "Running")
    state = {"type": "CANCELLING", "name": "Cancelling", "state_details": {}}  # as the UI asks
    assert desk.api.post(f"/flow_runs/{run}/set_state", {"state": state})["status"] == "ACCEPT"
    ended = desk.end(process, run)
    done = desk.days_shown()
    assert (ended["type"], 0 < len(done) < DAYS) == ("CANCELLED", True), ended
    assert ended["message"] == f"{len(done)} of {DAYS} days were done; all of them whole"


def test_interrupted_by_a_person_or_ended_by_a_worker_it_leaves_whole_days_only(
    desk: Desk,
) -> None:
    words = ("backfill", MODEL, *RANGE, "--using", "champion")
    named = {"PREFECT_API_URL": desk.url}
    log = desk.home / "lake" / "predictions" / MODEL / "_delta_log"
    before = len(list(log.glob("*.json")))
    process = start_process(desk.home, *words, settings=named)
    assert wait_until(lambda: len(list(log.glob("*.json"))) > before, LIMIT_S)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, said
    interrupted = desk.days_shown()
    assert interrupted

    run = desk.make_run()
    worker = desk.begin(run)
    before = len(list(log.glob("*.json")))
    assert wait_until(lambda: len(list(log.glob("*.json"))) > before, LIMIT_S)
    worker.terminate()  # as a worker does when a run is cancelled in the UI
    desk.end(worker, run)
    ended = desk.days_shown()
    assert ended[: len(interrupted)] == interrupted
    # The page tells what readers see, also of a commit that it was stopped in.
    found = desk.artifacts(run)
    rows = json.loads(found["table"]["data"])
    done = [row["day"] for row in rows if row["is"] == "succeeded"]
    assert done
    assert sorted({*interrupted, *done}) == ended
    said = f"{MODEL}: {len(done)} of {len(rows)} days, {len(done)} succeeded"
    assert found["progress"]["description"].startswith(said)

    desk.command(*words)
    assert desk.days_shown() == ALL
    assert contents_of(desk.home)["scratch"] == []
    assert len(predictions_of(desk.home, SINCE)) == len(set(predictions_of(desk.home, SINCE)))


def test_without_a_run_that_is_paused_or_running_both_commands_say_so(desk: Desk) -> None:
    settings = {"PREFECT_API_URL": desk.url}
    for word, what in (("pause", "Pausing"), ("resume", "Resuming")):
        ran = run_process(desk.home, word, "churn", settings=settings)
        assert ran.status == 1
        assert f"{what} backfills of 'churn': none is" in ran.err


def test_a_run_that_has_not_begun_cannot_be_paused_yet_and_that_is_said(desk: Desk) -> None:
    run = desk.make_run()
    ran = run_process(desk.home, "pause", MODEL, settings={"PREFECT_API_URL": desk.url})
    desk.api.delete(f"/flow_runs/{run}")
    assert ran.status == 1
    assert f"{MODEL} {START} to {END} is about to start. Pause it in a moment." in ran.err
