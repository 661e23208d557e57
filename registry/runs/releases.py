"""Releases from quarantine: who let how many rows into a day, as events of the factory's chain.

A dataset belongs to no single model, so it has no chain of its own.
"""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from pilotline.registry.record import Event, append_event
from pilotline.registry.runs.ingests import Ingest

KIND = "rows released"


def record_release(session: Session, before: Ingest, after: Ingest, rows: int, by: str) -> Event:
    """Add the event of a release; flushes, the caller commits.

    Args:
        session: the writing session in which the day's new ingest is recorded.
        before: what the day held until now.
        after: what it holds with the released rows among the accepted ones.
        rows: how many left the quarantine.
        by: who released them, as the command knows it.
    """
    return append_event(
        session,
        None,
        KIND,
        {
            "dataset": after.dataset,
            "date": after.date.isoformat(),
            "rows": rows,
            "by": by,
            "before": before.partition_digest,
            "after": after.partition_digest,
            "token": after.token,
        },
    )


def find_unfounded(session: Session, events: Iterable[Event]) -> Event | None:
    """Return the first release among ``events`` whose ingest is not on record; reads only."""
    for event in events:
        if event.kind != KIND:
            continue
        facts = event.facts()
        tokens = select(Ingest.id).where(
            Ingest.dataset == facts["dataset"],
            Ingest.token == facts["token"],
            Ingest.partition_digest == facts["after"],
        )
        if session.scalars(tokens.limit(1)).first() is None:
            return event
    return None
