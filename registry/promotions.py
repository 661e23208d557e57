"""Promotion to champion, the checks that guard it, and which version was champion when."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from registry.aliases import CHALLENGER, CHAMPION, drop_alias, get_alias, move_alias
from registry.approvals import Approval, ApprovalUse, live_approval
from registry.errors import ApprovalError, NoChampionError, VersionUnfitError
from registry.events import Event, append_event, hash_event, list_events
from registry.models import get_model
from registry.policy import GATES, Policy
from registry.verifications import passed_verification
from registry.versions import ModelVersion, get_version, status_of


@dataclass(frozen=True)
class Reign:
    """That a version became champion: when, by whose decisions."""

    number: str
    digest: str
    effective_from: datetime  # business time
    recorded_at: datetime  # wall clock
    approvals: list[dict[str, Any]]  # gate, by, identity, comment, approval digest
    policy: str
    previous: str | None
    event: str  # hash of the promotion's event


def promote(session: Session, name: str, number: str, policy: Policy, platform: str) -> Reign:
    """Move ``champion`` to the version and consume its approvals; flushes, the caller commits.

    Everything is checked in the transaction that moves the alias: status, a verification that
    passed on ``platform``, and a live approval at each gate over exactly this digest.

    Raises:
        UnknownModelError, UnknownVersionError: no such version.
        VersionUnfitError: status or verification forbid it.
        ApprovalError: a gate is not approved, or both by one person where policy forbids it.
        ConflictError: the champion changed meanwhile.
    """
    version = get_version(session, name, number)
    current = get_alias(session, version.model_id, CHAMPION)
    if current is not None and current.version_id == version.id:
        return reigns(session, name)[-1]
    approvals = _check_fit(session, name, version, policy, platform)
    previous = session.get_one(ModelVersion, current.version_id) if current else None
    event = append_event(
        session,
        version.model_id,
        "promoted",
        {
            "version": version.number,
            "digest": version.digest,
            "previous": previous.number if previous else None,
            "policy": policy.digest(),
            "approvals": [
                {
                    "gate": approval.gate,
                    "by": approval.approver,
                    "identity": approval.identity,
                    "comment": approval.comment,
                    "approval": approval.digest(),
                    "digest": approval.manifest_digest,
                    "at": approval.recorded_at.isoformat(),
                }
                for approval in approvals
            ],
        },
    )
    session.add_all(
        ApprovalUse(approval_id=approval.id, event_id=event.id) for approval in approvals
    )
    move_alias(session, event, CHAMPION, version, current.version_id if current else None)
    drop_alias(session, CHALLENGER, version)  # it challenges nobody any more
    return _reign(event)


def champion(session: Session, name: str) -> ModelVersion:
    """Return the champion, with every check that production needs; reads only.

    Raises:
        UnknownModelError, NoChampionError: there is none.
        VersionUnfitError: it is revoked, or its promotion lacks an approval over its digest.
    """
    model = get_model(session, name)
    alias = get_alias(session, model.id, CHAMPION)
    if alias is None:
        raise NoChampionError(name)
    version = session.get_one(ModelVersion, alias.version_id)
    _check_resolvable(session, name, version, session.get_one(Event, alias.event_id))
    return version


def champion_at(
    session: Session, name: str, at: datetime, known_at: datetime | None = None
) -> ModelVersion:
    """Return the version that was champion at ``at`` (business time); reads only.

    Args:
        session: any session.
        name: the model.
        at: business time.
        known_at: look only at what was recorded until this wall-clock moment.

    Raises:
        UnknownModelError: the model is not registered.
        NoChampionError: none yet at that time.
        VersionUnfitError: that version must not run any more.
    """
    reign = reign_at(session, name, at, known_at)
    version = get_version(session, name, reign.number)
    for event in list_events(session, version.model_id, "promoted"):
        if event.hash == reign.event:
            _check_resolvable(session, name, version, event)
    return version


def promoted_version(session: Session, name: str, number: str) -> ModelVersion:
    """Return version ``number`` if it was champion once and may still run; reads only.

    Raises:
        UnknownModelError, UnknownVersionError: no such version.
        VersionUnfitError: it was never promoted, or must not run any more.
    """
    version = get_version(session, name, number)
    for event in reversed(list_events(session, version.model_id, "promoted")):
        if event.facts()["version"] == number:
            _check_resolvable(session, name, version, event)
            return version
    raise VersionUnfitError(
        name,
        number,
        "was never champion, so it may not write production's predictions",
        f"Score it beside production: 'pilotline score {name} --date D --shadow {number}'.",
    )


def reign_at(session: Session, name: str, at: datetime, known_at: datetime | None = None) -> Reign:
    """Return the promotion in force at ``at`` (business time); reads only.

    Raises:
        UnknownModelError: the model is not registered.
        NoChampionError: none yet at that time.
    """
    known = [r for r in reigns(session, name) if known_at is None or r.recorded_at <= known_at]
    started = [reign for reign in known if reign.effective_from <= at]
    if not started:
        raise NoChampionError(name, at.isoformat(timespec="minutes"))
    # The last one that counts from then on; of two with one time the later recorded one.
    return max(started, key=lambda reign: (reign.effective_from, reign.recorded_at))


def reigns(session: Session, name: str) -> list[Reign]:
    """Return every promotion of the model, oldest first; reads only.

    Raises:
        UnknownModelError: the model is not registered.
    """
    model = get_model(session, name)
    return [_reign(event) for event in list_events(session, model.id, "promoted")]


def _reign(event: Event) -> Reign:
    facts = event.facts()
    return Reign(
        number=facts["version"],
        digest=facts["digest"],
        effective_from=event.effective_from,
        recorded_at=event.recorded_at,
        approvals=facts["approvals"],
        policy=facts["policy"],
        previous=facts["previous"],
        event=event.hash,
    )


def _check_fit(
    session: Session, name: str, version: ModelVersion, policy: Policy, platform: str
) -> list[Approval]:
    remedy = f"Run 'pilotline release {name} {version.number}'; it says what is missing."
    status = status_of(session, version)
    if status != "approved":
        raise VersionUnfitError(name, version.number, f"is {status}, not approved", remedy)
    if passed_verification(session, version, platform) is None:
        raise VersionUnfitError(
            name, version.number, f"has not passed verification on {platform}", remedy
        )
    approvals = []
    for gate in GATES:
        approval = live_approval(session, version, gate, policy)
        if approval is None or approval.manifest_digest != version.digest:
            raise ApprovalError(name, version.number, gate, "no live approval", remedy)
        approvals.append(approval)
    if (
        policy.distinct_approvers
        and len({approval.approver.casefold() for approval in approvals}) < 2
    ):
        raise ApprovalError(
            name, version.number, GATES[1], "one person approved both gates", "Ask a second one."
        )
    return approvals


def _check_resolvable(session: Session, name: str, version: ModelVersion, event: Event) -> None:
    status = status_of(session, version)
    if status in ("revoked", "rejected", "archived"):
        raise VersionUnfitError(
            name, version.number, f"is {status}", "Promote another version first."
        )
    facts = {"approvals": [], "digest": ""} | event.facts()  # it may be another kind's event
    gates = {entry["gate"] for entry in facts["approvals"] if entry["digest"] == version.digest}
    named = (facts.get("version"), facts["digest"]) == (version.number, version.digest)
    fits = event.kind == "promoted" and named and gates == set(GATES)
    if not fits or event.hash != hash_event(event):
        raise VersionUnfitError(
            name,
            version.number,
            "was promoted without two approvals over its digest",
            "Somebody changed the registry; compare it with a backup.",
        )
