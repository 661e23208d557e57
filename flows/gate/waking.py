"""Waking the release runs that wait for a decision which was made elsewhere."""

import logging
import os
from typing import Any

from pilotline.flows.server.api import PrefectApi
from pilotline.flows.server.facts import find_up
from pilotline.registry.store import now
from pilotline.tasks.errors import SettingsError
from pilotline.tasks.home import Home

WAKE = "decided elsewhere"
# How the message of a run ends that nobody decided on in time (Prefect 3.9.1, core_policy.py).
EXPIRED = "and never resumed."

log = logging.getLogger("pilotline")


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
    api = _server_of(home)
    if api is None:
        return 0
    runs = [run for run in _releases(api, model, version, "Suspended") if run["id"] != but]
    return sum(_resume(api, run["id"]) for run in runs)


def try_to_wake(home: Home, model: str, version: str) -> int:
    """Resume the suspended releases of the version; what was decided stands without that too."""
    try:
        return wake_releases(home, model, version)
    except SettingsError as problem:
        log.warning("no release that waits there was told of the decision: %s", problem)
        return 0


def list_shown(home: Home, model: str, version: str, gate: str) -> set[str]:
    """Return the fingerprints of the evidence that suspended releases show at a gate.

    A server that does not answer shows nobody anything.
    """
    try:
        api = _server_of(home)
        runs = _releases(api, model, version, "Suspended") if api else []
    except SettingsError:
        return set()
    keys = [str(run["state"]["state_details"]["pause_key"]) for run in runs]
    return {key.rpartition("-")[2] for key in keys if key.startswith(f"{gate}-")}


def ended_undecided(home: Home, model: str, version: str) -> bool:
    """Tell whether the last release of the version ended because nobody decided in time."""
    try:
        api = _server_of(home)
        runs = _releases(api, model, version) if api else []
    except SettingsError:
        return False
    last = max(runs, key=lambda run: str(run["created"]), default=None)
    return last is not None and str((last["state"] or {}).get("message")).endswith(EXPIRED)


def _server_of(home: Home) -> PrefectApi | None:
    """Return the Prefect server that is named, or that of the factory; None where there is none.

    Raises:
        SettingsError: it does not answer.
    """
    up = find_up(home)
    url = os.environ.get("PREFECT_API_URL") or (up.api_url if up is not None and up.ready else "")
    if not url:
        return None
    api = PrefectApi(url)
    if not api.answers():
        raise SettingsError(f"Prefect server {url!r}", "does not answer", "Start it, or unset it.")
    return api


def _releases(api: PrefectApi, model: str, version: str, state: str = "") -> list[Any]:
    asked: dict[str, Any] = {"flows": {"name": {"any_": ["release"]}}}
    if state:
        asked["flow_runs"] = {"state": {"name": {"any_": [state]}}}
    wanted = {"model": model, "version": version}
    found = api.list_all("/flow_runs/filter", asked)
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
