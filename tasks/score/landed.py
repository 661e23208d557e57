"""What became of days whose scoring was stopped before it could tell."""

from collections.abc import Sequence
from datetime import date, datetime

from pilotline.registry.record import get_model, version_by_id
from pilotline.registry.runs import (
    PRODUCTION,
    Run,
    RunOutcome,
    get_partition,
    get_run,
    last_outcomes,
    unsettled_runs,
)
from pilotline.registry.store import Session
from pilotline.tasks import lake
from pilotline.tasks.home import Home
from pilotline.tasks.lake import Table, find_commit
from pilotline.tasks.score.commit import mark_of
from pilotline.tasks.score.days import DayScored


def find_ended(home: Home, model: str, days: Sequence[date], since: datetime) -> list[DayScored]:
    """Return what became of those of ``days`` that were claimed since then; changes nothing.

    A run that was stopped between its commit and the record of it has no outcome yet, and readers
    see it: of those the table tells. What wrote nothing is left out.

    Args:
        home: the home.
        model: the model.
        days: which days of production.
        since: when their scoring began.

    Raises:
        LakeError: the table of predictions cannot be read.
    """
    if not days:
        return []
    path = lake.predictions_path(home.lake, model)
    table = lake.open_table(path) if lake.is_table(path) else None
    found = []
    with home.open_registry() as registry, registry.read() as session:
        model_id = get_model(session, model).id
        outcomes = last_outcomes(session, model_id, PRODUCTION, min(days), max(days))
        for day in sorted(outcomes.keys() & set(days)):
            outcome = outcomes[day]
            run = (
                get_run(session, outcome.run_id)
                if outcome is not None
                else unsettled_runs(session, model_id, PRODUCTION, day)[-1]
            )
            if run.started_at >= since:
                found.append(_describe(session, table, run, outcome))
    return [one for one in found if one is not None]


def _describe(
    session: Session, table: Table | None, run: Run, outcome: RunOutcome | None
) -> DayScored | None:
    number = version_by_id(session, run.version_id).number
    if outcome is not None:
        return DayScored(run.date, outcome.state, number, run.id, outcome.rows, outcome.reason)
    if table is None or find_commit(table, mark_of(run)) is None:
        return None
    rows = get_partition(session, run.dataset, run.date).accepted
    return DayScored(run.date, "succeeded", number, run.id, rows)
