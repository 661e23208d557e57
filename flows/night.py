"""Score every night that a model owes, oldest first, in one process with one environment."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from prefect import State, flow
from prefect.artifacts import create_table_artifact
from prefect.deployments import run_deployment
from prefect.states import Completed, Failed

from pilotline.flows.ingest import emit_ingested
from pilotline.flows.run.deployed import deployed_run
from pilotline.flows.run.events import emit
from pilotline.flows.run.place import current_home
from pilotline.flows.score import emit_scored
from pilotline.tasks.schedule import Delivery, Fetched, Night, describe_deadline
from pilotline.tasks.schedule.steps import fetch_nights, find_nights, judge_nights
from pilotline.tasks.score import DayScored
from pilotline.tasks.score.steps import score_production

WAITING = "waiting for data"


@flow(flow_run_name="night-{model}")
def night(model: str) -> State[Any]:
    """End as completed, as ``waiting for data``, or as failed with the reason and what to type.

    Nights that were missed are done too, so of several late starts the first does all the work. A
    night is fetched from its dataset's source where it is not ingested yet.

    Args:
        model: the model; its champion's own ``model.toml`` says which nights there are.
    """
    home = current_home()
    owed = find_nights(home, model)
    fetched = fetch_nights(home, owed.dataset, [n.date for n in owed.nights if not n.ingested])
    for day in fetched.days:
        emit_ingested(day)
    here = {day.date for day in fetched.days} | {n.date for n in owed.nights if n.ingested}
    scored = score_production(home, model, sorted(here), "night") if here else []
    for result in scored:
        emit_scored(model, result)
    deliveries = judge_nights(home, model, sorted(here))
    for late in (d for d in deliveries if not d.on_time):
        emit("partition.late", model, {"date": late.date.isoformat()})
    _show(model, owed.nights, scored, deliveries)
    if deployed_run() is not None:
        _start_monitor(model, scored)
    return _ending(model, owed.nights, fetched, scored)


def _start_monitor(model: str, scored: Sequence[DayScored]) -> None:
    """Let the model be watched up to the last day that was scored, in a run of its own."""
    done = [day for day in scored if day.state == "succeeded"]
    if done:
        last = max(done, key=lambda day: day.date)
        run_deployment(
            "monitor/monitor",
            parameters={"model": model, "day": last.date.isoformat()},
            timeout=0,
            as_subflow=False,
            idempotency_key=f"monitor-{last.run_id}",
        )


def _show(
    model: str,
    nights: Sequence[Night],
    scored: Sequence[DayScored],
    deliveries: Sequence[Delivery],
) -> None:
    """Leave a table of the nights on the run's page."""
    results = {result.date: result for result in scored}
    delivered = {delivery.date: delivery.at for delivery in deliveries}
    rows = [
        {
            "date": night.date.isoformat(),
            "due": night.due.isoformat(timespec="minutes"),
            "state": results[night.date].state if night.date in results else WAITING,
            "rows": results[night.date].rows if night.date in results else 0,
            "delivery": describe_deadline(night.deadline, delivered.get(night.date), night.due),
        }
        for night in nights
    ]
    if rows:
        create_table_artifact(key=f"night-{model}", table=rows, description=f"Nights of {model}")


def _ending(
    model: str, nights: Sequence[Night], fetched: Fetched, scored: Sequence[DayScored]
) -> State[Any]:
    failed: list[tuple[date, str]] = [
        (day.date, day.reason) for day in scored if day.state == "failed"
    ]
    failed += fetched.problems.items()
    if failed:
        day, reason = min(failed)
        first = reason.partition("\n")[0]
        more = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
        command = f"pilotline backfill {model} --start {day} --end {max(failed)[0]}"
        return Failed(message=f"{day}: {first}{more} Try: {command} --using champion")
    missing = [n.date for n in nights if n.date not in {day.date for day in scored}]
    done = ", ".join(f"{day.date} {day.state}" for day in scored)
    if missing:
        listed = ", ".join(str(day) for day in missing[:8])
        before = f"{done}; " if done else ""
        return Completed(name=WAITING, message=f"{before}not ingested yet: {listed}")
    return Completed(message=done or "no night was open")
