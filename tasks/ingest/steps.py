"""The step of an ingest as a Prefect task: a range of days brought in."""

from collections.abc import Callable
from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE

from pilotline.tasks.home import Home
from pilotline.tasks.ingest.days import DayIngested, ingest_days
from pilotline.tasks.ingest.ranges import list_days, tell_each
from pilotline.tasks.ingest.validation import Validator
from pilotline.tasks.lab import load_dataset
from pilotline.tasks.sources import open_source


@task(cache_policy=NO_CACHE)
def ingest_range(
    home: Home, name: str, start: date, end: date, tell: Callable[[DayIngested], None]
) -> list[DayIngested]:
    """Bring the days of a range in, oldest first, the checks set up once.

    Args:
        home: the home.
        name: of the dataset.
        start: first day.
        end: last day, included.
        tell: told of each day that is in, also of those before one that is refused.

    Raises:
        NothingToDoError: the range is empty.
        PartitionRefusedError, SourceError, LakeError: a day failed; those before it are in.
    """
    dataset = load_dataset(home.lab, name)
    source = open_source(dataset, home.root)
    days = list_days(name, start, end)
    validator = Validator(dataset)
    with home.open_registry() as registry:
        return tell_each(ingest_days(dataset, source, validator, days, registry, home.lake), tell)
