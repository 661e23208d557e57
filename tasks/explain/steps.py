"""The step of a replay as a Prefect task."""

import logging

from prefect import task
from prefect.cache_policies import NO_CACHE

from pilotline.tasks.explain.replaying import Replayed, replay_on_record
from pilotline.tasks.home import Home

log = logging.getLogger("pilotline")


@task(cache_policy=NO_CACHE)
def replay(home: Home, run_id: str) -> Replayed:
    """Score a run again from the record alone and compare; nothing is written."""
    with home.open_registry() as registry:
        return replay_on_record(registry, home, run_id, log.info)
