"""What is owed at one moment, the data it waits for, and which models could go on."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pilotline.registry import Registry
from pilotline.registry.gates import champion
from pilotline.registry.record import ModelVersion
from pilotline.registry.store import now
from pilotline.tasks.errors import LabError, NothingToDoError, StepError, UnknownFolderError
from pilotline.tasks.home import Home
from pilotline.tasks.ingest import DayIngested, Validator, ingest_day
from pilotline.tasks.lab import Schedule, load_dataset
from pilotline.tasks.schedule.nights import Night, input_of, open_nights, schedule_of
from pilotline.tasks.schedule.standing import list_scheduled
from pilotline.tasks.sources import open_source

# A worker of Prefect 3.9.1 takes a run up to 10 s before its time: that is no start too early.
AHEAD = timedelta(minutes=1)

log = logging.getLogger("pilotline")


@dataclass(frozen=True)
class Owed:
    """What a model owes at one moment."""

    dataset: str
    nights: tuple[Night, ...]  # oldest first


@dataclass(frozen=True)
class Fetched:
    """What the source had for the days that were not ingested yet."""

    days: tuple[DayIngested, ...]
    problems: dict[date, str]  # why a day could not be brought in


def find_owed(registry: Registry, name: str) -> Owed:
    """Return what the model owes now.

    Raises:
        NothingToDoError: its champion has no schedule.
    """
    at = now() + AHEAD
    version, schedule = scheduled(registry, name)
    nights = open_nights(registry, name, version, schedule, at)
    return Owed(input_of(registry, version), tuple(nights))


def fetch_days(registry: Registry, home: Home, dataset: str, days: Sequence[date]) -> Fetched:
    """Bring in what the source has of ``days``; a day without rows there yet is left out.

    A dataset that this machine's lab does not describe is brought in by somebody else.
    """
    try:
        described = load_dataset(home.lab, dataset)
    except (UnknownFolderError, LabError) as err:
        log.info("%s is waited for, not fetched: %s", dataset, err)
        return Fetched((), {})
    done, problems = [], {}
    source, validator = open_source(described, home.root), Validator(described)
    for day in days:
        try:
            if source.read(day).num_rows:
                done.append(ingest_day(described, source, validator, day, registry, home.lake))
        except StepError as err:
            problems[day] = str(err)
    return Fetched(tuple(done), problems)


def list_ready(registry: Registry) -> list[str]:
    """Return the models that owe a night whose data is there."""
    return [
        found.model
        for found in list_scheduled(registry, {}, log.warning)
        if any(
            night.ingested
            for night in open_nights(registry, found.model, found.version, found.schedule, now())
        )
    ]


def scheduled(registry: Registry, name: str) -> tuple[ModelVersion, Schedule]:
    """Return the champion and its schedule.

    Raises:
        NothingToDoError: it has none.
    """
    with registry.read() as session:
        version = champion(session, name)
    schedule = schedule_of(registry, version)
    if schedule is None:
        raise NothingToDoError(
            f"Night of {name!r}",
            f"its champion {version.number} has no [schedule]",
            "Write one into model.toml, train and release; or score with 'pilotline score'.",
        )
    return version, schedule
