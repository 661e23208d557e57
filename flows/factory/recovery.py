"""Taking up again the flow runs whose process, worker or machine died."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pilotline.flows.factory.signs import GRACE_S, Signs
from pilotline.flows.server.api import PrefectApi
from pilotline.registry.store import now
from pilotline.tasks.errors import SettingsError

MOST_STARTS = 4  # of one piece of work: what kills its process each time is not to do so for ever
WITHIN = timedelta(days=3)  # a weekend without power; what crashed before that is history
TAG = "pilotline"  # of every deployment whose runs may be started again
START = "pilotline-start:"  # with the number of the start: 2 is the first one after a crash
TAKEN_UP = "pilotline-taken-up"  # on a crashed run for which another one has been made
SCHEDULED = "auto-scheduled"  # Prefect's own, on a run that its schedule made
OPEN = ("RUNNING", "PENDING", "CANCELLING")


class Recovery:
    """Looks for runs of one work pool that died, and makes another run of each.

    A run that is suspended, was cancelled, failed or ended well is never touched. Several may look
    at the same server: the server keeps one run for one key.
    """

    def __init__(
        self,
        api: PrefectApi,
        pool: str,
        note: Path,
        *,
        starts_at_once: bool = True,
        grace_s: float = GRACE_S,
    ) -> None:
        """Look at the runs of ``pool``.

        Args:
            api: the server.
            pool: the work pool.
            note: the file that remembers which runs were seen on this machine.
            starts_at_once: whether a worker of the pool waits for no machine and no image.
            grace_s: how long a run elsewhere may give no sign of life.
        """
        self._api, self._pool = api, pool
        self._signs = Signs(api, note, grace_s, starts_at_once=starts_at_once)
        self._heard = True

    def look(self) -> list[str]:
        """Return what was found dead, taken up or given up since the last look."""
        try:
            happened = self._mark_dead() + self._take_up()
        except SettingsError as problem:
            said = [f"runs that died are not taken up: {problem}"] if self._heard else []
            self._heard = False
            return said
        self._heard = True
        return happened

    def _mark_dead(self) -> list[str]:
        happened = []
        for run in self._signs.find_dead(self._list({"type": {"any_": [*OPEN]}})):
            # Its process is gone by now, so that only the worker or a person can still change it.
            found = self._api.get(f"/flow_runs/{run.id}")
            if found is None or found["state_id"] != run.state_id:
                continue
            if (
                found["state_type"] == "CANCELLING"
            ):  # who was to end it died too, and its slot waits
                self._set_state(run.id, "CANCELLED", "Cancelled", run.reason)
                happened.append(f"{found['name']} is cancelled. {run.reason}")
                continue
            self._set_state(run.id, "CRASHED", "Crashed", run.reason)
            happened.append(f"{found['name']} died. {run.reason}")
        return happened

    def _take_up(self) -> list[str]:
        since = (now() - WITHIN).isoformat()
        crashed = self._list({"type": {"any_": ["CRASHED"]}}, {"end_time": {"after_": since}})
        return [self._start_again(run) for run in crashed if TAKEN_UP not in run["tags"]]

    def _start_again(self, run: Mapping[str, Any]) -> str:
        """Make another run of the same work, or none where there were enough."""
        last, starts = run["state"]["message"] or "No reason was given.", _starts_of(run)
        if starts >= MOST_STARTS:
            return self._give_up(run, f"Given up: it crashed {starts} times. The last time: {last}")
        if self._api.get(f"/deployments/{run['deployment_id']}") is None:
            return self._give_up(run, f"Given up: its deployment is gone. It had crashed: {last}")
        kept = [tag for tag in run["tags"] if not tag.startswith(START) and tag != SCHEDULED]
        self._api.post(
            f"/deployments/{run['deployment_id']}/create_flow_run",
            {
                "name": run["name"],
                "parameters": run["parameters"],
                "job_variables": run["job_variables"] or {},
                "work_queue_name": run["work_queue_name"],
                "tags": [*kept, f"{START}{starts + 1}"],
                "idempotency_key": f"{TAKEN_UP}-{run['id']}",
            },
        )
        self._api.patch(f"/flow_runs/{run['id']}", {"tags": [*run["tags"], TAKEN_UP]})
        return (
            f"{run['name']} crashed and is taken up (start {starts + 1} of {MOST_STARTS}): {last}"
        )

    def _give_up(self, run: Mapping[str, Any], reason: str) -> str:
        """End the run as failed, which tells somebody."""
        self._set_state(run["id"], "FAILED", "Failed", reason)
        return f"{run['name']}: {reason}"

    def _set_state(self, run_id: str, kind: str, name: str, message: str) -> None:
        """Propose a state; the server refuses it where the run ended otherwise meanwhile."""
        state = {"type": kind, "name": name, "message": message}
        self._api.post(f"/flow_runs/{run_id}/set_state", {"state": state})

    def _list(
        self, state: Mapping[str, Any], more: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Return the runs of the pool's deployments in ``state``, but for those inside others."""
        wanted = {"state": state, "tags": {"all_": [TAG]}, "parent_task_run_id": {"is_null_": True}}
        return self._api.list_all(
            "/flow_runs/filter",
            {
                "flow_runs": wanted | dict(more or {}),
                "work_pools": {"name": {"any_": [self._pool]}},
                "sort": "START_TIME_ASC",
            },
        )


def _starts_of(run: Mapping[str, Any]) -> int:
    """Return the how-manieth start of its work the run is."""
    found = [tag.removeprefix(START) for tag in run["tags"] if tag.startswith(START)]
    return max((int(number) for number in found if number.isdecimal()), default=1)
