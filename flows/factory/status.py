"""How the factory is: server, worker, schedules, late runs, backfills, approvals, last nights."""

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from pilotline.flows.factory.deploy import pool_name
from pilotline.flows.factory.pausing import PAUSED, RUNNING, describe_range, list_backfills
from pilotline.flows.factory.recovery import TAKEN_UP
from pilotline.flows.factory.schedules import TAG
from pilotline.flows.server.api import PrefectApi, quote
from pilotline.flows.server.facts import find_up
from pilotline.registry.gates import last_shown
from pilotline.registry.store import now
from pilotline.tasks.decide import Awaited, list_awaited
from pilotline.tasks.errors import SettingsError
from pilotline.tasks.home import Home
from pilotline.tasks.schedule import Standing, list_scheduled, stand

NOT_VERIFIED = "go-live, once it is verified"  # nobody can decide before
BOTH_APPROVED = "none: both are approved, 'pilotline release' promotes it"
RECENT = timedelta(days=7)

log = logging.getLogger("pilotline")


def read_server(home: Home) -> dict[str, Any]:
    """Return what the Prefect server says of itself; why not, where it says nothing."""
    up = find_up(home)
    url = os.environ.get("PREFECT_API_URL") or (up.api_url if up else "")
    said: dict[str, Any] = {
        "url": url,
        "up": asdict(up) if up else None,
        "version": "",
        "workers": [],
        "schedules": 0,
        "late": 0,
        "failed": 0,
        "backfills": [],
        "problem": "",
    }
    try:
        if not url:
            raise SettingsError(
                "No Prefect server", "nothing runs in this home", "'pilotline up' starts it."
            )
        if up is not None and not up.ready:
            raise SettingsError("The factory", "is starting", "Look again in a moment.")
        said |= _ask(PrefectApi(url))
    except SettingsError as err:
        said["problem"] = str(err)
    return said


def _ask(api: PrefectApi) -> dict[str, Any]:
    found = {"version": api.check_version()}
    pool = pool_name(os.environ)
    if api.get(f"/work_pools/{quote(pool)}") is None:
        raise SettingsError(
            f"Prefect server {api.url!r}",
            f"has no work pool {pool!r}",
            "'pilotline up' makes it, and a worker for it.",
        )
    workers = api.post(f"/work_pools/{quote(pool)}/workers/filter", {})
    return found | {
        "workers": [
            {"name": w["name"], "status": w["status"], "heard": w["last_heartbeat_time"]}
            for w in workers
        ],
        "schedules": api.post("/deployments/count", {"deployments": {"tags": {"all_": [TAG]}}}),
        "late": _count_runs(api, [], "Late"),
        # Of what crashed and was taken up the run that goes on counts.
        "failed": _count_runs(api, [], "Failed", "Crashed", "TimedOut")
        - _count_runs(api, [TAKEN_UP], "Crashed"),
        "backfills": [
            {
                "run": run["id"],
                "name": run["name"],
                "state": run["state_type"].lower(),
                "what": describe_range(run),
            }
            for run in list_backfills(api, RUNNING, PAUSED)
        ],
    }


def _count_runs(api: PrefectApi, tags: Sequence[str], *states: str) -> int:
    asked = {
        "state": {"name": {"any_": list(states)}},
        "tags": {"all_": ["pilotline", *tags]},
        "expected_start_time": {"after_": (now() - RECENT).isoformat()},
    }
    count: int = api.post("/flow_runs/count", {"flow_runs": asked})
    return count


def read_registry(home: Home, at: datetime) -> tuple[list[Standing], list[dict[str, str]]]:
    """Return how each scheduled model stands, those that are behind first, and what waits."""
    with home.open_registry() as registry:
        scheduled = list_scheduled(registry, {}, log.warning)
        with registry.read() as session:
            shown = last_shown(session)
        awaited = list_awaited(registry, home)
    standings = [stand(found, shown.get(found.model_id), at) for found in scheduled]
    standings.sort(key=lambda s: (not s.behind, s.model))
    return standings, [
        {"model": w.model, "version": w.number, "gate": _say_gate(w)} for w in awaited
    ]


def _say_gate(waiting: Awaited) -> str:
    if not waiting.gate:
        return BOTH_APPROVED
    return waiting.gate if waiting.gate == "review" or waiting.verified else NOT_VERIFIED
