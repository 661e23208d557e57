"""The steps of a night as Prefect tasks: what is due, its data, and when it was delivered."""

import logging
from collections.abc import Sequence
from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE

from pilotline.tasks.home import Home
from pilotline.tasks.schedule.nights import Delivery, judge_deliveries
from pilotline.tasks.schedule.owed import (
    Fetched,
    Owed,
    fetch_days,
    find_owed,
    list_ready,
    scheduled,
)

log = logging.getLogger("pilotline")


@task(cache_policy=NO_CACHE)
def find_nights(home: Home, name: str) -> Owed:
    """Return what the model owes now."""
    with home.open_registry() as registry:
        owed = find_owed(registry, name)
    log.info("%s owes %s night%s", name, len(owed.nights), "s" * (len(owed.nights) != 1))
    return owed


@task(cache_policy=NO_CACHE)
def fetch_nights(home: Home, dataset: str, days: Sequence[date]) -> Fetched:
    """Bring in what the source has of ``days``."""
    with home.open_registry() as registry:
        return fetch_days(registry, home, dataset, days)


@task(cache_policy=NO_CACHE)
def judge_nights(home: Home, name: str, days: Sequence[date]) -> list[Delivery]:
    """Record whether each of ``days`` was delivered in time."""
    with home.open_registry() as registry:
        _, schedule = scheduled(registry, name)
        return judge_deliveries(registry, name, schedule, days)


@task(cache_policy=NO_CACHE)
def find_ready(home: Home) -> list[str]:
    """Return the models that owe a night whose data is there."""
    with home.open_registry() as registry:
        return list_ready(registry)
