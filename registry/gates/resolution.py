"""Resolving the champion with every check that production needs, in three small queries."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from pilotline.registry.form import (
    GarbledError,
    NoChampionError,
    RegistryError,
    UnknownModelError,
    VersionUnfitError,
)
from pilotline.registry.gates.approvals import Approval, approval_digest
from pilotline.registry.gates.policy import GATES
from pilotline.registry.record import (
    CHAMPION,
    KINDS,
    Alias,
    Event,
    ModelVersion,
    RegisteredModel,
    VersionStatus,
    get_alias,
    get_model,
    get_version,
    hash_event,
    list_events,
    refuse_tampered,
    reign_at,
    standing_of,
)

OUT_OF_USE = ("rejected", "revoked", "archived")
_CHAMPION = (
    select(
        RegisteredModel.id,
        ModelVersion.id.label("version_id"),
        ModelVersion.major,
        ModelVersion.minor,
        ModelVersion.patch,
        ModelVersion.digest,
        VersionStatus.status,
        *(getattr(Event, name) for name in ("chain", "seq", "kind", "body", "recorded_at")),
        *(getattr(Event, name) for name in ("effective_from", "previous", "hash")),
    )
    .outerjoin(Alias, (Alias.model_id == RegisteredModel.id) & (Alias.name == CHAMPION))
    .outerjoin(ModelVersion, ModelVersion.id == Alias.version_id)
    .outerjoin(VersionStatus, VersionStatus.version_id == ModelVersion.id)
    .outerjoin(Event, Event.id == Alias.event_id)
    .where(RegisteredModel.name == bindparam("name"))
)
_LOG = (
    select(Event.seq, Event.kind, Event.body)
    .where(Event.chain == bindparam("chain"), Event.kind.in_((*KINDS, "revoked")))
    .order_by(Event.seq)
)
_APPROVALS = select(
    *(getattr(Approval, name) for name in ("gate", "decision", "approver", "identity", "comment")),
    *(getattr(Approval, name) for name in ("manifest_digest", "policy_digest", "recorded_at")),
).where(Approval.version_id == bindparam("version_id"))


@dataclass(frozen=True)
class Champion:
    """The champion, resolved."""

    model_id: int
    version_id: int
    number: str
    digest: str
    status: str  # approved or deprecated
    effective_from: datetime
    event: str  # hash of the promotion or rollback that put it there


def resolve_champion(connection: Connection, name: str) -> Champion:
    """Return the champion of ``name``, with every check that production needs; reads only.

    Checked are: the alias against the last promotion in the log; the event's hash; two approvals
    over exactly the digest, each still the row that was counted; status, and revocation in the log.

    Raises:
        UnknownModelError, NoChampionError: there is none.
        VersionUnfitError: it must not run, or the record does not hold together.
    """
    with _held_together(name):
        return _resolve(connection, name)


def _resolve(connection: Connection, name: str) -> Champion:
    row = connection.execute(_CHAMPION, {"name": name}).first()
    if row is None:
        known = connection.scalars(select(RegisteredModel.name).order_by(RegisteredModel.name))
        raise UnknownModelError(name, list(known))
    log = connection.execute(_LOG, {"chain": name}).all()
    last = next((entry for entry in reversed(log) if entry.kind in KINDS), None)
    if row.version_id is None:
        if last is not None:
            refuse_tampered(
                name, str(_facts(last).get("version")), "was champion, but no alias says so"
            )
        raise NoChampionError(name)
    number = f"{row.major}.{row.minor}.{row.patch}"
    if row.seq is None or last is None or last.seq != row.seq:
        refuse_tampered(name, number, "is not what the last promotion on record says")
    approvals = connection.execute(_APPROVALS, {"version_id": row.version_id}).all()
    revoked = {_facts(entry).get("version") for entry in log if entry.kind == "revoked"}
    status = "revoked" if number in revoked else row.status
    _check(name, number, row.digest, status, row, approvals)
    return Champion(
        row.id, row.version_id, number, row.digest, row.status, row.effective_from, row.hash
    )


def champion(session: Session, name: str) -> ModelVersion:
    """Return the champion as ``resolve_champion`` finds it; reads only.

    Raises:
        UnknownModelError, NoChampionError: there is none.
        VersionUnfitError: it must not run, or the record does not hold together.
    """
    found = resolve_champion(session.connection(), name)
    with _held_together(name):
        return session.get_one(ModelVersion, found.version_id)


def serving_champion(session: Session, name: str) -> ModelVersion | None:
    """Return the champion, None where there is none that may run; reads only.

    Raises:
        UnknownModelError: the model is not registered.
        VersionUnfitError: the record does not hold together.
    """
    alias = get_alias(session, get_model(session, name).id, CHAMPION)
    if alias is not None:
        version = session.get(ModelVersion, alias.version_id)
        if version is not None and standing_of(session, version) in OUT_OF_USE:
            return None
    try:
        return champion(session, name)
    except NoChampionError:
        return None


def champion_at(
    session: Session, name: str, at: datetime, known_at: datetime | None = None
) -> ModelVersion:
    """Return the version that was champion at ``at`` (business time); reads only.

    Raises:
        UnknownModelError: the model is not registered.
        NoChampionError: none yet at that time.
        VersionUnfitError: that version must not run any more.
    """
    with _held_together(name):
        version = get_version(session, name, reign_at(session, name, at, known_at).number)
        check_resolvable(session, name, version, promotion_of(session, version))
    return version


def promoted_version(session: Session, name: str, number: str) -> ModelVersion:
    """Return version ``number`` if it was champion once and may still run; reads only.

    Raises:
        UnknownModelError, UnknownVersionError: no such version.
        VersionUnfitError: it was never promoted, or must not run any more.
    """
    with _held_together(name, number):
        version = get_version(session, name, number)
        check_resolvable(session, name, version, promotion_of(session, version))
    return version


def promotion_of(session: Session, version: ModelVersion) -> Event:
    """Return the last promotion of ``version``, whose evidence it runs on; reads only.

    Raises:
        VersionUnfitError: it was never promoted.
    """
    for event in reversed(list_events(session, version.model_id, "promoted")):
        if event.facts()["version"] == version.number:
            return event
    name = session.get_one(RegisteredModel, version.model_id).name
    raise VersionUnfitError(
        name,
        version.number,
        "was never champion, so it may not write production's predictions",
        f"Score it beside production: 'pilotline score {name} --date D --shadow {version.number}'.",
    )


def check_resolvable(
    session: Session,
    name: str,
    version: ModelVersion,
    event: Event,
    kinds: Iterable[str] = KINDS,
) -> None:
    """Do nothing if ``version`` may run on the evidence in ``event``; reads only.

    Args:
        session: a reading session.
        name: the model.
        version: which is to score production's rows.
        event: what admitted it.
        kinds: what such an event may be.

    Raises:
        VersionUnfitError: it must not.
    """
    get_model(session, name)
    status = standing_of(session, version)
    approvals = session.connection().execute(_APPROVALS, {"version_id": version.id}).all()
    _check(name, version.number, version.digest, status, event, approvals, kinds)


@contextmanager
def _held_together(name: str, number: str = CHAMPION) -> Iterator[None]:
    """Say in words what comes of rows that are missing or hold nonsense.

    Raises:
        VersionUnfitError: a row cannot be read.
    """
    try:
        yield
    except GarbledError as err:
        refuse_tampered(name, number, f"stands on a damaged row ({err.problem})")
    except RegistryError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, NoResultFound) as err:
        refuse_tampered(name, number, f"stands on a damaged row ({err})")


def _facts(event: Any) -> dict[str, Any]:
    """Return what an event says; nothing where somebody made it something else."""
    try:
        facts = json.loads(event.body)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _check(
    name: str,
    number: str,
    digest: str,
    status: str | None,
    event: Any,
    approvals: Iterable[Any],
    kinds: Iterable[str] = KINDS,
) -> None:
    if status is None:
        refuse_tampered(name, number, "has no status any more")
    if status in OUT_OF_USE:
        raise VersionUnfitError(name, number, f"is {status}", "Promote another version first.")
    facts = {"approvals": [], "digest": ""} | _facts(event)  # perhaps of another kind
    counted = {e["gate"]: e["approval"] for e in facts["approvals"] if e["digest"] == digest}
    named = (facts.get("version"), facts["digest"]) == (number, digest)
    fits = event.kind in kinds and named and set(counted) == set(GATES)
    if not fits or event.hash != hash_event(event):
        refuse_tampered(name, number, "was promoted without two approvals over its digest")
    if not set(counted.values()) <= {approval_digest(approval) for approval in approvals}:
        refuse_tampered(name, number, "has not the approvals any more that its promotion counted")
