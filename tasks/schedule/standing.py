"""How the models that have a schedule stand, all of them at once: for schedules and overviews."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pilotline.registry import Registry
from pilotline.registry.form import RegistryError
from pilotline.registry.gates import Shown, list_serving
from pilotline.registry.record import ModelVersion
from pilotline.tasks.errors import LabError
from pilotline.tasks.lab import Schedule
from pilotline.tasks.schedule.nights import schedule_of

LOOK_BACK = timedelta(days=32)  # further back the last night of a monthly schedule cannot lie


@dataclass(frozen=True)
class Scheduled:
    """A champion with a schedule."""

    model_id: int
    model: str
    version: ModelVersion
    schedule: Schedule
    since: datetime  # when the model's first champion began to count


def list_scheduled(
    registry: Registry, known: dict[str, Schedule | None], warn: Callable[[str], None]
) -> list[Scheduled]:
    """Return each champion that has a schedule, by its model's name.

    Args:
        registry: the registry.
        known: schedules read before, by version digest; new ones are added.
        warn: told of a version that cannot be read; the others are not held up.
    """
    with registry.read() as session:
        serving = list_serving(session)
    found = []
    for champion in serving:
        version = champion.version
        if version.digest not in known:
            try:
                known[version.digest] = schedule_of(registry, version)
            except (LabError, RegistryError) as err:
                warn(f"{champion.model} {version.number} is not scheduled: {err}")
                continue
        schedule = known[version.digest]
        if schedule is not None:
            found.append(
                Scheduled(champion.model_id, champion.model, version, schedule, champion.since)
            )
    return found


@dataclass(frozen=True)
class Standing:
    """How a scheduled model's last night stands."""

    model: str
    version: str
    schedule: str
    last: date | None  # the last day that readers see
    owed: date | None  # the last day that was due
    delivered_at: datetime | None  # when the owed day was there
    deadline: datetime | None  # of the owed day
    next_due: datetime | None

    @property
    def behind(self) -> bool:
        """Whether the last day that was due is not there."""
        return self.owed is not None and self.delivered_at is None


def stand(found: Scheduled, shown: Shown | None, at: datetime) -> Standing:
    """Return how the last night of a model stands; of the nights before it nothing is said."""
    schedule = found.schedule
    days = schedule.nights(max(found.since, at - LOOK_BACK), at)
    owed = days[-1] if days else None
    delivered = shown.at if shown and owed and shown.date >= owed else None
    coming = schedule.next_night(at)
    return Standing(
        found.model,
        found.version.number,
        f"{schedule.cron.text} {schedule.timezone}",
        shown.date if shown else None,
        owed,
        delivered,
        schedule.deadline(owed) if owed else None,
        schedule.due(coming) if coming else None,
    )
