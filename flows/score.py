"""Score one day of a model."""

from datetime import date

from prefect import flow

from pilotline.flows.run.events import emit
from pilotline.flows.run.place import current_home
from pilotline.tasks.score import DayScored
from pilotline.tasks.score.steps import score_production, score_shadow


@flow(flow_run_name="score-{model}-{day}")
def score(model: str, day: date, shadow: str | None = None) -> DayScored:
    """Return what became of the day.

    Args:
        model: the model.
        day: the partition.
        shadow: a version that scores beside production; by default the champion scores for it.
    """
    home = current_home()
    if shadow is None:
        (result,) = score_production(home, model, [day], "score")
    else:
        (result,) = score_shadow(home, model, day, shadow)
    emit_scored(model, result)
    return result


def emit_scored(model: str, result: DayScored) -> None:
    """Send the event of a day that has new predictions."""
    if result.state == "succeeded":
        facts = {"date": result.date.isoformat(), "version": result.number, "run": result.run_id}
        emit("partition.scored", model, {**facts, "rows": result.rows})
