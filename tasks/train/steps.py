"""The steps of a training as Prefect tasks: from the lab, or the champion once more."""

import logging
from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE

from pilotline.tasks.home import Home
from pilotline.tasks.lab import load_champion, load_model_folder
from pilotline.tasks.sandbox import tier_for
from pilotline.tasks.train.descent import name_challenger, train_folder
from pilotline.tasks.train.training import Trained

log = logging.getLogger("pilotline")


@task(cache_policy=NO_CACHE)
def train_from_lab(
    home: Home, name: str, until: date | None, parent: str | None, notes: str
) -> Trained:
    """Train what the lab's folder says and register it."""
    folder = load_model_folder(home.lab, name)
    tier = tier_for(home, folder)
    with home.open_registry() as registry:
        return train_folder(registry, home, tier, folder, until, parent, notes, log.info)


@task(cache_policy=NO_CACHE)
def train_from_champion(home: Home, name: str, until: date) -> Trained:
    """Train the champion's own scripts, configuration and lock, out of its manifest, again."""
    with home.open_registry() as registry:
        champion = load_champion(registry, name)
        folder = champion.folder
        tier = tier_for(home, folder)
        trained = train_folder(registry, home, tier, folder, until, "champion", "", log.info)
        name_challenger(registry, champion, trained)
    return trained
