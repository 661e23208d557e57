"""From drift to a challenger at review, by nobody's hand.

A real server with its automations and a real worker.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import Demo, copy_home, query_sqlite
from tests.support.commands import run_here, run_python
from tests.support.flows.factory import CHALLENGER, MODEL
from tests.support.flows.listener import Listener
from tests.support.flows.running import Factory, running, runs, wait_for, wait_for_end, wait_to_hear
from tests.support.servers.ports import next_port

# Weeks that drift as those before them did, the last of which a retraining answered: the cooldown
# of 14 days is over on the first of these days, and begins again there.
DRIFTED, NEXT = date(2013, 8, 4), date(2013, 8, 5)
NEWEST = "1.0.2"  # the demo made 1.0.0 and 1.0.1
SUMMER = f"""
from datetime import date
from pilotline.flows.backfill import backfill
from pilotline.flows.ingest import ingest
days = date(2013, 7, 22), date({NEXT:%Y, %-m, %-d})
ingest("flights", *days)
ingest("arrivals", *days)
backfill("{MODEL}", *days, using="champion")
"""
SUMMER_LIMIT_S = 60


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
    prefect_tables: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Factory]:
    """Return a running factory in which weeks that drift are scored, and nobody looked yet."""
    home = copy_home(demo.home, tmp_path_factory.mktemp("chain") / "home")
    named = {"PREFECT_API_URL": server}
    ran = run_python(home, "-c", SUMMER, settings=named, limit_s=SUMMER_LIMIT_S)
    assert ran.status == 0, ran.err
    settings = {"PILOTLINE_NOTIFY": f"json://127.0.0.1:{listener.port}"}
    with running(home, next_port(shared), settings, tables=prefect_tables) as factory:
        yield factory


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


@dataclass(frozen=True)
class Waiting:
    """The release that waits at review after a watch that found drift."""

    run: Any
    aliases: dict[str, list[str]]  # by version


@pytest.fixture(scope="module")
def waiting(factory: Factory) -> Waiting:
    """Return what a watch of the first of two days came to."""
    factory.begin("monitor", model=MODEL, day=DRIFTED.isoformat())

    def suspended() -> list[Any]:
        found = runs(factory, "release", version=NEWEST)
        return [run for run in found if run["state_name"] == "Suspended"]

    (run,) = wait_for(suspended, lambda: runs(factory, "retrain"))
    known = run_here(factory.home, "show", MODEL, "--json").json["versions"]
    return Waiting(run, {one["version"]: one["aliases"] for one in known})


@dataclass(frozen=True)
class Again:
    """What there was when a retraining and its watch had run once more."""

    retraining: Any
    versions: list[str]
    releases: int


@pytest.fixture(scope="module")
def again(factory: Factory, waiting: Waiting) -> Again:
    """Return what came of it when both died after their work."""
    for flow, parameters in (
        ("retrain", {"until": DRIFTED.isoformat()}),
        ("monitor", {"day": DRIFTED.isoformat()}),
    ):
        (run,) = (r for r in runs(factory, flow, **parameters) if r["deployment_id"])
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "state_details": {}}
        factory.ask(f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})
    # The watch does not know whether anybody heard it, and tells it once more.
    last = wait_for_end(factory, "retrain", 2, until=DRIFTED.isoformat())
    return Again(last, versions(factory.home), len(runs(factory, "release", version=NEWEST)))


@pytest.fixture(scope="module")
def refused(factory: Factory, again: Again) -> tuple[Any, list[str]]:
    """Return the retraining that drift on the next day led to, and the versions after it."""
    factory.begin("monitor", model=MODEL, day=NEXT.isoformat())
    return wait_for_end(factory, "retrain", until=NEXT.isoformat()), versions(factory.home)


def test_drift_brings_a_challenger_to_review(waiting: Waiting) -> None:
    assert waiting.run["state"]["state_details"]["pause_key"].startswith("review-")
    assert waiting.aliases == {"1.0.0": ["champion"], CHALLENGER: [], NEWEST: ["challenger"]}


@pytest.mark.usefixtures("waiting")
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
    again: Again,
) -> None:
    state, said = again.retraining["state"], f"is taken to review by the run release-{MODEL}"
    assert (state["type"], state["message"]) == (
        "COMPLETED",
        f"{MODEL} {NEWEST} {said}-{NEWEST}",
    )
    assert again.versions[-1] == NEWEST
    assert again.releases == 1


def test_drift_within_the_cooldown_retrains_nothing_and_says_why(
    refused: tuple[Any, list[str]],
) -> None:
    run, known = refused
    assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Refused")
    assert run["state"]["message"] == (
        f"Retraining of '{MODEL}' refused: one was asked for with data until {DRIFTED}. "
        f"The cooldown of 14 days ends with data of {DRIFTED + timedelta(days=14)}."
    )
    assert known[-1] == NEWEST


def test_an_automation_that_cannot_start_its_run_tells_somebody(
    factory: Factory, listener: Listener
) -> None:
    tell(factory, "pilotline.drift.detected", {"until": "yesterday"})
    told = wait_to_hear(listener, "pilotline: an automation failed")
    assert told.startswith("drift was detected: ")
    assert "'until': 'yesterday'" in told
