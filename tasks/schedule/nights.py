"""Nights of a model: the days its schedule owes, what they wait for, and when they were delivered.

Everything is worked out from the registry each time, so that a factory that was down, or a run that
was started twice, leaves no night out and does none twice.
"""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from pilotline.registry import Registry
from pilotline.registry.form import RegistryError, digest_json
from pilotline.registry.record import (
    Metric,
    ModelVersion,
    get_model,
    get_version,
    record_metric,
    reigns,
)
from pilotline.registry.runs import (
    PRODUCTION,
    find_partition,
    last_outcomes,
    outcome_of,
    visible_runs,
)
from pilotline.registry.store import Session, now
from pilotline.tasks.errors import LabError
from pilotline.tasks.lab import Schedule, Table, read_schedule

MARGIN = "delivery_margin_s"  # seconds from delivery to its deadline; negative: late


@dataclass(frozen=True)
class Night:
    """One day that is due and that readers do not see yet."""

    date: date
    due: datetime
    deadline: datetime | None
    ingested: bool
    problem: str = ""  # why its last run failed


@dataclass(frozen=True)
class Delivery:
    """When a night's predictions were there, and until when they were wanted."""

    date: date
    at: datetime
    deadline: datetime | None

    @property
    def on_time(self) -> bool:
        """Whether they were there when they were wanted."""
        return self.deadline is None or self.at <= self.deadline


def schedule_of(registry: Registry, version: ModelVersion) -> Schedule | None:
    """Return the schedule in a version's own ``model.toml``, None where it has none.

    Raises:
        LabError, RegistryError: it cannot be read.
    """
    name, top = _read_config(registry, version)
    if "schedule" not in top:
        return None
    return read_schedule(Table(f"model.toml of {name} {version.number}", top).table("schedule"))


def input_of(registry: Registry, version: ModelVersion) -> str:
    """Return the dataset whose days a version scores; what it joins may be older."""
    return str(_read_config(registry, version)[1]["data"]["inputs"][0])


def _read_config(registry: Registry, version: ModelVersion) -> tuple[str, dict[str, Any]]:
    """Return the model's name and its ``model.toml``; both blobs are hashed again, not more.

    Whoever runs a version loads all of it with every check; this is read for each model at once.
    """
    manifest = json.loads(registry.blobs.get(version.digest))
    files = {file["path"]: file["sha256"] for file in manifest["files"]}
    config = registry.blobs.get(files["model.toml"])
    return manifest["model"], tomllib.loads(config.decode())


def open_nights(
    registry: Registry, name: str, version: ModelVersion, schedule: Schedule, at: datetime
) -> list[Night]:
    """Return the nights that are due at ``at`` and that readers do not see, oldest first.

    They count from when the model's champions began to have a schedule.
    """
    dataset = input_of(registry, version)
    days = schedule.nights(_scheduled_since(registry, name), at)
    if not days:
        return []
    with registry.read() as session:
        model_id = get_model(session, name).id
        shown = visible_runs(session, model_id, PRODUCTION, days[0], days[-1])
        outcomes = last_outcomes(session, model_id, PRODUCTION, days[0], days[-1])
        return [
            Night(
                day,
                schedule.due(day) or at,
                schedule.deadline(day),
                find_partition(session, dataset, day) is not None,
                outcome.reason if (outcome := outcomes.get(day)) is not None else "",
            )
            for day in days
            if day not in shown
        ]


def _scheduled_since(registry: Registry, name: str) -> datetime:
    """Return when the present row of champions with a schedule began, in business time."""
    with registry.read() as session:
        history = reigns(session, name)
        versions = [get_version(session, name, reign.number) for reign in history]
    since = now()
    known: dict[int, bool] = {}
    for reign, version in zip(reversed(history), reversed(versions), strict=True):
        if version.id not in known:
            known[version.id] = _has_schedule(registry, version)
        if not known[version.id]:
            break
        since = min(since, reign.effective_from)
    return since


def _has_schedule(registry: Registry, version: ModelVersion) -> bool:
    try:
        return schedule_of(registry, version) is not None
    except (LabError, RegistryError):  # an archived one may have no bytes any more
        return False


def judge_deliveries(
    registry: Registry, name: str, schedule: Schedule, days: Sequence[date]
) -> list[Delivery]:
    """Record how long before its deadline each day was delivered; return what was found."""
    found = []
    with registry.write() as session:
        model_id = get_model(session, name).id
        shown = visible_runs(session, model_id, PRODUCTION, min(days), max(days)) if days else {}
        for day in sorted(set(days) & set(shown)):
            outcome = outcome_of(session, shown[day])
            assert outcome is not None
            delivery = Delivery(day, outcome.ended_at, schedule.deadline(day))
            found.append(delivery)
            _record(session, shown[day].version_id, delivery, outcome.run_id, outcome.rows)
    return found


def _record(session: Session, version_id: int, delivery: Delivery, run_id: str, rows: int) -> None:
    if delivery.deadline is None:
        return
    deadline = delivery.deadline
    record_metric(
        session,
        Metric(
            version_id=version_id,
            kind="delivery",
            name=MARGIN,
            value=(deadline - delivery.at).total_seconds(),
            start=delivery.date,
            end=delivery.date,
            variant=PRODUCTION,
            rows=rows,
            basis=digest_json({"run": run_id, "deadline": deadline.isoformat()}),
        ),
    )


def describe_deadline(deadline: datetime | None, delivered: datetime | None, at: datetime) -> str:
    """Return in words whether a night was, or still can be, delivered on time."""
    if deadline is None:
        return ""
    moment = delivered or at
    minutes = round(abs((deadline - moment).total_seconds()) / 60)
    length = f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
    if delivered is not None:
        return "on time" if delivered <= deadline else f"{length} late"
    shown = deadline.astimezone(UTC)
    return f"due in {length}" if shown >= at else f"overdue by {length}"
