"""The isolation a model runs in on this machine, if factory and model are content with it."""

import logging
from functools import cache

from pilotline.registry.gates import tighten
from pilotline.tasks.home import Home
from pilotline.tasks.lab import ModelFolder, factory_policy, read_wishes
from pilotline.tasks.sandbox.walls import NO_BOUNDARY, Tier, require_isolation

log = logging.getLogger("pilotline")


def tier_for(home: Home, folder: ModelFolder) -> Tier:
    """Return this machine's tier for the model in ``folder``.

    Raises:
        PolicyError: the policy cannot be read, or the model asks for less than it.
        IsolationError: this machine has less than they ask for.
    """
    wishes = read_wishes(folder.files["model.toml"])
    policy = tighten(factory_policy(home), f"model.toml of {folder.spec.name}", wishes)
    tier = require_isolation(policy.minimum_isolation)
    if tier.name == "C":
        warn_once(f"Isolation tier C ({tier.why}): {NO_BOUNDARY}.")
    return tier


@cache
def warn_once(text: str) -> None:
    """Log a warning once a command; each run records its tier besides."""
    log.warning(text)
