"""Approvals and rejections: who decided what at which gate, bound to digest and policy."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from pilotline.registry.form import ApprovalError, digest_json, same_person
from pilotline.registry.gates.approvers import enrolled_since
from pilotline.registry.gates.policy import GATES, IDENTITIES, Policy
from pilotline.registry.record import (
    CHAMPION,
    ModelVersion,
    append_event,
    get_alias,
    get_version,
    last_comparison,
    list_events,
    passed_verification,
    set_status,
    status_of,
)
from pilotline.registry.store import Base, UtcDateTime, now

DECISIONS = ("approve", "reject")


class Approval(Base):
    """One decision at one gate. Rows are added and never edited."""

    __tablename__ = "approval"

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"), index=True)
    gate: Mapped[str] = mapped_column(String(20))
    decision: Mapped[str] = mapped_column(String(10))
    approver: Mapped[str] = mapped_column(String(200))
    identity: Mapped[str] = mapped_column(String(20))  # how sure we are who it was
    comment: Mapped[str] = mapped_column(Text)
    manifest_digest: Mapped[str] = mapped_column(String(64))
    policy_digest: Mapped[str] = mapped_column(String(64))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)

    def digest(self) -> str:
        """Return the SHA-256 over the decision's facts."""
        return approval_digest(self)


class ApprovalUse(Base):
    """That a promotion consumed an approval; each is used at most once."""

    __tablename__ = "approval_use"
    __table_args__ = (UniqueConstraint("approval_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    approval_id: Mapped[int] = mapped_column(ForeignKey("approval.id"))
    event_id: Mapped[int] = mapped_column(ForeignKey("event.id"))


@dataclass(frozen=True)
class Decision:
    """What somebody says at a gate."""

    gate: str
    decision: str
    approver: str
    comment: str
    identity: str = "claimed"


def approval_digest(approval: Any) -> str:
    """Return the SHA-256 over a decision's facts, of the table's row or of a query's."""
    names = ("gate", "decision", "approver", "identity", "comment")
    facts = {name: getattr(approval, name) for name in names}
    return digest_json(
        facts
        | {
            "manifest": approval.manifest_digest,
            "policy": approval.policy_digest,
            "recorded_at": approval.recorded_at.isoformat(),
        }
    )


def describe_approval(approval: Approval) -> dict[str, str]:
    """Return what the event that counts ``approval`` says of it."""
    return {
        "gate": approval.gate,
        "by": approval.approver,
        "identity": approval.identity,
        "comment": approval.comment,
        "approval": approval.digest(),
        "digest": approval.manifest_digest,
        "at": approval.recorded_at.isoformat(),
    }


def decide(
    session: Session, name: str, number: str, said: Decision, policy: Policy
) -> tuple[Approval, bool]:
    """Record a decision; every face (form, command line) calls this. Flushes, the caller commits.

    Returns:
        The approval, and whether it is new: the same person saying the same again changes nothing.

    Raises:
        UnknownModelError, UnknownVersionError: no such version.
        ApprovalError: the person, the gate or the moment is wrong.
    """
    version = get_version(session, name, number)
    said = _check_person(name, version, said, policy)
    _check_identity(name, version, said, policy)
    last = latest_decision(session, version, said.gate)
    again = last is not None and _says_same(last, said)
    if last and again and (said.decision == "reject" or is_live(session, last, policy)):
        return last, False
    _check_moment(session, name, version, said, policy)
    if said.decision == "approve":
        _check_distinct(session, name, version, said, policy)
    approval = Approval(
        version_id=version.id,
        **vars(said),
        manifest_digest=version.digest,
        policy_digest=policy.digest(),
        recorded_at=now(),
    )
    session.add(approval)
    session.flush()
    body = {
        "gate": said.gate,
        "by": said.approver,
        "identity": said.identity,
        "comment": said.comment,
        "approval": approval.digest(),
        "digest": version.digest,
        "policy": approval.policy_digest,
    }
    if said.decision == "reject":
        set_status(session, version, "rejected", body)
    elif said.gate == "review":
        set_status(session, version, "approved", body)
    else:
        append_event(
            session, version.model_id, "go-live approved", {"version": version.number, **body}
        )
    return approval, True


def latest_decision(session: Session, version: ModelVersion, gate: str) -> Approval | None:
    """Return the last decision at ``gate``, whether live or not; reads only."""
    query = select(Approval).where(Approval.version_id == version.id, Approval.gate == gate)
    return session.scalars(query.order_by(Approval.id.desc()).limit(1)).first()


def live_approval(
    session: Session, version: ModelVersion, gate: str, policy: Policy
) -> Approval | None:
    """Return the approval at ``gate`` that a promotion may use now, or None; reads only."""
    last = latest_decision(session, version, gate)
    return last if last and is_live(session, last, policy) else None


def is_live(session: Session, approval: Approval, policy: Policy) -> bool:
    """Tell whether a promotion may use ``approval`` now; reads only.

    It must approve, be unused, be younger than the policy allows, come from somebody who is
    still an approver, and have been given under exactly this policy. One given with a one-time
    code ends with the enrolment it was checked by; one at go-live also where the version has been
    compared with another champion since: nobody had read that.
    """
    return (
        approval.decision == "approve"
        and not _is_used(session, approval)
        and now() < expires_at(approval, policy)
        and policy.approver(approval.gate, approval.approver) is not None
        and approval.policy_digest == policy.digest()
        and _still_enrolled(session, approval)
        and not _compared_since(session, approval)
    )


def _is_used(session: Session, approval: Approval) -> bool:
    used = select(ApprovalUse.id).where(ApprovalUse.approval_id == approval.id)
    return session.scalars(used).first() is not None


def _still_enrolled(session: Session, approval: Approval) -> bool:
    if approval.identity == "claimed":
        return True
    since = enrolled_since(session, approval.approver)
    return since is not None and since <= approval.recorded_at


def _compared_since(session: Session, approval: Approval) -> bool:
    if approval.gate != "go-live":
        return False
    last = last_comparison(session, session.get_one(ModelVersion, approval.version_id))
    return last is not None and last.recorded_at > approval.recorded_at


def expires_at(approval: Approval, policy: Policy) -> datetime:
    """Return when ``approval`` ends if no promotion has used it."""
    return approval.recorded_at + timedelta(days=policy.expires_days)


def _says_same(last: Approval, said: Decision) -> bool:
    return last.decision == said.decision and same_person(last.approver, said.approver)


def _check_person(name: str, version: ModelVersion, said: Decision, policy: Policy) -> Decision:
    """Return what was said, by the name that the policy writes."""
    if said.gate not in GATES or said.decision not in DECISIONS:
        raise ApprovalError(
            name,
            version.number,
            said.gate,
            f"{said.decision!r} at {said.gate!r} is no decision at a gate",
            f"Expected one of {DECISIONS} at one of {GATES}.",
        )
    if said.decision == "reject" and not said.comment.strip():
        raise ApprovalError(
            name,
            version.number,
            said.gate,
            "a rejection without a reason",
            "Say in the comment what is wrong.",
        )
    if same_person(said.approver, version.author):
        raise ApprovalError(
            name,
            version.number,
            said.gate,
            f"{said.approver!r} is the author of this version",
            "Ask somebody else on the list of approvers.",
        )
    listed = policy.approver(said.gate, said.approver)
    if listed is None:
        raise ApprovalError(
            name,
            version.number,
            said.gate,
            f"{said.approver!r} is no approver here",
            f"The policy names: {', '.join(policy.approvers[said.gate])}.",
        )
    return replace(said, approver=listed)


def _check_identity(name: str, version: ModelVersion, said: Decision, policy: Policy) -> None:
    if IDENTITIES.index(said.identity) < IDENTITIES.index(policy.identity):
        raise ApprovalError(
            name,
            version.number,
            said.gate,
            f"identity {said.identity!r} is less than the policy's {policy.identity!r}",
            "Give the one-time code with --code; 'pilotline approvers add' enrols a device.",
        )


def _check_moment(
    session: Session, name: str, version: ModelVersion, said: Decision, policy: Policy
) -> None:
    status = status_of(session, version)
    if status not in ("registered", "approved"):
        raise ApprovalError(
            name,
            version.number,
            said.gate,
            f"the version is {status}",
            f"Train a new one with 'pilotline train {name}'.",
        )
    champion = get_alias(session, version.model_id, CHAMPION)
    if champion is not None and champion.version_id == version.id:
        raise ApprovalError(
            name,
            version.number,
            said.gate,
            "the version is champion already",
            "Promote another version to take it out of service.",
        )
    if said.decision == "reject" and _scored_in_production(session, version):
        raise ApprovalError(
            name,
            version.number,
            said.gate,
            "the version was champion before, or shared its rows",
            "What scored in production cannot be rejected afterwards, only revoked.",
        )
    advance = f"Run 'pilotline release {name} {version.number}' first; it says what is missing."
    if said.gate == "go-live" and said.decision == "approve":
        if status != "approved":
            raise ApprovalError(
                name, version.number, said.gate, "the review has not approved it", advance
            )
        passed = passed_verification(session, version)
        if passed is None:
            raise ApprovalError(
                name,
                version.number,
                said.gate,
                "deployment verification has not passed",
                f"Wait where a release is verifying it, else: {advance}",
            )
        if not policy.takes_isolation(passed.isolation):
            raise ApprovalError(
                name, version.number, said.gate, policy.isolation_gap(passed.isolation), advance
            )
        reviewed = latest_decision(session, version, "review")
        if reviewed is not None and _is_used(session, reviewed):
            why = "an earlier promotion used up its approval at review"
            raise ApprovalError(name, version.number, said.gate, why, advance)


def _scored_in_production(session: Session, version: ModelVersion) -> bool:
    splits = list_events(session, version.model_id, "split set")
    if any(event.facts()["version"] == version.number for event in splits):
        return True
    used = select(ApprovalUse.id).join(Approval, Approval.id == ApprovalUse.approval_id)
    return session.scalars(used.where(Approval.version_id == version.id)).first() is not None


def _check_distinct(
    session: Session, name: str, version: ModelVersion, said: Decision, policy: Policy
) -> None:
    if not policy.distinct_approvers:
        return
    other = next(gate for gate in GATES if gate != said.gate)
    given = live_approval(session, version, other, policy)
    if given and same_person(given.approver, said.approver):
        raise ApprovalError(
            name,
            version.number,
            said.gate,
            f"{said.approver!r} approved at gate {other!r} already",
            "Two gates need two people.",
        )
