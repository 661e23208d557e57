"""The outbox: what consumers are to be told, written beside the event, sent at least once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from pilotline.registry.consumers.consumers import EMAIL, list_consumers
from pilotline.registry.record import Event
from pilotline.registry.store import Base, Store, UtcDateTime, now

MAIL_VARIABLE = "PILOTLINE_MAIL"  # an Apprise mailto:// address, which knows the mail server
FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=6)  # the wait doubles with each try up to this
MAX_PROBLEM = 300


class Message(Base):
    """Something one consumer is to be told about one event."""

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("event_id", "consumer"),
        Index("ix_outbox_due_at", "sent_at", "due_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("event.id"))
    consumer: Mapped[str] = mapped_column(String(200))
    contact: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)  # not tried before
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    problem: Mapped[str] = mapped_column(Text, default="")  # why the last try failed


@dataclass(frozen=True)
class Delivery:
    """What became of one message."""

    consumer: str
    title: str
    sent: bool
    problem: str
    attempts: int


def tell_consumers(session: Session, event: Event, title: str, body: str) -> list[str]:
    """Write a message to each consumer of the event's model; flushes, the caller commits.

    Returns:
        Their names.
    """
    assert event.model_id is not None
    told = list_consumers(session, event.model_id)
    session.add_all(
        Message(
            event_id=event.id,
            consumer=c.name,
            contact=c.contact,
            title=title,
            body=body,
            sent_at=None,
        )
        for c in told
    )
    session.flush()
    return [consumer.name for consumer in told]


def list_messages(session: Session, unsent_only: bool = True) -> list[Message]:
    """Return the messages, oldest first; reads only."""
    query = select(Message).order_by(Message.id)
    return list(session.scalars(query.where(Message.sent_at.is_(None)) if unsent_only else query))


def messages_of(session: Session, event_id: int) -> list[Message]:
    """Return what consumers are told of one event, sent or not, by their names; reads only."""
    query = select(Message).where(Message.event_id == event_id).order_by(Message.consumer)
    return list(session.scalars(query))


def deliver(
    registry: Store,
    environment: Mapping[str, str],
    send: Callable[[str, str, str], str],
    *,
    every: bool = False,
) -> list[Delivery]:
    """Try to send what is due; what fails stays and is due again later.

    A message is put off before it is sent and marked sent afterwards: a process that dies in
    between sends it twice, never not at all.

    Args:
        registry: the registry.
        environment: where contacts that name a variable are looked up.
        send: takes address, title and body; returns what went wrong, or nothing.
        every: also what was put off until later.
    """
    with registry.read() as session:
        unsent = list_messages(session)
    return [
        _deliver(registry, environment, send, message)
        for message in unsent
        if (every or message.due_at <= now()) and _put_off(registry, message)
    ]


def _put_off(registry: Store, message: Message) -> bool:
    """Tell whether this process may try ``message`` now; another one then waits."""
    wait = min(FIRST_WAIT * 2 ** min(message.attempts, 20), LONGEST_WAIT)
    with registry.write() as session:
        taken = session.execute(
            update(Message)
            .where(Message.id == message.id, Message.attempts == message.attempts)
            .where(Message.sent_at.is_(None))
            .values(attempts=message.attempts + 1, due_at=now() + wait)
            .returning(Message.id)
        )
        return taken.first() is not None


def _deliver(
    registry: Store,
    environment: Mapping[str, str],
    send: Callable[[str, str, str], str],
    message: Message,
) -> Delivery:
    address, problem = _address(message.contact, environment)
    if address:
        problem = send(address, message.title, message.body)[:MAX_PROBLEM]
    with registry.write() as session:
        session.execute(
            update(Message)
            .where(Message.id == message.id)
            .values(sent_at=None if problem else now(), problem=problem)
        )
    return Delivery(message.consumer, message.title, not problem, problem, message.attempts + 1)


def _address(contact: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the Apprise address of ``contact``, or why there is none."""
    if contact.startswith("env:"):
        name = contact.removeprefix("env:")
        found = environment.get(name, "")
        return found, "" if found else f"{name} is not set here"
    if EMAIL.fullmatch(contact):
        server = environment.get(MAIL_VARIABLE, "")
        if not server:
            return "", f"{MAIL_VARIABLE} is not set here"
        return f"{server}{'&' if '?' in server else '?'}to={quote(contact)}", ""
    return contact, ""
