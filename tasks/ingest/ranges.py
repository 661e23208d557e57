"""A range of days to bring in: which they are, and each told and logged once it is in."""

import logging
from collections.abc import Callable, Iterable
from datetime import date, timedelta

from pilotline.tasks.errors import NothingToDoError
from pilotline.tasks.ingest.days import DayIngested
from pilotline.tasks.logs import about

log = logging.getLogger("pilotline")


def list_days(name: str, start: date, end: date) -> list[date]:
    """Return the days to bring in of dataset ``name``, oldest first, both ends included.

    Raises:
        NothingToDoError: the range is empty.
    """
    if end < start:
        raise NothingToDoError(
            f"Ingest of {name!r}", f"{end} is before {start}", "Swap --start and --end."
        )
    return [start + timedelta(days=n) for n in range((end - start).days + 1)]


def tell_each(
    results: Iterable[DayIngested], tell: Callable[[DayIngested], None]
) -> list[DayIngested]:
    """Return all results; each is told and logged as it comes, also before one that is refused."""
    done = []
    for result in results:
        done.append(result)
        tell(result)
        with about(date=result.date):
            log.info(
                "%s %s: %s accepted, %s quarantined",
                result.dataset,
                result.date,
                result.accepted,
                result.quarantined,
            )
            if result.note:
                log.warning("%s %s: %s", result.dataset, result.date, result.note)
    return done
