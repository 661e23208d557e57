"""Score a range of days: plan first, then only what is missing, failed or stale."""

import logging
from collections.abc import Sequence
from datetime import date
from typing import Any

from prefect import flow
from prefect.exceptions import Pause
from prefect.states import Cancelled, Failed

from pilotline.flows.run.deployed import deployed_run
from pilotline.flows.run.pacing import Pace, kept_pace
from pilotline.flows.run.place import current_home
from pilotline.flows.score import emit_scored
from pilotline.flows.screen.logs import FACT
from pilotline.tasks.score import DayScored, PlannedDay
from pilotline.tasks.score.steps import make_plan, run_plan

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

    Suspended in the Prefect UI, the run ends after the days it is at; resumed, it plans again, so
    that days which are done are done. Cancelled, it ends after the same days.

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
    with kept_pace(home, model, planned) as pace:
        done = run_plan(home, model, planned, reason, pace.go_on)
    for result in done:
        emit_scored(model, result)
    ended = _end(pace, planned, done)
    return (planned, done) if ended is None else ended


def _end(pace: Pace, planned: Sequence[PlannedDay], done: Sequence[DayScored]) -> Any:
    """Return the Prefect state that says why a run did not do all; None if there is none.

    Prefect takes a returned state for the run's own, whatever type the flow declares.

    Raises:
        Pause: the run was suspended, or another process goes on with it.
    """
    stopped = pace.stopped
    cancelled = stopped is not None and (stopped.is_cancelling() or stopped.is_cancelled())
    if cancelled or (stopped is not None and deployed_run() is None):
        # Nobody takes up what a command began: its run ends with its process.
        return Cancelled(message=f"{len(done)} of {pace.days} days were done; all of them whole")
    if stopped is not None:
        raise Pause(state=stopped)
    failed = [day for day in done if day.state == "failed"]
    if not failed or deployed_run() is None:
        return None
    first = failed[0]
    more = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
    return Failed(message=f"{first.date}: {first.reason.partition(chr(10))[0]}{more}")
