"""Keeping one deployment night/MODEL for each champion that has a schedule, and no others."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from pilotline.flows.server.api import PrefectApi, quote
from pilotline.registry.form import digest_json
from pilotline.registry.store import now
from pilotline.tasks.errors import SettingsError
from pilotline.tasks.logs import about
from pilotline.tasks.schedule import Scheduled

TAG = "pilotline-night"
# What a model's deployment takes over from the one in deployments/prefect.yaml.
SHARED = (
    "flow_id",
    "entrypoint",
    "path",
    "pull_steps",
    "work_pool_name",
    "parameter_openapi_schema",
    "enforce_parameter_schema",
)

log = logging.getLogger("pilotline")


def sync_schedules(
    api: PrefectApi, wanted: Sequence[Scheduled], stopped: Callable[[], bool] = lambda: False
) -> int:
    """Make the server's schedules those of the champions; return how many were changed.

    A schedule that somebody paused stays paused until the champion's own says something else.

    Raises:
        SettingsError: the server does not answer, or has not the deployments of prefect.yaml.
    """
    template = api.get("/deployments/name/night/night")
    if template is None:
        raise SettingsError(
            f"Prefect server {api.url!r}",
            "has no deployment 'night/night'",
            "Run 'pilotline up', or 'prefect deploy --all' as deployments/prefect.yaml says.",
        )
    found = {deployment["name"]: deployment for deployment in list_nights(api)}
    bodies = {scheduled.model: describe_night(template, scheduled) for scheduled in wanted}
    changed = [s for s in wanted if not _is_current(found.get(s.model), bodies[s.model])]
    gone = [deployment for name, deployment in found.items() if name not in bodies]
    for scheduled in changed:
        if stopped():
            return 0
        body = bodies[scheduled.model]
        api.post("/deployments/", body)
        with about(model=scheduled.model, version=scheduled.version.number):
            log.info("scheduled %s: %s", scheduled.model, body["description"])
    for deployment in gone:
        api.delete(f"/deployments/{deployment['id']}")
        with about(model=deployment["name"]):
            log.info("not scheduled any more: %s", deployment["name"])
    return len(changed) + len(gone)


def _is_current(found: dict[str, Any] | None, body: dict[str, Any]) -> bool:
    """Tell whether a deployment is as it should be; one whose pool was deleted is in none."""
    return found is not None and all(
        found[name] == body[name] for name in ("version", "work_pool_name")
    )


def list_nights(api: PrefectApi) -> list[dict[str, Any]]:
    """Return the deployments that this file keeps."""
    return api.list_all(
        "/deployments/filter", {"deployments": {"tags": {"all_": [TAG]}}, "sort": "NAME_ASC"}
    )


def describe_night(template: dict[str, Any], scheduled: Scheduled) -> dict[str, Any]:
    """Return the deployment of one model's nights; its version says whether it is up to date."""
    schedule = scheduled.schedule
    limit = template.get("global_concurrency_limit") or {}
    body = {name: template[name] for name in SHARED} | {
        "name": scheduled.model,
        "description": f"{schedule.cron.text} ({schedule.timezone}), "
        f"by the [schedule] of {scheduled.model} {scheduled.version.number}",
        "parameters": {"model": scheduled.model},
        "tags": ["pilotline", TAG],
        "concurrency_limit": limit.get("limit"),
        "concurrency_options": template["concurrency_options"],
        "schedules": [{"schedule": {"cron": schedule.cron.text, "timezone": schedule.timezone}}],
    }
    return body | {"version": digest_json(body)[:32]}


def drop_missed(api: PrefectApi) -> int:
    """Remove the starts that were missed while nothing ran, but for one of each model.

    The first of them does all that is owed; the others would start a process to find that out.
    """
    missed = {
        "state": {"type": {"any_": ["SCHEDULED"]}},
        "expected_start_time": {"before_": now().isoformat()},
        "tags": {"all_": [TAG]},
    }
    late = api.list_all(
        "/flow_runs/filter", {"flow_runs": missed, "sort": "EXPECTED_START_TIME_DESC"}
    )
    newest: set[str] = set()
    dropped = 0
    for run in late:
        if run["deployment_id"] in newest and run.get("auto_scheduled"):
            api.delete(f"/flow_runs/{quote(run['id'])}")
            dropped += 1
        newest.add(run["deployment_id"])
    return dropped
