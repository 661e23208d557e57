"""The event log: one hash chain per model and one of the factory; added to, never edited."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import ForeignKey, Index, Select, String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from pilotline.registry.form import canonical_json, digest_json
from pilotline.registry.record.models import RegisteredModel
from pilotline.registry.store import Base, UtcDateTime, now

GENESIS = "0" * 64  # what the first event of a chain names as its predecessor
FACTORY = "@factory"  # the chain of what concerns no single model; '@' is in no model's name


class Event(Base):
    """Something that happened to a model, or to the factory."""

    __tablename__ = "event"
    __table_args__ = (
        UniqueConstraint("chain", "seq"),
        Index("ix_event_chain_kind_seq", "chain", "kind", "seq"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    chain: Mapped[str] = mapped_column(String(63))  # the model's name, or FACTORY
    model_id: Mapped[int | None] = mapped_column(ForeignKey("model.id"))
    seq: Mapped[int]  # 1, 2, 3 ... within one chain, without gaps
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


class EventFacts(Protocol):
    """What every account of an event holds: a row of the table, of a query, or of an export."""

    @property
    def chain(self) -> str:
        """Whose chain."""

    @property
    def seq(self) -> int:
        """Its number there."""

    @property
    def kind(self) -> str:
        """What happened."""

    @property
    def body(self) -> str:
        """Canonical JSON."""

    @property
    def recorded_at(self) -> datetime:
        """Wall clock."""

    @property
    def effective_from(self) -> datetime:
        """Business time."""

    @property
    def previous(self) -> str:
        """Hash of the event before."""

    @property
    def hash(self) -> str:
        """Its own."""


def append_event(
    session: Session,
    model_id: int | None,
    kind: str,
    body: Mapping[str, object],
    effective_from: datetime | None = None,
) -> Event:
    """Add an event to a chain; flushes, the caller commits.

    Args:
        session: a writing session; its lock makes the number consecutive.
        model_id: whose chain; None for the factory's.
        kind: what happened, a few words in small letters, such as ``rolled back``.
        body: JSON facts; amounts that are not exact integers as text or floats.
        effective_from: business time, by default the wall clock.
    """
    last = latest_event(session, model_id)
    moment = now()
    event = Event(
        chain=_chain(session, model_id),
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


def latest_event(session: Session, model_id: int | None) -> Event | None:
    """Return the head of a chain, the factory's for None; reads only."""
    query = _of(session, model_id).order_by(Event.seq.desc()).limit(1)
    return session.scalars(query).first()


def list_events(session: Session, model_id: int | None, *kinds: str) -> list[Event]:
    """Return a chain's events in order, only of ``kinds`` where given; reads only."""
    query = _of(session, model_id).order_by(Event.seq)
    if kinds:
        query = query.where(Event.kind.in_(kinds))
    return list(session.scalars(query))


def hash_event(event: EventFacts) -> str:
    """Return the SHA-256 that the event must carry, over all its facts and its predecessor."""
    return digest_json(
        {
            "chain": event.chain,
            "seq": event.seq,
            "kind": event.kind,
            "body": event.body,
            "recorded_at": event.recorded_at.astimezone(UTC).isoformat(),
            "effective_from": event.effective_from.astimezone(UTC).isoformat(),
            "previous": event.previous,
        }
    )


def first_broken_event(session: Session, model_id: int | None) -> int | None:
    """Return the number of the first event that does not fit its chain, or None; reads only."""
    return first_misfit(list_events(session, model_id))


def first_misfit(events: Iterable[EventFacts]) -> int | None:
    """Return the number of the first event that does not fit, or None.

    Args:
        events: one whole chain, in order.
    """
    previous = GENESIS
    for expected, event in enumerate(events, start=1):
        fits = event.seq == expected and event.previous == previous
        if not fits or event.hash != hash_event(event):
            return expected
        previous = event.hash
    return None


def _of(session: Session, model_id: int | None) -> Select[Event]:
    """Return a query of a chain; by its name, which is what the table is indexed by."""
    chain = _chain(session, model_id)
    return select(Event).where(Event.chain == chain, Event.model_id == model_id)


def _chain(session: Session, model_id: int | None) -> str:
    return FACTORY if model_id is None else session.get_one(RegisteredModel, model_id).name
