"""Pausing the backfills of a model that run at a Prefect server, and resuming them."""

import logging
import os
from dataclasses import dataclass
from typing import Any

from pilotline.flows.server.api import PrefectApi
from pilotline.flows.server.facts import find_up
from pilotline.tasks.errors import NothingToDoError, SettingsError
from pilotline.tasks.home import Home

RUNNING, PAUSED = "RUNNING", "PAUSED"
WAITING = ("SCHEDULED", "PENDING")  # for a process

log = logging.getLogger("pilotline")


@dataclass(frozen=True)
class BackfillRun:
    """A run that was paused or resumed."""

    run: str  # its id
    name: str


def pause_backfills(home: Home, model: str) -> list[BackfillRun]:
    """Pause each running backfill of the model after the days it is at, and return which.

    A run of a deployment is suspended: its process ends, and a worker takes it up again. Another
    one waits where it is.

    Raises:
        NothingToDoError: none is running.
        SettingsError: no server is known, or it does not answer.
    """
    api = _known_server(home)
    found = _backfills(api, model, RUNNING)
    if not found:
        raise NothingToDoError(f"Pausing backfills of {model!r}", *_why_none(api, model))
    answers = []
    for run in found:
        deployed = run["deployment_id"] is not None
        state = {
            "type": PAUSED,
            "name": "Suspended" if deployed else "Paused",
            "message": "by pilotline pause",
            "state_details": {"pause_reschedule": deployed},
        }
        answers.append(api.post(f"/flow_runs/{run['id']}/set_state", {"state": state}))
    return _accepted(answers, found)


def resume_backfills(home: Home, model: str) -> list[BackfillRun]:
    """Let each paused backfill of the model go on, and return which.

    Raises:
        NothingToDoError: none is paused.
        SettingsError: no server is known, or it does not answer.
    """
    api = _known_server(home)
    found = _backfills(api, model, PAUSED)
    if not found:
        raise NothingToDoError(
            f"Resuming backfills of {model!r}",
            "none is paused at the Prefect server",
            "'pilotline backfill' does what is left of one that ended.",
        )
    answers = [api.post(f"/flow_runs/{run['id']}/resume", {}) for run in found]
    return _accepted(answers, found)


def list_backfills(api: PrefectApi, *kinds: str) -> list[dict[str, Any]]:
    """Return the runs of backfills whose state is of one of these kinds, oldest first."""
    asked = {
        "flows": {"name": {"any_": ["backfill"]}},
        "flow_runs": {"state": {"type": {"any_": list(kinds)}}},
        "sort": "START_TIME_ASC",
    }
    return api.list_all("/flow_runs/filter", asked)


def describe_range(run: dict[str, Any]) -> str:
    """Return which days of which model a run of a backfill is to do."""
    given = run["parameters"]  # by anybody, where the run was made by hand
    return f"{given.get('model')} {given.get('start')} to {given.get('end')}"


def _why_none(api: PrefectApi, model: str) -> tuple[str, str]:
    """Return why no backfill of the model can be paused, and what to do."""
    if paused := _backfills(api, model, PAUSED):
        return (
            f"{paused[0]['name']} is paused already, and none is running",
            f"'pilotline resume {model}' lets it go on.",
        )
    if waiting := _backfills(api, model, *WAITING):
        return f"{describe_range(waiting[0])} is about to start", "Pause it in a moment."
    return (
        "none is running at the Prefect server",
        "One that a command runs at a server of its own ends with Ctrl-C; run it again later.",
    )


def _known_server(home: Home) -> PrefectApi:
    up = find_up(home)
    url = os.environ.get("PREFECT_API_URL") or (up.api_url if up is not None and up.ready else "")
    if not url:
        raise SettingsError(
            "No Prefect server", "nothing runs in this home", "'pilotline up' starts one."
        )
    api = PrefectApi(url)
    if not api.answers():
        raise SettingsError(f"Prefect server {url!r}", "does not answer", "Start it, or unset it.")
    return api


def _backfills(api: PrefectApi, model: str, *kinds: str) -> list[dict[str, Any]]:
    return [r for r in list_backfills(api, *kinds) if r["parameters"].get("model") == model]


def _accepted(answers: list[dict[str, Any]], runs: list[dict[str, Any]]) -> list[BackfillRun]:
    """Return the runs that Prefect put where they were asked to be; each was asked.

    Raises:
        SettingsError: it refused all of them.
    """
    accepted, refusals = [], []
    for answer, run in zip(answers, runs, strict=True):
        if answer["status"] == "ACCEPT":
            accepted.append(BackfillRun(run["id"], run["name"]))
            continue
        reason = (answer.get("details") or {}).get("reason") or "it gave no reason"
        refusals.append(
            SettingsError(
                f"Flow run {run['name']!r}", f"Prefect refused ({reason})", "Look at its page."
            )
        )
    if not accepted:
        raise refusals[0]
    for refusal in refusals:
        log.warning("%s", refusal)
    return accepted
