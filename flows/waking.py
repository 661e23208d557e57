"""Waking the release runs that wait for a decision which was made elsewhere."""

import os
from typing import Any

from flows.up_api import PrefectApi
from flows.up_facts import find_up
from registry.base import now
from tasks.errors import SettingsError
from tasks.home import Home

WAKE = "decided elsewhere"


def wake_releases(home: Home, model: str, version: str, but: str = "") -> int:
    """Resume each suspended release of the version; return how many there were.

    A run that wakes looks the decision up in the registry; where there is none it asks again. So
    it does no harm, and no more than that, to wake one too many.

    Args:
        home: the home, whose factory's server is asked where none is named.
        model: the model.
        version: the version.
        but: the run that need not be woken.

    Raises:
        SettingsError: a server is known and does not answer.
    """
    up = find_up(home)
    url = os.environ.get("PREFECT_API_URL") or (up.api_url if up is not None and up.ready else "")
    if not url:
        return 0
    api = PrefectApi(url)
    if not api.answers():
        raise SettingsError(f"Prefect server {url!r}", "does not answer", "Start it, or unset it.")
    runs = [run for run in _suspended(api, model, version) if run["id"] != but]
    return sum(_resume(api, run["id"]) for run in runs)


def _suspended(api: PrefectApi, model: str, version: str) -> list[Any]:
    found = api.list_all(
        "/flow_runs/filter",
        {
            "flows": {"name": {"any_": ["release"]}},
            "flow_runs": {"state": {"name": {"any_": ["Suspended"]}}},
        },
    )
    wanted = {"model": model, "version": version}
    return [run for run in found if wanted.items() <= run["parameters"].items()]


def _resume(api: PrefectApi, run_id: str) -> bool:
    """Resume a run without its form, for which Prefect's own way asks; tell whether it took it."""
    state = {
        "type": "SCHEDULED",
        "name": "Resuming",
        "message": WAKE,
        "state_details": {"scheduled_time": now().isoformat()},
    }
    answer = api.post(f"/flow_runs/{run_id}/set_state", {"state": state})
    return bool(answer["status"] == "ACCEPT")
