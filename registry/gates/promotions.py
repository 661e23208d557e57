"""Promotion to champion and rollback: the only two ways in which ``champion`` moves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from pilotline.registry.consumers import broken_by, tell_consumers
from pilotline.registry.form import (
    ApprovalError,
    ConsumerError,
    NoChampionError,
    VersionUnfitError,
    person,
    reach,
)
from pilotline.registry.gates.approvals import (
    Approval,
    ApprovalUse,
    describe_approval,
    live_approval,
)
from pilotline.registry.gates.policy import GATES, Policy
from pilotline.registry.gates.resolution import check_resolvable, promotion_of
from pilotline.registry.record import (
    CHALLENGER,
    CHAMPION,
    ModelVersion,
    Reign,
    append_event,
    describe_reign,
    drop_alias,
    get_alias,
    get_version,
    move_alias,
    passed_verification,
    reigns,
    standing_of,
)
from pilotline.registry.store import now


@dataclass(frozen=True)
class Wish:
    """What a promotion may ask for beside the plain case."""

    effective_from: datetime | None = None  # business time; earlier only where policy allows it
    break_consumers: str = ""  # why consumers may be broken


def promote(
    session: Session,
    name: str,
    number: str,
    policy: Policy,
    platform: str,
    wish: Wish | None = None,
) -> Reign:
    """Move ``champion`` to the version and consume its approvals; flushes, the caller commits.

    Everything is checked in the transaction that moves the alias: status, a verification that
    passed on ``platform``, a live approval at each gate over exactly this digest, and that every
    consumer can take the version.

    Raises:
        UnknownModelError, UnknownVersionError: no such version.
        VersionUnfitError: status, verification or time forbid it.
        ApprovalError: a gate is not approved, or both by one person where policy forbids it.
        ConsumerError: it breaks a consumer, and no reason was given.
        ConflictError: the champion changed meanwhile.
    """
    wish = wish or Wish()
    version = get_version(session, name, number)
    current = get_alias(session, version.model_id, CHAMPION)
    if current is not None and current.version_id == version.id:
        return reigns(session, name)[-1]
    approvals = check_ready(session, name, version, policy, platform)
    _check_time(name, version, policy, wish)
    broken = check_consumers(session, name, version, wish.break_consumers)
    reach("promote: checked")
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
            "approvals": [describe_approval(approval) for approval in approvals],
            "broken": broken,
            "break_reason": wish.break_consumers if broken else "",
        },
        wish.effective_from,
    )
    reach("promote: event added")
    session.add_all(
        ApprovalUse(approval_id=approval.id, event_id=event.id) for approval in approvals
    )
    session.flush()
    reach("promote: approvals used")
    move_alias(session, event, CHAMPION, version, current.version_id if current else None)
    drop_alias(session, CHALLENGER, version)  # it challenges nobody any more
    reach("promote: alias moved")
    before = f"before: {previous.number}" if previous else "the first champion"
    tell_consumers(
        session,
        event,
        f"{name} {number} is champion",
        f"{name} {number} is champion from {event.effective_from.isoformat()}; {before}.\n"
        f"{version.reason}\nEvent {event.seq} {event.hash}.",
    )
    return describe_reign(event)


def rollback(session: Session, name: str, reason: str, by: str, identity: str) -> Reign:
    """Move ``champion`` back to the one before; flushes, the caller commits.

    Promotions are a stack: rolling back twice goes two champions back, never forth again. The
    evidence is that of the promotion which first made it champion, and is checked again.

    Raises:
        UnknownModelError: the model is not registered.
        NoChampionError: there is no champion.
        VersionUnfitError: there is none before it, or that one must not run.
    """
    known = reigns(session, name)
    if not known:
        raise NoChampionError(name)
    stack = _stack(known)
    leaving = get_version(session, name, stack[-1].number)
    if len(stack) < 2:
        raise VersionUnfitError(
            name,
            leaving.number,
            "is the first champion; there is none to go back to",
            f"To stop it: 'pilotline revoke {name} {leaving.number} --reason TEXT'.",
        )
    version = get_version(session, name, stack[-2].number)
    promotion = promotion_of(session, version)
    check_resolvable(session, name, version, promotion)
    facts = promotion.facts()
    event = append_event(
        session,
        version.model_id,
        "rolled back",
        {
            "version": version.number,
            "digest": version.digest,
            "previous": leaving.number,
            "policy": facts["policy"],
            "approvals": facts["approvals"],
            "promotion": promotion.hash,
            "reason": reason,
            "by": by,
            "identity": identity,
        },
    )
    move_alias(session, event, CHAMPION, version, leaving.id)
    broken = [consumer.name for consumer in broken_by(session, version.model_id, version.number)]
    warning = f"\nIt does not fit the constraint of: {', '.join(broken)}." if broken else ""
    tell_consumers(
        session,
        event,
        f"{name} is rolled back to {version.number}",
        f"{name}: champion is {version.number} again, no longer {leaving.number}: {reason}"
        f"{warning}\nEvent {event.seq} {event.hash}.",
    )
    return describe_reign(event)


def champion_before(session: Session, name: str) -> str | None:
    """Return the number that a rollback would go back to, if there is one; reads only.

    Raises:
        UnknownModelError: the model is not registered.
    """
    stack = _stack(reigns(session, name))
    return stack[-2].number if len(stack) > 1 else None


def _stack(known: Sequence[Reign]) -> list[Reign]:
    """Return the promotions that no rollback has taken back."""
    stack: list[Reign] = []
    for reign in known:
        if reign.kind == "promoted":
            stack.append(reign)
        else:
            stack.pop()
    return stack


def check_ready(
    session: Session, name: str, version: ModelVersion, policy: Policy, platform: str
) -> list[Approval]:
    """Return the live approvals on which ``version`` may score production's rows; reads only.

    Raises:
        VersionUnfitError: status or verification forbid it.
        ApprovalError: a gate is not approved, or both by one person where policy forbids it.
    """
    remedy = f"Run 'pilotline release {name} {version.number}'; it says what is missing."
    status = standing_of(session, version)
    if status != "approved":
        raise VersionUnfitError(name, version.number, f"is {status}, not approved", remedy)
    passed = passed_verification(session, version, platform)
    if passed is None:
        raise VersionUnfitError(
            name, version.number, f"has not passed verification on {platform}", remedy
        )
    if not policy.takes_isolation(passed.isolation):
        gap = policy.isolation_gap(passed.isolation)
        raise VersionUnfitError(name, version.number, f"cannot go live: {gap}", remedy)
    approvals = []
    for gate in GATES:
        approval = live_approval(session, version, gate, policy)
        if approval is None or approval.manifest_digest != version.digest:
            raise ApprovalError(name, version.number, gate, "no live approval", remedy)
        approvals.append(approval)
    if policy.distinct_approvers and len({person(approval.approver) for approval in approvals}) < 2:
        raise ApprovalError(
            name, version.number, GATES[1], "one person approved both gates", "Ask a second one."
        )
    return approvals


def _check_time(name: str, version: ModelVersion, policy: Policy, wish: Wish) -> None:
    if wish.effective_from is None:
        return
    if not policy.backdating:
        raise VersionUnfitError(
            name,
            version.number,
            "may not be promoted from an earlier time, says the policy",
            "Leave --effective-from away, or set backdating = true in the factory's policy.",
        )
    if wish.effective_from > now():
        raise VersionUnfitError(
            name,
            version.number,
            f"cannot be champion from a time to come ({wish.effective_from.isoformat()})",
            "Give an earlier time, or none.",
        )


def check_consumers(session: Session, name: str, version: ModelVersion, why: str = "") -> list[str]:
    """Return the consumers that ``version`` breaks, where ``why`` says that it may; reads only.

    Raises:
        ConsumerError: it breaks some, and no reason was given.
    """
    broken = broken_by(session, version.model_id, version.number)
    if broken and not why.strip():
        needs = ", ".join(f"{c.name} (needs {c.needs}, {c.contact})" for c in broken)
        raise ConsumerError(
            name,
            broken[0].name,
            f"version {version.number} breaks {needs}",
            "Agree with them first, or give --break-consumers REASON.",
        )
    return [consumer.name for consumer in broken]
