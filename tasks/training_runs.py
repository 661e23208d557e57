"""One training, from a model's folder to its version: with what it descends from beside it."""

from collections.abc import Callable
from datetime import date

from registry import Registry
from registry.aliases import set_challenger
from registry.errors import UnknownModelError
from registry.models import get_model
from registry.references import look_up
from registry.resolution import serving_champion
from registry.store import Session
from registry.versions import ModelVersion, get_version, list_versions, status_of
from tasks.bundle import Bundle, load_bundle
from tasks.home import Home
from tasks.model_folder import ModelFolder
from tasks.sandbox import Tier
from tasks.training import Trained, train_version
from tasks.version_contents import Request


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
