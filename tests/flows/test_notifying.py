"""People are told: what failed, why and what to try; what waits for them, and once more later."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pilotline.flows.server.choice import FOR_PREFECT
from tests.support.commands import run_python
from tests.support.flows.approvals import REVIEWER, Desk, OwnServer
from tests.support.flows.factory import CHALLENGER, MODEL
from tests.support.flows.listener import Listener
from tests.support.waiting import wait_until

TAG = "pilotline-reminder"
CANARY = "canary-of-the-hook"
UNKNOWN_DAY = "2014-01-01"
RUN_LIMIT_S = 120
# In a process of its own, as a worker runs it.
SAYING_ITS_RUN = """
import json, sys
from pilotline.flows.{0} import {0}
state = {0}(*sys.argv[1:], return_state=True)
json.dump([state.type.value, str(state.state_details.flow_run_id)], sys.stdout)
"""


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Return a web hook that somebody else runs."""
    with Listener() as running:
        yield running


@pytest.fixture(scope="module")
def server(own_server: OwnServer) -> OwnServer:
    """Return a server of this file's own: a decision wakes every release that waits."""
    return own_server


@pytest.fixture
def desk(record: Path, server: OwnServer, listener: Listener) -> Desk:
    """Return a home whose challenger waits at review, and that tells the web hook."""
    return Desk(record, server, more={"PILOTLINE_NOTIFY": f"json://127.0.0.1:{listener.port}"})


def run_flow(desk: Desk, name: str, *words: str, address: str = "") -> Any:
    """Run a flow as a worker does; return the type of the state it ends in, and its run."""
    told = {"PILOTLINE_NOTIFY": address or desk.more["PILOTLINE_NOTIFY"]}
    settings = {"PREFECT_API_URL": desk.url, **FOR_PREFECT, **told}
    code = SAYING_ITS_RUN.format(name)
    done = run_python(desk.home, "-c", code, *words, settings=settings, limit_s=RUN_LIMIT_S)
    assert done.status == 0, done.err
    desk.printed.append(done.err)
    return done.json


def reminders(desk: Desk, run: str) -> list[Any]:
    """Return what is to remind of a waiting run."""
    tags = {"all_": [TAG, f"release-run:{run}"]}
    return list(desk.api.post("/flow_runs/filter", {"flow_runs": {"tags": tags}}))


def let_it_be_time(desk: Desk, reminder: str) -> None:
    """Run a reminder that is due later, as a worker does when it is due."""
    state = {"type": "SCHEDULED", "name": "Scheduled", "state_details": {}}
    desk.api.post(f"/flow_runs/{reminder}/set_state", {"state": state, "force": True})
    desk.execute(reminder)


def is_too_late(desk: Desk, run: str) -> bool:
    """Tell whether the deadline of a waiting run is over."""
    state = desk.state(run)
    until = state["state_details"]["pause_timeout"]
    return until is None or datetime.fromisoformat(until) < datetime.now(UTC)


def test_who_decides_is_told_at_once_and_once_more_before_the_deadline(
    desk: Desk, listener: Listener
) -> None:
    desk.deploy("alert")
    run = desk.start(decide_within_h=0.5)
    (told,) = listener.heard
    assert told["title"] == f"pilotline: {MODEL} {CHALLENGER} waits for review"
    assert told["message"].startswith(f"review is decided by one of {REVIEWER} until ")
    assert f"pilotline approve {MODEL} {CHALLENGER} --gate review" in told["message"]
    (reminder,) = reminders(desk, run)
    until = desk.state(run)["state_details"]["pause_timeout"]
    due = datetime.fromisoformat(reminder["expected_start_time"])
    assert due < datetime.fromisoformat(until)
    let_it_be_time(desk, reminder["id"])
    assert listener.heard[1]["title"] == f"pilotline: {MODEL} {CHALLENGER} waits for review still"
    assert listener.heard[1]["message"] == told["message"]


def test_nobody_is_reminded_of_what_was_decided_or_cancelled(
    desk: Desk, listener: Listener
) -> None:
    desk.deploy("alert")
    run = desk.start()
    (reminder,) = reminders(desk, run)
    cancelled = {"type": "CANCELLED", "name": "Cancelled", "state_details": {}}
    desk.api.post(f"/flow_runs/{run}/set_state", {"state": cancelled, "force": True})
    let_it_be_time(desk, reminder["id"])
    run = desk.start()
    assert len(reminders(desk, run)) == 1
    assert desk.decide("reject", REVIEWER).status == 0
    desk.execute(run)
    assert reminders(desk, run) == []
    waits = f"pilotline: {MODEL} {CHALLENGER} waits for review"
    assert [told["title"] for told in listener.heard] == [waits, waits]


def test_a_failure_is_told_with_its_reason_and_the_command_to_try(
    desk: Desk, listener: Listener
) -> None:
    state, run = run_flow(desk, "score", MODEL, UNKNOWN_DAY)
    assert state == "FAILED"
    assert run_flow(desk, "alert", f"prefect.flow-run.{run}")[0] == "COMPLETED"
    (told,) = listener.heard
    assert told["title"] == f"pilotline: score-{MODEL}-{UNKNOWN_DAY} failed"
    assert f"has no partition {UNKNOWN_DAY}" in told["message"]
    assert told["message"].endswith(f"Try: pilotline score {MODEL} --date {UNKNOWN_DAY}")
    hook = f"json://127.0.0.1:1/{CANARY}"  # nobody listens there
    state, alert = run_flow(desk, "alert", f"prefect.flow-run.{run}", address=hook)
    assert state == "COMPLETED"
    asked = {"logs": {"flow_run_id": {"any_": [alert]}}}
    page = " ".join(line["message"] for line in desk.api.post("/logs/filter", asked))
    assert f"nobody was told (the other side did not take it): {told['title']}" in page
    assert CANARY not in page + "".join(desk.printed)


def test_a_release_that_nobody_decided_on_is_told_with_the_command_that_asks_again(
    desk: Desk, listener: Listener
) -> None:
    run = desk.start(decide_within_h=1 / 3600)
    assert wait_until(lambda: is_too_late(desk, run), 30)
    assert desk.answer(run) != "ACCEPT"  # the server looks at the deadline now at the latest
    run_flow(desk, "alert", f"prefect.flow-run.{run}")
    told = listener.heard[-1]
    assert told["title"] == f"pilotline: release-{MODEL}-{CHALLENGER} failed"
    assert told["message"] == (
        f"nobody decided before its deadline\nTry: pilotline release {MODEL} {CHALLENGER}"
    )
