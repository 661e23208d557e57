"""Approvers: who can show presence by a one-time code, and the guard against guessing it."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import ForeignKey, Integer, String, Text, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from pilotline.registry.form import (
    MAX_PERSON,
    ApproverError,
    WrongCodeError,
    is_person,
    same_person,
)
from pilotline.registry.gates.vault import Vault
from pilotline.registry.record import Event, append_event
from pilotline.registry.store import Base, Store, UtcDateTime, now

STEP_S = 30  # RFC 6238 section 5.2: the recommended time step
DRIFT_STEPS = 1  # RFC 6238 section 5.2: at most one step either way, for clocks and slow typing
MAX_WRONG = 5  # of a million codes, three of which are right at any time
WRONG_WINDOW = timedelta(minutes=15)
Done = TypeVar("Done")


class Approver(Base):
    """Somebody who can show presence. Removed ones stay, with the event that removed them."""

    __tablename__ = "approver"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(MAX_PERSON), index=True)
    secret: Mapped[str] = mapped_column(Text)  # encrypted, see registry/gates/vault.py
    event_id: Mapped[int] = mapped_column(ForeignKey("event.id"))
    removed_by_event: Mapped[int | None] = mapped_column(ForeignKey("event.id"))
    last_counter: Mapped[int] = mapped_column(Integer)  # time step of the last accepted code

    def is_called(self, name: str) -> bool:
        """Tell whether ``name`` means this person."""
        return same_person(self.name, name)


class CodeAttempt(Base):
    """A code that was tried and not accepted; forgotten once a right one came."""

    __tablename__ = "code_attempt"

    id: Mapped[int] = mapped_column(primary_key=True)
    approver_id: Mapped[int] = mapped_column(ForeignKey("approver.id"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


@dataclass(frozen=True)
class Presence:
    """That somebody shows they are there: a name and the code on their device."""

    approver: str
    code: str
    at: datetime | None = None  # when the code was typed; by default now


def enrol(registry: Store, vault: Vault, name: str, by: Presence | None) -> str:
    """Enrol an approver and return the otpauth URI, shown once; the secret is kept encrypted.

    The first needs nobody; from then on an enrolled approver must show presence.

    Raises:
        ApproverError: the name is taken or odd, or nobody vouches.
        WrongCodeError: the code of who vouches is wrong.
    """
    import pyotp

    name = name.strip()
    if not is_person(name):
        raise ApproverError(name, "no name", f"Expected 1 to {MAX_PERSON} printable characters.")
    secret = pyotp.random_base32()
    sealed = vault.seal(name, secret)

    def add(session: Session) -> None:
        if _find(session, name) is not None:
            raise ApproverError(
                name, "enrolled already", "Remove it first to give it a new secret."
            )
        body = {"approver": name, "by": by.approver if by else None}
        event = append_event(session, None, "approver added", body)
        session.add(
            Approver(
                name=name, secret=sealed, event_id=event.id, removed_by_event=None, last_counter=0
            )
        )
        session.flush()

    if by is not None:
        act_present(registry, vault, by, add)
    else:
        with registry.write() as session:
            if session.scalars(select(Approver.id).limit(1)).first() is not None:
                raise ApproverError(
                    name,
                    "it is not the first, so an enrolled approver must vouch",
                    "Give --by NAME --code CODE of one who is enrolled.",
                )
            add(session)
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name="pilotline")


def remove_approver(registry: Store, vault: Vault, name: str, by: Presence) -> None:
    """Take ``name`` from the approvers: what it approved and nothing used yet counts no more.

    Raises:
        ApproverError: it is not enrolled, or nobody else is, who could vouch for the next one.
        WrongCodeError: the code of who removes is wrong.
    """

    def remove(session: Session) -> None:
        approver = _get(session, name, "'pilotline approvers list' says who is.")
        if len(list_approvers(session)) == 1:
            raise ApproverError(
                name,
                "the last one enrolled; nobody could vouch for the next",
                "Add another with 'pilotline approvers add' first.",
            )
        body = {"approver": approver.name, "by": by.approver}
        approver.removed_by_event = append_event(session, None, "approver removed", body).id
        session.flush()

    act_present(registry, vault, by, remove)


def act_present(
    registry: Store, vault: Vault, by: Presence, act: Callable[[Session], Done]
) -> Done:
    """Return what ``act`` gives, done in the transaction that uses the code up.

    The attempt is on record before the code is looked at, so that guessing in many processes at
    once is counted too. Where ``act`` refuses, the code is not used up and nothing is counted.

    Raises:
        ApproverError: the person is not enrolled.
        WrongCodeError: the code is wrong, was used before, or too many were wrong lately.
    """
    with registry.write() as session:
        attempt = _note_attempt(session, by)
    try:
        with registry.write() as session:
            _use_code(session, vault, by)
            done = act(session)
            session.execute(delete(CodeAttempt).where(CodeAttempt.approver_id == attempt[1]))
            return done
    except WrongCodeError:
        raise
    except BaseException:
        with registry.write() as session:
            session.execute(delete(CodeAttempt).where(CodeAttempt.id == attempt[0]))
        raise


def list_approvers(session: Session) -> list[tuple[Approver, datetime]]:
    """Return who is enrolled, by name, and since when; reads only."""
    rows = session.execute(
        select(Approver, Event.recorded_at)
        .join(Event, Event.id == Approver.event_id)
        .where(Approver.removed_by_event.is_(None))
        .order_by(Approver.name)
    )
    return [(approver, since) for approver, since in rows]


def enrolled_since(session: Session, name: str) -> datetime | None:
    """Return since when ``name`` is an approver without a break, None if it is none; reads only."""
    enrolled = list_approvers(session)
    return min((since for who, since in enrolled if who.is_called(name)), default=None)


def _find(session: Session, name: str) -> Approver | None:
    """Return who is enrolled under ``name``, however it is typed; one person has one name."""
    enrolled = [who for who, _ in list_approvers(session) if who.is_called(name)]
    # Of two whom an earlier release took for two people, each is found by the exact name.
    return next((who for who in enrolled if who.name == name), enrolled[0] if enrolled else None)


def _get(session: Session, name: str, remedy: str = "") -> Approver:
    approver = _find(session, name)
    if approver is not None:
        return approver
    enrolled = ", ".join(approver.name for approver, _ in list_approvers(session)) or "nobody yet"
    raise ApproverError(
        name,
        f"not enrolled; enrolled: {enrolled}",
        remedy or f"Add it with 'pilotline approvers add {name}'.",
    )


def _note_attempt(session: Session, by: Presence) -> tuple[int, int]:
    approver = _get(session, by.approver)
    wrong, first = _count_tries(session, approver)
    if wrong >= MAX_WRONG:
        until = f"{first + WRONG_WINDOW:%H:%M:%S} UTC"
        raise WrongCodeError(
            approver.name, f"{wrong} were wrong lately", f"Wait until {until}, then try again."
        )
    attempt = CodeAttempt(approver_id=approver.id, at=now())
    session.add(attempt)
    session.flush()
    return attempt.id, approver.id


def _count_tries(session: Session, approver: Approver) -> tuple[int, datetime]:
    """Return how many codes were tried lately and not accepted, and when the first of them was."""
    moment = now()
    counted = select(func.count(), func.min(CodeAttempt.at)).where(
        CodeAttempt.approver_id == approver.id, CodeAttempt.at > moment - WRONG_WINDOW
    )
    count, first = session.execute(counted).one()
    return count, first or moment


def _use_code(session: Session, vault: Vault, by: Presence) -> None:
    """Accept the code of one time step, never of that or an earlier one again (RFC 6238, 5.2)."""
    import pyotp

    approver = _get(session, by.approver)
    totp = pyotp.TOTP(vault.open(approver.name, approver.secret), interval=STEP_S)
    present = totp.timecode(by.at or now())
    code = by.code.replace(" ", "").encode("utf-8", "replace")
    for counter in range(present - DRIFT_STEPS, present + DRIFT_STEPS + 1):
        if hmac.compare_digest(totp.generate_otp(counter).encode(), code):
            if counter <= approver.last_counter:
                raise WrongCodeError(
                    approver.name, "it was used before", "Wait for the next one on the device."
                )
            approver.last_counter = counter
            session.flush()
            return
    left = MAX_WRONG - _count_tries(session, approver)[0]
    raise WrongCodeError(
        approver.name,
        f"it is wrong; {left or 'no'} {'try' if left == 1 else 'tries'} left",
        "Type the six digits that the device shows now.",
    )
