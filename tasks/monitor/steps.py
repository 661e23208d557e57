"""The steps of monitoring as Prefect tasks: performance and drift, staleness, retraining."""

from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE

from pilotline.tasks.home import Home
from pilotline.tasks.lab import load_champion
from pilotline.tasks.monitor.monitoring import Watch, monitor_champion
from pilotline.tasks.monitor.retraining import Evidence, request_retraining
from pilotline.tasks.monitor.staleness import Stale, find_stale


@task(cache_policy=NO_CACHE)
def monitor_days(home: Home, name: str, day: date) -> Watch:
    """Judge the champion up to ``day``: realized performance, and drift over windows."""
    with home.open_registry() as registry:
        return monitor_champion(registry, home, name, day)


@task(cache_policy=NO_CACHE)
def check_staleness(home: Home, name: str, day: date) -> list[Stale]:
    """Return what the champion lives on and is too old on ``day``, and record it."""
    with home.open_registry() as registry:
        return find_stale(registry, load_champion(registry, name), day)


@task(cache_policy=NO_CACHE)
def ask_to_retrain(home: Home, name: str, until: date) -> Evidence:
    """Record a retraining if the champion's policy allows it."""
    with home.open_registry() as registry:
        return request_retraining(registry, home, load_champion(registry, name), until)
