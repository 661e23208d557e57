"""Taking versions out of use: deprecate, revoke, archive."""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from pilotline.registry.consumers import Message, messages_of, tell_consumers
from pilotline.registry.form import VersionUnfitError
from pilotline.registry.gates.splits import split_of
from pilotline.registry.record import (
    CHAMPION,
    Event,
    ModelVersion,
    aliases_of,
    drop_alias,
    get_version,
    latest_event,
    list_events,
    model_of,
    set_status,
    status_of,
)
from pilotline.registry.runs import Run, ScoredPartition

# What each move may start from. Revoked is final: what must not run stays so.
FROM = {
    "deprecated": ("registered", "approved"),
    "revoked": ("registered", "approved", "rejected", "deprecated", "archived"),
    "archived": ("registered", "approved", "rejected", "deprecated"),
}


@dataclass(frozen=True)
class Retired:
    """What taking a version out of use touched."""

    status: str
    new: bool  # False: it had the status already
    was_champion: bool
    partitions: list[tuple[str, date, str]]  # variant, day, run: what readers see from it now
    consumers: list[str]  # who is told, or was told before


def retire(
    session: Session, name: str, number: str, status: str, reason: str, by: str, identity: str
) -> Retired:
    """Move a version to ``deprecated``, ``revoked`` or ``archived``; flushes, the caller commits.

    Args:
        session: a writing session.
        name: the model.
        number: the version.
        status: where to.
        reason: why; kept for ever.
        by: who says so.
        identity: how sure we are of that.

    Raises:
        UnknownModelError, UnknownVersionError: no such version.
        VersionUnfitError: its present status forbids it, or it is champion and to be archived.
    """
    version = get_version(session, name, number)
    before = status_of(session, version)
    was_champion = CHAMPION in aliases_of(session, version)
    partitions = shown_partitions(session, version)
    if before == status:
        told_before = [message.consumer for message in told_of(session, version)]
        return Retired(status, False, was_champion, partitions, told_before)
    if before not in FROM[status]:
        raise VersionUnfitError(
            name, number, f"is {before}, which cannot become {status}", "It stays as it is."
        )
    if status == "archived" and was_champion:
        raise VersionUnfitError(
            name, number, "is champion", "Promote another one, or roll back, before archiving it."
        )
    body: dict[str, object] = {"reason": reason, "by": by, "identity": identity}
    if status == "revoked":
        body["partitions"] = [[variant, day.isoformat(), run] for variant, day, run in partitions]
    if status == "archived" and _shares_rows(session, name, number):
        raise VersionUnfitError(
            name,
            number,
            "scores part of production's rows",
            f"Run 'pilotline split stop {name} --reason TEXT' before archiving it.",
        )
    if status in ("revoked", "archived"):
        for alias in aliases_of(session, version):
            if alias != CHAMPION:
                drop_alias(session, alias, version)
    set_status(session, version, status, body)
    told = []
    if status != "archived":
        event = latest_event(session, version.model_id)
        assert event is not None
        told = tell_consumers(
            session, event, *_say(name, number, status, reason, event, partitions)
        )
    return Retired(status, True, was_champion, partitions, told)


def last_move(session: Session, version: ModelVersion) -> Event | None:
    """Return the event that gave ``version`` its present status; reads only."""
    moves = list_events(session, version.model_id, status_of(session, version))
    mine = (event for event in reversed(moves) if event.facts().get("version") == version.number)
    return next(mine, None)


def told_of(session: Session, version: ModelVersion) -> list[Message]:
    """Return what consumers are told of the present status of ``version``; reads only."""
    event = last_move(session, version)
    return messages_of(session, event.id) if event else []


def shown_partitions(session: Session, version: ModelVersion) -> list[tuple[str, date, str]]:
    """Return variant, day and run of every partition readers see from ``version``; reads only."""
    rows = session.execute(
        select(Run.variant, Run.date, Run.id)
        .join(ScoredPartition, ScoredPartition.visible_run == Run.id)
        .where(or_(Run.version_id == version.id, Run.challenger_id == version.id))
        .order_by(Run.variant, Run.date)
    )
    return [(variant, day, run) for variant, day, run in rows]


def deprecated_warning(session: Session, version: ModelVersion) -> str:
    """Return what to tell who uses ``version`` if it is deprecated, else nothing; reads only."""
    if status_of(session, version) != "deprecated":
        return ""
    return f"{model_of(session, version).name} {version.number} is deprecated; move off it"


def _shares_rows(session: Session, name: str, number: str) -> bool:
    split = split_of(session, name)
    return split is not None and split.challenger == number


def _say(
    name: str,
    number: str,
    status: str,
    reason: str,
    event: Event,
    partitions: list[tuple[str, date, str]],
) -> tuple[str, str]:
    days = [day for variant, day, _ in partitions if variant == "production"]
    seen = (
        f"{len(days)} days of predictions come from it" if days else "no predictions come from it"
    )
    span = f", {min(days)} to {max(days)}" if days else ""
    return (
        f"{name} {number} is {status}",
        f"{name} {number} is {status}: {reason}\n{seen}{span}.\nEvent {event.seq} {event.hash}.",
    )
