"""Aliases: movable pointers at versions; ``champion`` is protected and moves by promotion only."""

from sqlalchemy import ForeignKey, String, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from pilotline.registry.form import AliasError, ConflictError, NameRefusedError, check_name
from pilotline.registry.record.events import Event, append_event
from pilotline.registry.record.versions import ModelVersion, standing_of
from pilotline.registry.store import Base

CHAMPION = "champion"
CHALLENGER = "challenger"


class Alias(Base):
    """Present state: where one alias of a model points, and the event that put it there."""

    __tablename__ = "alias"

    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    event_id: Mapped[int] = mapped_column(ForeignKey("event.id"))


def get_alias(session: Session, model_id: int, name: str) -> Alias | None:
    """Return the alias, or None where it was never set; reads only."""
    return session.get(Alias, (model_id, name))


def aliased_version(session: Session, model_id: int, name: str) -> ModelVersion | None:
    """Return the version the alias points at, or None where it was never set; reads only."""
    alias = get_alias(session, model_id, name)
    return session.get(ModelVersion, alias.version_id) if alias else None


def aliases_of(session: Session, version: ModelVersion) -> list[str]:
    """Return the names of the aliases that point at ``version``; reads only."""
    query = select(Alias.name).where(Alias.version_id == version.id).order_by(Alias.name)
    return list(session.scalars(query))


def move_alias(
    session: Session, event: Event, name: str, version: ModelVersion, expected: int | None
) -> None:
    """Point ``name`` at ``version`` by compare-and-swap, beside ``event``; flushes only.

    Args:
        session: a writing session.
        event: what happened, already in the chain.
        name: the alias.
        version: where it points from now on.
        expected: id of the version it points at now, None where it does not exist.

    Raises:
        ConflictError: it points elsewhere by now.
    """
    if expected is None:
        if get_alias(session, version.model_id, name) is not None:
            raise ConflictError(f"Alias {name!r}", "none yet", "one set meanwhile")
        session.add(
            Alias(model_id=version.model_id, name=name, version_id=version.id, event_id=event.id)
        )
        session.flush()
        return
    moved = session.execute(
        update(Alias)
        .where(Alias.model_id == version.model_id, Alias.name == name, Alias.version_id == expected)
        .values(version_id=version.id, event_id=event.id)
        .returning(Alias.version_id)
    ).all()
    if not moved:
        raise ConflictError(f"Alias {name!r}", f"version id {expected}", "another version")


def drop_alias(session: Session, name: str, version: ModelVersion) -> None:
    """Remove alias ``name`` if it points at ``version``; beside the caller's event."""
    alias = get_alias(session, version.model_id, name)
    if alias is not None and alias.version_id == version.id:
        session.delete(alias)
        session.flush()


def set_challenger(session: Session, version: ModelVersion, why: str) -> None:
    """Point ``challenger`` at ``version`` beside its event; flushes, the caller commits."""
    current = get_alias(session, version.model_id, CHALLENGER)
    if current is not None and current.version_id == version.id:
        return
    event = append_event(
        session,
        version.model_id,
        "challenger set",
        {"version": version.number, "digest": version.digest, "why": why},
    )
    move_alias(session, event, CHALLENGER, version, current.version_id if current else None)


def set_alias(session: Session, name: str, version: ModelVersion) -> None:
    """Point ``name`` at ``version`` beside its event; flushes, the caller commits.

    Raises:
        AliasError: the name is protected or odd, or the version is out of use.
    """
    _check_alias(name)
    status = standing_of(session, version)
    if status in ("revoked", "archived"):
        raise AliasError(name, f"version {version.number} is {status}", "Point at another one.")
    current = get_alias(session, version.model_id, name)
    if current is not None and current.version_id == version.id:
        return
    body = {"alias": name, "version": version.number, "digest": version.digest}
    event = append_event(session, version.model_id, "alias set", body)
    move_alias(session, event, name, version, current.version_id if current else None)


def remove_alias(session: Session, model_id: int, name: str) -> None:
    """Remove alias ``name`` beside its event; flushes, the caller commits.

    Raises:
        AliasError: the name is protected, or there is no such alias.
    """
    if name == CHAMPION:
        _check_alias(name)
    alias = get_alias(session, model_id, name)
    if alias is None:
        raise AliasError(name, "the model has no such alias", "See 'pilotline show MODEL'.")
    append_event(session, model_id, "alias removed", {"alias": name})
    session.delete(alias)
    session.flush()


def _check_alias(name: str) -> None:
    if name == CHAMPION:
        raise AliasError(
            name, "it is protected", "It moves by 'pilotline release' and 'pilotline rollback'."
        )
    if name == CHALLENGER:
        return
    try:
        check_name(name)
    except NameRefusedError as err:
        raise AliasError(
            name, "expected 1 to 63 of a-z, 0-9 and '-', no reserved word", "Choose another."
        ) from err
