"""Who was champion when: the promotions and rollbacks on record, in two kinds of time.

History is linear in the order of the chain: from its ``effective_from`` on, a reign takes the place
of every one before it in the chain, so the last of them is always the one in force now.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from pilotline.registry.form import NoChampionError
from pilotline.registry.record.events import Event, list_events
from pilotline.registry.record.models import get_model
from pilotline.registry.store import now

KINDS = ("promoted", "rolled back")


@dataclass(frozen=True)
class Reign:
    """That a version became champion: when, by whose decisions."""

    kind: str  # promoted or rolled back
    number: str
    digest: str
    effective_from: datetime  # business time
    recorded_at: datetime  # wall clock
    approvals: list[dict[str, Any]]  # gate, by, identity, comment, approval digest
    policy: str
    previous: str | None
    event: str  # hash of its event
    reason: str  # of a rollback, or of breaking consumers
    by: str  # who rolled back

    @property
    def backdated(self) -> bool:
        """Whether it counts from before it was recorded."""
        return self.effective_from < self.recorded_at


def reigns(session: Session, name: str) -> list[Reign]:
    """Return every promotion and rollback of the model, oldest first; reads only.

    Raises:
        UnknownModelError: the model is not registered.
    """
    model = get_model(session, name)
    return [describe_reign(event) for event in list_events(session, model.id, *KINDS)]


def reign_at(session: Session, name: str, at: datetime, known_at: datetime | None = None) -> Reign:
    """Return the promotion in force at ``at`` (business time); reads only.

    Args:
        session: any session.
        name: the model.
        at: business time.
        known_at: look only at what was recorded until this wall-clock moment.

    Raises:
        UnknownModelError: the model is not registered.
        NoChampionError: none yet at that time.
    """
    known = [r for r in reigns(session, name) if known_at is None or r.recorded_at <= known_at]
    # What is on record has happened, even where the clock that dated it was ahead of this one.
    present = now()
    started = [reign for reign in known if min(reign.effective_from, present) <= at]
    if not started:
        first = min(known, key=lambda reign: reign.effective_from, default=None)
        began = first.effective_from.isoformat(timespec="seconds") if first else ""
        raise NoChampionError(
            name,
            at.isoformat(timespec="seconds"),
            f"{first.number}, from {began}" if first else "",
        )
    return started[-1]


def describe_reign(event: Event) -> Reign:
    """Return what a promotion's or rollback's event says."""
    facts = event.facts()
    return Reign(
        kind=event.kind,
        number=facts["version"],
        digest=facts["digest"],
        effective_from=event.effective_from,
        recorded_at=event.recorded_at,
        approvals=facts["approvals"],
        policy=facts["policy"],
        previous=facts["previous"],
        event=event.hash,
        reason=facts.get("reason") or facts.get("break_reason", ""),
        by=facts.get("by", ""),
    )
