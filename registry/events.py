"""The event log: one hash chain per model, with consecutive numbers; added to, never edited."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from registry.base import Base, UtcDateTime, now
from registry.canonical import canonical_json, digest_json

GENESIS = "0" * 64  # what the first event of a chain names as its predecessor


class Event(Base):
    """Something that happened to a model."""

    __tablename__ = "event"
    __table_args__ = (UniqueConstraint("model_id", "seq"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"))
    seq: Mapped[int]  # 1, 2, 3 ... within one model, without gaps
    kind: Mapped[str] = mapped_column(String(40))
    body: Mapped[str] = mapped_column(Text)  # canonical JSON
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)  # wall clock
    effective_from: Mapped[datetime] = mapped_column(UtcDateTime)  # business time
    previous: Mapped[str] = mapped_column(String(64))  # hash of the event before
    hash: Mapped[str] = mapped_column(String(64), unique=True)

    def facts(self) -> dict[str, Any]:
        """Return the body as a dict."""
        facts: dict[str, Any] = json.loads(self.body)
        return facts


def append_event(
    session: Session,
    model_id: int,
    kind: str,
    body: Mapping[str, object],
    effective_from: datetime | None = None,
) -> Event:
    """Add an event to the model's chain; flushes, the caller commits.

    Args:
        session: a writing session; its lock makes the number consecutive.
        model_id: whose chain.
        kind: one word of what happened, such as ``promoted``.
        body: JSON facts; amounts that are not exact integers as text or floats.
        effective_from: business time, by default the wall clock.
    """
    last = latest_event(session, model_id)
    moment = now()
    event = Event(
        model_id=model_id,
        seq=1 if last is None else last.seq + 1,
        kind=kind,
        body=canonical_json(body).decode(),
        recorded_at=moment,
        effective_from=effective_from or moment,
        previous=GENESIS if last is None else last.hash,
    )
    event.hash = hash_event(event)
    session.add(event)
    session.flush()
    return event


def latest_event(session: Session, model_id: int) -> Event | None:
    """Return the head of the model's chain; reads only."""
    query = select(Event).where(Event.model_id == model_id).order_by(Event.seq.desc()).limit(1)
    return session.scalars(query).first()


def list_events(session: Session, model_id: int, *kinds: str) -> list[Event]:
    """Return the model's events in order, only of ``kinds`` where given; reads only."""
    query = select(Event).where(Event.model_id == model_id).order_by(Event.seq)
    if kinds:
        query = query.where(Event.kind.in_(kinds))
    return list(session.scalars(query))


def hash_event(event: Event) -> str:
    """Return the SHA-256 that the event must carry, over all its facts and its predecessor."""
    return digest_json(
        {
            "model": event.model_id,
            "seq": event.seq,
            "kind": event.kind,
            "body": event.body,
            "recorded_at": event.recorded_at.isoformat(),
            "effective_from": event.effective_from.astimezone(UTC).isoformat(),
            "previous": event.previous,
        }
    )


def first_broken_event(session: Session, model_id: int) -> int | None:
    """Return the number of the first event that does not fit its chain, or None; reads only."""
    previous = GENESIS
    for expected, event in enumerate(list_events(session, model_id), start=1):
        fits = event.seq == expected and event.previous == previous
        if not fits or event.hash != hash_event(event):
            return expected
        previous = event.hash
    return None
