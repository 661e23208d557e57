"""The steps of a release as Prefect tasks: the evaluation, the gates and the promotion."""

import logging
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from pilotline.registry.gates import Wish, serving_champion
from pilotline.registry.record import Reign, get_version
from pilotline.tasks.decide.gate import Gate, find_gate, promote_compared
from pilotline.tasks.home import Home
from pilotline.tasks.lab import policy_of
from pilotline.tasks.train import face_champion

log = logging.getLogger("pilotline")


@task(cache_policy=NO_CACHE)
def check_evaluation(home: Home, name: str, number: str) -> list[dict[str, Any]]:
    """Return the evaluation's checks that failed; none means the version may be reviewed.

    Where another one became champion since it was trained, it is compared with that first.

    Raises:
        VersionUnfitError: it cannot be compared with the champion any more.
    """
    with home.open_registry() as registry:
        with registry.read() as session:
            version = get_version(session, name, number)
        evaluation = face_champion(registry, home, version, log.info)
    return [check for check in evaluation["checks"] if not check["passed"]]


@task(cache_policy=NO_CACHE)
def read_gate(home: Home, name: str, number: str, gate: str) -> Gate:
    """Return where the version stands at ``gate``, from the recorded decisions alone."""
    with home.open_registry() as registry:
        with registry.read() as session:
            version = get_version(session, name, number)
        policy = policy_of(home, registry, version)
        with registry.read() as session:
            return find_gate(session, version, gate, policy)


@task(cache_policy=NO_CACHE)
def promote_version(home: Home, name: str, number: str, wish: Wish) -> Reign:
    """Make the version champion, consuming its approvals, and tell its consumers."""
    with home.open_registry() as registry:
        with registry.read() as session:
            version = get_version(session, name, number)
        return promote_compared(registry, home, name, version, wish)


@task(cache_policy=NO_CACHE)
def is_champion(home: Home, name: str, number: str) -> bool:
    """Tell whether the version is champion already.

    Raises:
        UnknownModelError, UnknownVersionError: no such version.
    """
    with home.open_registry() as registry, registry.read() as session:
        version = get_version(session, name, number)
        current = serving_champion(session, name)
        return current is not None and current.id == version.id
