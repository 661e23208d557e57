"""Comparisons of a version with a champion that was made after it was trained."""

from collections.abc import Mapping

from sqlalchemy.orm import Session

from pilotline.registry.record.events import Event, append_event, list_events
from pilotline.registry.record.versions import ModelVersion

COMPARED = "compared"


def record_comparison(
    session: Session, version: ModelVersion, champion: ModelVersion, found: Mapping[str, object]
) -> Event:
    """Record what a comparison with ``champion`` found; flushes, the caller commits.

    Args:
        session: a writing session.
        version: which waits to be released.
        champion: what it was compared with.
        found: ``metrics`` of the champion, ``checks`` of the version, ``rows`` and what else is
            to be kept of it.
    """
    body = {
        "version": version.number,
        "digest": version.digest,
        "champion": champion.number,
        "champion_digest": champion.digest,
        **found,
    }
    return append_event(session, version.model_id, COMPARED, body)


def last_comparison(
    session: Session, version: ModelVersion, champion: str | None = None
) -> Event | None:
    """Return the last comparison of ``version``, with ``champion`` where given; reads only."""
    for event in reversed(list_events(session, version.model_id, COMPARED)):
        facts = event.facts()
        if facts["version"] == version.number and champion in (None, facts["champion"]):
            return event
    return None
