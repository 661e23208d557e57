"""Which days of a dataset are new: those after the last one that is in, up to yesterday."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from pilotline.registry import Registry
from pilotline.registry.runs import last_day
from pilotline.tasks.errors import NothingToDoError
from pilotline.tasks.lab import Dataset


def find_new_days(
    registry: Registry, dataset: Dataset, end: date | None, moment: datetime
) -> tuple[date, date] | None:
    """Return the first and the last day that are not in yet, or None if all are.

    A day is in wholly or not at all, and a range stops at the first day it cannot bring in: the
    last one that is in is the last complete one. Without ``end`` the last new day is yesterday in
    the dataset's own zone, since today is not over.

    Args:
        registry: the registry.
        dataset: what is brought in.
        end: the last day to bring in, included.
        moment: now, with a zone.

    Raises:
        NothingToDoError: nothing was ingested yet, so that there is no day to go on from.
    """
    until = end or moment.astimezone(ZoneInfo(dataset.zone)).date() - timedelta(days=1)
    with registry.read() as session:
        last = last_day(session, dataset.name, until)  # a day to come says nothing of those before
    if last is None:
        raise NothingToDoError(
            f"New days of {dataset.name!r}",
            "nothing is ingested yet, and nobody can tell where its data begin",
            f"Begin with 'pilotline ingest {dataset.name} --start DATE --end DATE'.",
        )
    return (last + timedelta(days=1), until) if until > last else None
