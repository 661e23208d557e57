"""The step of a verification as a Prefect task."""

import logging

from prefect import task
from prefect.cache_policies import NO_CACHE

from pilotline.registry.record import get_version
from pilotline.tasks.home import Home
from pilotline.tasks.lab import policy_of
from pilotline.tasks.verify.verification import Verified, verify_once

log = logging.getLogger("pilotline")


@task(cache_policy=NO_CACHE)
def verify(home: Home, name: str, number: str, again: bool = False) -> Verified:
    """Verify the version here, unless it passed here before and ``again`` is not asked for."""
    with home.open_registry() as registry:
        with registry.read() as session:
            version = get_version(session, name, number)
        policy = policy_of(home, registry, version)
        return verify_once(registry, home, policy, version, log.info, again=again)
