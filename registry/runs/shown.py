"""What readers see: which run each partition shows, and whether it was made here."""

from datetime import date

from sqlalchemy import Function, Select, func, select
from sqlalchemy.orm import Session

from pilotline.registry.record import list_events
from pilotline.registry.runs.ingests import Ingest
from pilotline.registry.runs.runs import PRODUCTION, Run, ScoredPartition


def visible_runs(
    session: Session, model_id: int, variant: str, start: date, end: date
) -> dict[date, Run]:
    """Return the run whose rows readers see, by day; reads only."""
    rows = session.scalars(
        select(Run)
        .join(ScoredPartition, ScoredPartition.visible_run == Run.id)
        .where(Run.model_id == model_id, Run.variant == variant)
        .where(Run.date >= start, Run.date <= end)
    )
    return {run.date: run for run in rows}


def first_shown_day(session: Session, model_id: int, until: date) -> date | None:
    """Return the first day up to ``until`` whose production readers see; reads only."""
    return session.scalar(_shown(func.min(ScoredPartition.date), model_id, until))


def last_shown_day(session: Session, model_id: int, until: date | None = None) -> date | None:
    """Return the last day of which readers see production's predictions; reads only.

    Args:
        session: any session.
        model_id: whose predictions.
        until: the last day that counts; None: each does.
    """
    return session.scalar(_shown(func.max(ScoredPartition.date), model_id, until))


def last_known_day(session: Session, model_id: int, actuals: str, until: date) -> date | None:
    """Return the last shown day of production that has rows in dataset ``actuals``; reads only."""
    return session.scalar(
        _shown(func.max(ScoredPartition.date), model_id, until)
        .join(Ingest, Ingest.date == ScoredPartition.date)
        .where(Ingest.dataset == actuals, Ingest.accepted > 0)
    )


def _shown(what: Function[date], model_id: int, until: date | None) -> Select[date]:
    """Return a query of the days that readers of production see, by whichever version."""
    query = select(what).where(
        ScoredPartition.model_id == model_id,
        ScoredPartition.variant == PRODUCTION,
        ScoredPartition.visible_run.is_not(None),
    )
    return query if until is None else query.where(ScoredPartition.date <= until)


def shown_variants(session: Session, model_id: int) -> list[str]:
    """Return the variants of which readers see something, by name; reads only."""
    query = select(ScoredPartition.variant).where(
        ScoredPartition.model_id == model_id, ScoredPartition.visible_run.is_not(None)
    )
    return sorted(session.scalars(query.distinct()))


def imported_run(session: Session, model_id: int, variant: str, day: date) -> str | None:
    """Return the last run of a partition if it succeeded before an import; reads only.

    An import brings the history but not the predictions: they lie where the run was made.
    """
    imports = list_events(session, model_id, "imported")
    if not imports:
        return None
    place = (variant, day.isoformat())
    ended = [
        event
        for event in list_events(session, model_id, "run succeeded")
        if (event.facts().get("variant"), event.facts().get("date")) == place
    ]
    if not ended or ended[-1].seq > imports[-1].seq:
        return None
    return str(ended[-1].facts()["run"])


def came_by_import(session: Session, run: Run) -> bool:
    """Tell whether ``run`` ended before its history was imported here; reads only."""
    imports = list_events(session, run.model_id, "imported")
    if not imports:
        return False
    ended = list_events(session, run.model_id, "run succeeded")
    return any(e.seq < imports[-1].seq and e.facts().get("run") == run.id for e in ended)
