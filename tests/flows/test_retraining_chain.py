"""From drift to a challenger at review, and from missing data to a scored night, by nobody's hand.

A real server with its automations and a real worker. The tests of this file share one factory and
run in the order in which they are written.
"""

import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.up_deploy import ROOT
from registry.promotions import Wish, promote
from tasks.example_shift import shift_flights
from tasks.home import find_home
from tasks.verification import platform
from tests.flows.conftest import Demo, approve_challenger, copy_home, query_sqlite
from tests.flows.factory import CHALLENGER, MODEL, PYTHON, ZONE, owed_days, worker_environment
from tests.flows.listener import Listener
from tests.flows.test_night import move_flights
from tests.flows.test_up import END_LIMIT_S, RUN_LIMIT_S, Factory, start, wait_to_hear
from tests.support.commands import run_process
from tests.support.ports import next_port
from tests.support.waiting import wait_until

# Weeks that drift as those before them did, the last of which a retraining answered: the cooldown
# of 14 days is over on the first of these days, and begins again there.
DRIFTED, NEXT = date(2013, 8, 4), date(2013, 8, 5)
NEWEST = "1.0.2"  # the demo made 1.0.0 and 1.0.1
SUMMER = f"""
from datetime import date
from flows.backfill import backfill
from flows.ingest import ingest
days = date(2013, 7, 22), date({NEXT:%Y, %-m, %-d})
ingest("flights", *days)
ingest("arrivals", *days)
backfill("{MODEL}", *days, using="champion")
"""
ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    """Return a web hook that is told of failures."""
    with Listener() as running:
        yield running


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lab of the factory's own."""
    return Path(shutil.copytree(ROOT / "lab", tmp_path_factory.mktemp("chain") / "lab"))


@pytest.fixture(scope="module")
def factory(
    demo: Demo,
    server: str,
    listener: Listener,
    lab: Path,
    shared: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Factory]:
    """Return a running factory in which weeks that drift are scored, and nobody looked yet."""
    home = copy_home(demo.home, tmp_path_factory.mktemp("chain") / "home")
    policy = home / "policy.toml"
    text = policy.read_text("utf-8")
    policy.write_text(text.replace("[isolation]", "backdating = true\n\n[isolation]"), "utf-8")
    environment = worker_environment(home, server)
    subprocess.run([PYTHON, "-c", SUMMER], env=environment, cwd=ROOT, check=True, timeout=120)
    factory = start(
        home,
        next_port(shared),
        PILOTLINE_LAB=str(lab),
        PILOTLINE_NOTIFY=f"json://127.0.0.1:{listener.port}",
        PREFECT_WORKER_QUERY_SECONDS="1",
    )
    yield factory
    factory.process.send_signal(signal.SIGTERM)
    factory.process.communicate(timeout=END_LIMIT_S)


def begin(factory: Factory, flow: str, name: str, **parameters: str) -> str:
    """Start a run of a deployment, as its page's Run button does."""
    deployment = factory.ask(f"/deployments/name/{flow}/{name}")["id"]
    wish = {"parameters": parameters}
    return str(factory.ask(f"/deployments/{deployment}/create_flow_run", wish)["id"])


def runs(factory: Factory, flow: str, **parameters: str) -> list[Any]:
    """Return the runs of a flow with such parameters, oldest first; none that is still to come."""
    found = factory.ask(
        "/flow_runs/filter",
        {
            "flows": {"name": {"any_": [flow]}},
            "flow_runs": {"state": {"name": {"not_any_": ["Scheduled"]}}},
            "sort": "START_TIME_ASC",
        },
    )
    return [run for run in found if parameters.items() <= run["parameters"].items()]


def wait_for_end(factory: Factory, flow: str, count: int = 1, **parameters: str) -> Any:
    """Return the last of ``count`` runs of a flow once they have ended."""

    def ended() -> list[Any]:
        found = [run for run in runs(factory, flow, **parameters) if run["state_type"] in ENDS]
        return found if len(found) >= count else []

    assert wait_until(ended, RUN_LIMIT_S), runs(factory, flow)
    return ended()[-1]


def tell(factory: Factory, event: str, payload: Any) -> None:
    """Send an event about the model."""
    resource = {"prefect.resource.id": f"pilotline.{MODEL}", "prefect.resource.name": MODEL}
    occurred = datetime.now(UTC).isoformat()
    facts = {"occurred": occurred, "event": event, "resource": resource, "payload": payload}
    factory.ask("/events", [{**facts, "id": str(uuid.uuid4())}])


def versions(home: Path) -> list[str]:
    """Return the numbers of the model's versions."""
    query = "select major || '.' || minor || '.' || patch from model_version order by id"
    return [number for (number,) in query_sqlite(home / "registry.db", query)]


def test_drift_brings_a_challenger_to_review(factory: Factory) -> None:
    begin(factory, "monitor", "monitor", model=MODEL, day=DRIFTED.isoformat())

    def suspended() -> list[Any]:
        found = runs(factory, "release", version=NEWEST)
        return [run for run in found if run["state_name"] == "Suspended"]

    assert wait_until(suspended, RUN_LIMIT_S), runs(factory, "retrain")
    (waiting,) = suspended()
    assert waiting["state"]["state_details"]["pause_key"].startswith("review-")
    known = run_process(factory.home, "show", MODEL, "--json").json["versions"]
    assert {one["version"]: one["aliases"] for one in known} == {
        "1.0.0": ["champion"],
        CHALLENGER: [],
        NEWEST: ["challenger"],
    }


def test_what_drifted_reaches_the_retraining_with_numbers_as_numbers(factory: Factory) -> None:
    run = wait_for_end(factory, "retrain", until=DRIFTED.isoformat())
    drift = run["parameters"].pop("drift")
    assert run["parameters"] == {"model": MODEL, "until": DRIFTED.isoformat()}
    recorded = query_sqlite(
        factory.home / "registry.db",
        'select value from metric where name = ? and "end" = ?',
        f"{drift['column']}.{drift['distance']}",
        DRIFTED.isoformat(),
    )
    assert (drift["value"],) in recorded
    assert (drift["column"], drift["threshold"]) == ("distance", 0.05)  # as model.toml has it
    assert drift["version"] == "1.0.0"


def test_a_retraining_and_a_watch_that_died_after_their_work_do_nothing_twice(
    factory: Factory,
) -> None:
    for flow in ("retrain", "monitor"):
        (run,) = (r for r in runs(factory, flow) if r["deployment_id"])
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "state_details": {}}
        factory.ask(f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})
    # The watch does not know whether anybody heard it, and tells it once more.
    again = wait_for_end(factory, "retrain", 2, until=DRIFTED.isoformat())
    said = f"{MODEL} {NEWEST} is taken to review by the run release-{MODEL}-{NEWEST}"
    assert (again["state_type"], again["state"]["message"]) == ("COMPLETED", said)
    assert versions(factory.home)[-1] == NEWEST
    assert len(runs(factory, "release", version=NEWEST)) == 1


def test_drift_within_the_cooldown_retrains_nothing_and_says_why(factory: Factory) -> None:
    begin(factory, "monitor", "monitor", model=MODEL, day=NEXT.isoformat())
    run = wait_for_end(factory, "retrain", until=NEXT.isoformat())
    assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Refused")
    assert run["state"]["message"] == (
        f"Retraining of '{MODEL}' refused: one was asked for with data until {DRIFTED}. "
        f"The cooldown of 14 days ends with data of {DRIFTED + timedelta(days=14)}."
    )
    assert versions(factory.home)[-1] == NEWEST


def test_an_automation_that_cannot_start_its_run_tells_somebody(
    factory: Factory, listener: Listener
) -> None:
    tell(factory, "pilotline.drift.detected", {"until": "yesterday"})
    told = wait_to_hear(listener, "pilotline: an automation failed")
    assert told.startswith("drift was detected: ")
    assert "'until': 'yesterday'" in told


def test_a_night_without_data_waits_and_is_done_once_its_day_is_ingested(
    factory: Factory, lab: Path
) -> None:
    shift_flights(factory.home / "online.db", datetime.now(ZONE).date())
    approve_challenger(factory.home)
    home = find_home({"PILOTLINE_HOME": str(factory.home), "PILOTLINE_LAB": str(lab)}, ROOT)
    wish = Wish(datetime.now(UTC) - timedelta(days=1))
    with home.open_registry() as registry, registry.write() as session:
        promote(session, MODEL, CHALLENGER, home.load_policy(), platform(), wish)
    (day,) = (one.isoformat() for one in owed_days(1))
    shutil.rmtree(lab / "models" / MODEL)  # a version lives on what was registered with it
    move_flights(factory.home, day, "later")
    begin(factory, "night", MODEL)
    waiting = wait_for_end(factory, "night")
    assert (waiting["state_type"], waiting["state_name"]) == ("COMPLETED", "waiting for data")
    assert waiting["state"]["message"] == f"not ingested yet: {day}"
    move_flights(factory.home, "later", day)
    begin(factory, "ingest", "ingest", dataset="flights", start=day, end=day)
    done = wait_for_end(factory, "night", 2)
    assert (done["state_name"], done["state"]["message"]) == ("Completed", f"{day} succeeded")
    assert [run["state_name"] for run in runs(factory, "wake")] == ["Completed"]


def test_a_night_that_is_done_is_watched(factory: Factory) -> None:
    (day,) = (one.isoformat() for one in owed_days(1))
    watched = wait_for_end(factory, "monitor", model=MODEL, day=day)
    assert watched["state_type"] == "COMPLETED"
