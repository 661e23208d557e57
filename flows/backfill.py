"""Score a range of days: plan first, then only what is missing, failed or stale."""

from collections.abc import Sequence
from datetime import date

from prefect import flow

from flows.place import current_home
from flows.score import emit_scored
from tasks.planning import PlannedDay
from tasks.scoring import DayScored
from tasks.steps import make_plan, run_plan


@flow(flow_run_name="plan-{model}-{start}-{end}")
def plan(model: str, start: date, end: date, using: str) -> list[PlannedDay]:
    """Return what a backfill would do; changes nothing."""
    return make_plan(current_home(), model, start, end, using)


@flow(flow_run_name="backfill-{model}-{start}-{end}")
def backfill(
    model: str, start: date, end: date, using: str
) -> tuple[Sequence[PlannedDay], list[DayScored]]:
    """Return the plan and what became of the days it left to do.

    Args:
        model: the model.
        start: first day.
        end: last day, included.
        using: ``champion``, ``as-of`` (the version that was champion for each day) or a version.
    """
    home = current_home()
    planned = make_plan(home, model, start, end, using)
    done = run_plan(home, model, planned)
    for result in done:
        emit_scored(model, result)
    return planned, done
