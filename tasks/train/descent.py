"""One training, from a model's folder to its version: with what it descends from beside it."""

from collections.abc import Callable
from datetime import date

from pilotline.registry import Registry
from pilotline.registry.form import UnknownModelError
from pilotline.registry.gates import look_up, serving_champion
from pilotline.registry.record import (
    ModelVersion,
    get_model,
    get_version,
    list_versions,
    set_challenger,
    status_of,
)
from pilotline.registry.store import Session
from pilotline.tasks.home import Home
from pilotline.tasks.lab import Bundle, ModelFolder, load_bundle
from pilotline.tasks.sandbox import Tier
from pilotline.tasks.train.contents import Request
from pilotline.tasks.train.training import Trained, train_version


def train_folder(
    registry: Registry,
    home: Home,
    tier: Tier,
    folder: ModelFolder,
    until: date | None,
    parent: str | None,
    notes: str,
    say: Callable[[str], None],
) -> Trained:
    """Train what ``folder`` says and register it.

    Args:
        registry: the registry.
        home: the home.
        tier: the isolation.
        folder: the model.
        until: the last data date it may learn from; None: the last there is.
        parent: what it descends from; None: the latest approved version, or else the latest.
        notes: release notes.
        say: told what is done.
    """
    name = folder.spec.name
    with registry.read() as session:
        try:
            current = serving_champion(session, name)
        except UnknownModelError:
            current = None
        origin = _parent(session, name, parent)
    own = load_bundle(registry, origin) if origin else None
    theirs = load_bundle(registry, current) if current else None
    return train_version(registry, home, tier, Request(folder, until, notes, own, theirs), say)


def name_challenger(registry: Registry, champion: Bundle, trained: Trained) -> None:
    """Let the alias ``challenger`` point at what was retrained from the champion, if it is new."""
    with registry.write() as session:
        version = get_version(session, champion.spec.name, trained.number)
        if version.id != champion.version.id:
            set_challenger(session, version, f"retrained from {champion.version.number}")


def _parent(session: Session, name: str, parent: str | None) -> ModelVersion | None:
    """Return what a version descends from: what is named, else the latest approved one."""
    if parent is not None:
        return look_up(session, name, parent)  # also one that must not run any more
    try:
        model = get_model(session, name)
    except UnknownModelError:
        return None
    versions = list_versions(session, model.id)
    approved = [v for v in versions if status_of(session, v) == "approved"]
    return max(approved or versions, key=lambda v: v.id, default=None)
