"""Runs asked for by version, by day and by outcome."""

from datetime import date

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from pilotline.registry.record import ModelVersion
from pilotline.registry.runs.runs import PRODUCTION, Run, RunOutcome, ScoredPartition


def last_outcomes(
    session: Session, model_id: int, variant: str, start: date, end: date
) -> dict[date, RunOutcome | None]:
    """Return how the last run of each claimed day ended, None where it has not; reads only."""
    rows = session.execute(
        select(Run.date, RunOutcome)
        .join(ScoredPartition, ScoredPartition.claimed_by == Run.id)
        .outerjoin(RunOutcome, RunOutcome.run_id == Run.id)
        .where(Run.model_id == model_id, Run.variant == variant)
        .where(Run.date >= start, Run.date <= end)
    )
    return dict(rows.all())


def list_runs(session: Session, version: ModelVersion) -> list[tuple[Run, RunOutcome | None]]:
    """Return the runs of ``version`` with their outcomes, oldest first; reads only."""
    rows = session.execute(
        select(Run, RunOutcome)
        .outerjoin(RunOutcome, RunOutcome.run_id == Run.id)
        .where(or_(Run.version_id == version.id, Run.challenger_id == version.id))
        .order_by(Run.started_at)
    )
    return [(run, outcome) for run, outcome in rows]


def first_run_day(session: Session, model_id: int, after: date, until: date) -> date | None:
    """Return the first day after ``after`` and up to ``until`` that has a run; reads only."""
    query = select(func.min(Run.date)).where(Run.model_id == model_id)
    return session.scalar(query.where(Run.date > after, Run.date <= until))


def list_runs_of_days(
    session: Session, model_id: int, start: date, end: date
) -> list[tuple[Run, RunOutcome | None, ModelVersion]]:
    """Return a model's runs of the days from ``start`` to ``end`` as they began; reads only.

    Each with its outcome, and its version: of a split the champion.
    """
    query = (
        select(Run, RunOutcome, ModelVersion)
        .outerjoin(RunOutcome, RunOutcome.run_id == Run.id)
        .join(ModelVersion, ModelVersion.id == Run.version_id)
        .where(Run.model_id == model_id, Run.date >= start, Run.date <= end)
        .order_by(Run.started_at, Run.id)
    )
    return [(run, outcome, version) for run, outcome, version in session.execute(query)]


def committed_rows(
    session: Session, model_id: int, day: date, table_version: int
) -> tuple[str, int] | None:
    """Return which run of production made a version of the predictions table; reads only.

    With its number of rows; None where no run of ``day`` did.
    """
    query = (
        select(Run.id, RunOutcome.rows)
        .join(RunOutcome, RunOutcome.run_id == Run.id)
        .where(Run.model_id == model_id, Run.date == day)
        .where(Run.variant == PRODUCTION, RunOutcome.table_version == table_version)
    )
    found = session.execute(query).first()
    return (found.id, found.rows) if found is not None else None
