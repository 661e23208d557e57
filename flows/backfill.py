"""Score a range of days: plan first, then only what is missing, failed or stale."""

import logging
from collections.abc import Sequence
from datetime import date

from prefect import flow

from flows.console import FACT
from flows.place import current_home
from flows.score import emit_scored
from tasks.planning import PlannedDay
from tasks.scoring import DayScored
from tasks.steps import make_plan, run_plan

log = logging.getLogger("pilotline")


@flow(flow_run_name="backfill-{model}-{start}-{end}")
def backfill(
    model: str,
    start: date,
    end: date,
    using: str,
    include_training_days: bool = False,
    reason: str = "",
) -> tuple[Sequence[PlannedDay], list[DayScored]]:
    """Return the plan and what became of the days it left to do.

    Args:
        model: the model.
        start: first day.
        end: last day, included.
        using: ``champion``, ``as-of`` (the version that was champion for each day) or a version.
        include_training_days: also score days the version learned from.
        reason: why another version than the present champion may replace what a third one made.
    """
    home = current_home()
    planned = make_plan(home, model, start, end, using, include_training_days, reason)
    states = [day.state for day in planned]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    log.log(FACT, f"plan for {len(planned)} days: {counts}")
    done = run_plan(home, model, planned, reason)
    for result in done:
        emit_scored(model, result)
    return planned, done
