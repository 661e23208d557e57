"""Consumers: who reads a model's predictions, how to reach them, which versions they can take."""

import re
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from sqlalchemy import ForeignKey, String, Text, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from pilotline.registry.form import ConsumerError
from pilotline.registry.record import append_event, get_model
from pilotline.registry.store import Base

MAX_NAME = 200
MAX_NEEDS = 200
EMAIL = re.compile(r"[\w.+'~=-]+@[\w-]+(?:\.[\w-]+)+")
ENVIRONMENT = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
# Apprise's addresses of web hooks: host, port and path. No user, query or fragment, which may hold
# secrets, nor anything by which Apprise would read further addresses or parts out of the text.
WEBHOOK = re.compile(
    r"(?:jsons?|xmls?|forms?)://(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[\w./~+=:!-]*)?"
)


class Consumer(Base):
    """Present state: one reader of one model, beside the event that added it."""

    __tablename__ = "consumer"

    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(MAX_NAME), primary_key=True)
    contact: Mapped[str] = mapped_column(Text)
    needs: Mapped[str] = mapped_column(
        String(MAX_NEEDS)
    )  # PEP 440 constraint; empty takes any version
    event_id: Mapped[int] = mapped_column(ForeignKey("event.id"))

    def takes(self, number: str) -> bool:
        """Tell whether this consumer can read version ``number``."""
        return SpecifierSet(self.needs).contains(number)


@dataclass(frozen=True)
class NewConsumer:
    """Who wants to be told."""

    name: str
    contact: str
    needs: str = ""


def add_consumer(session: Session, model: str, new: NewConsumer) -> Consumer:
    """Add a consumer, or bring a known one's contact and constraint up to date.

    Flushes, the caller commits. The same again changes nothing.

    Raises:
        UnknownModelError: the model is not registered.
        ConsumerError: name, contact or constraint are no such thing.
    """
    _check(model, new)
    model_id = get_model(session, model).id
    known = session.get(Consumer, (model_id, new.name))
    if known is not None and (known.contact, known.needs) == (new.contact, new.needs):
        return known
    event = append_event(session, model_id, "consumer added", {"consumer": new.name, **_told(new)})
    if known is None:
        known = Consumer(model_id=model_id, name=new.name)
        session.add(known)
    known.contact, known.needs, known.event_id = new.contact, new.needs, event.id
    session.flush()
    return known


def remove_consumer(session: Session, model: str, name: str) -> None:
    """Remove a consumer beside its event; flushes, the caller commits.

    Raises:
        UnknownModelError: the model is not registered.
        ConsumerError: it has no such consumer.
    """
    model_id = get_model(session, model).id
    known = session.get(Consumer, (model_id, name))
    if known is None:
        listed = ", ".join(c.name for c in list_consumers(session, model_id)) or "nobody"
        raise ConsumerError(model, name, f"unknown; consumers: {listed}", "Check the name.")
    append_event(session, model_id, "consumer removed", {"consumer": name})
    session.delete(known)
    session.flush()


def list_consumers(session: Session, model_id: int) -> list[Consumer]:
    """Return the model's consumers by name; reads only."""
    query = select(Consumer).where(Consumer.model_id == model_id).order_by(Consumer.name)
    return list(session.scalars(query))


def broken_by(session: Session, model_id: int, number: str) -> list[Consumer]:
    """Return the consumers that cannot take version ``number``; reads only."""
    return [c for c in list_consumers(session, model_id) if not c.takes(number)]


def is_contact(text: str) -> bool:
    """Tell whether ``text`` can reach somebody, and cannot hold a secret.

    It is written into the event log for ever.
    """
    return any(form.fullmatch(text) for form in (EMAIL, ENVIRONMENT, WEBHOOK))


def _told(new: NewConsumer) -> dict[str, str]:
    return {"contact": new.contact, "needs": new.needs}


def _check(model: str, new: NewConsumer) -> None:
    if not new.name.strip() or len(new.name) > MAX_NAME or not new.name.isprintable():
        raise ConsumerError(
            model, new.name, "no name", f"Expected 1 to {MAX_NAME} printable characters."
        )
    try:
        if len(new.needs) > MAX_NEEDS or not (new.needs.isascii() and new.needs.isprintable()):
            raise InvalidSpecifier(f"Expected at most {MAX_NEEDS} printable characters.")
        SpecifierSet(new.needs)
    except InvalidSpecifier as err:
        raise ConsumerError(
            model, new.name, f"{new.needs!r} is no constraint", "Write such as '~=1.2' or '>=1,<3'."
        ) from err
    if not is_contact(new.contact):
        raise ConsumerError(
            model,
            new.name,
            "the contact is no mail address, no web hook and no variable",
            "Write name@example.org, json://HOST/PATH, or env:NAME for a variable that holds an "
            "Apprise address with its secrets.",
        )
