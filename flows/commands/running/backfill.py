"""The command backfill: what is missing in a range of days."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from itertools import groupby
from typing import Any

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import log, out, print_json, print_table
from pilotline.flows.screen.options import Day, json_option
from pilotline.flows.server.at_server import flow_run
from pilotline.tasks.score import TO_DO, PlannedDay, plan_backfill


@click.command()
@click.argument("model")
@click.option("--start", type=Day(), required=True, help="First day.")
@click.option("--end", type=Day(), required=True, help="Last day, included.")
@click.option("--using", required=True, metavar="champion|as-of|VERSION", help="Who scores.")
@click.option("--include-training-days", "learned", is_flag=True, help="Score those too.")
@click.option("--reason", default="", help="Why it may replace what another version made.")
@click.option("only_plan", "--plan", is_flag=True, help="Show what it would do, and stop.")
@json_option
def backfill(
    model: str,
    start: date,
    end: date,
    using: str,
    learned: bool,
    reason: str,
    only_plan: bool,
    as_json: bool,
) -> int:
    """Score a range of days of MODEL: only what is missing, failed or stale."""
    if end < start:
        raise click.UsageError(f"{end} is before {start}. Swap --start and --end.")
    planned = _plan(model, start, end, using, learned, reason)
    if not as_json:
        columns = ["date", "days", "state", "version", "reason"]
        print_table(f"Plan for {model}", columns, _in_spans(planned))
    elif only_plan:
        print_json([asdict(day) for day in planned])
    if only_plan:
        return 0
    done: list[Any] = []
    if any(day.state in TO_DO for day in planned):
        with flow_run(f"backfilling {model}"):
            from prefect.exceptions import CancelledRun

            from pilotline.flows.backfill import backfill

            try:
                planned, done = backfill(model, start, end, using, learned, reason)
            except CancelledRun as cancelled:
                log.warning("cancelled: %s; run it again to go on", cancelled)
                return 1
    blocked = [day for day in planned if day.state == "blocked"]
    if as_json:
        print_json({"plan": [asdict(d) for d in planned], "done": [asdict(d) for d in done]})
    elif not done:
        out.print("Nothing to score.")
    else:
        scored = [(day.date, day.state, day.number, day.rows, day.reason) for day in done]
        columns = ["date", "state", "version", "rows", "reason"]
        print_table(f"Done for {model}", columns, scored)
    return 1 if blocked or any(day.state == "failed" for day in done) else 0


def _in_spans(planned: Sequence[PlannedDay]) -> list[tuple[object, ...]]:
    """Return the plan's rows for people: days in a row of which the same is said share one."""

    def said(day: PlannedDay) -> tuple[str, str, str]:
        return day.state, day.number, day.reason.replace(str(day.date), "")

    rows: list[tuple[object, ...]] = []
    for _, alike in groupby(planned, said):
        days = list(alike)
        first, last = str(days[0].date), str(days[-1].date)
        span = first if first == last else f"{first} to {last}"
        reason = days[0].reason.replace(first, span)
        rows.append((span, len(days), days[0].state, days[0].number or "-", reason))
    return rows


def _plan(
    model: str, start: date, end: date, using: str, learned: bool, reason: str
) -> Sequence[PlannedDay]:
    """Return the plan without a server: planning reads the registry only."""
    from pilotline.tasks.lab import load_champion

    with current_home().open_registry() as registry:
        dataset = load_champion(registry, model).spec.input
        return plan_backfill(registry, model, dataset, start, end, using, learned, reason)
