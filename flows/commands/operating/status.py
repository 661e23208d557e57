"""The command status: how the factory is, in tables."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from pilotline.flows.factory.status import read_registry, read_server
from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_facts, print_json, print_table
from pilotline.flows.screen.options import json_option
from pilotline.flows.screen.text import show
from pilotline.registry.store import now
from pilotline.tasks.schedule import Standing, describe_deadline

MOST_ROWS = 30  # of a table; --json has them all
MOST_NAMED = 5  # in a line


@click.command()
@json_option
def status(as_json: bool) -> int:
    """Say how the factory is: server, worker, schedules, late runs, approvals that wait."""
    home, at = current_home(), now()
    server = read_server(home)
    standings, waiting = read_registry(home, at)
    overdue = [s for s in standings if s.behind and s.deadline and s.deadline < at]
    if as_json:
        models = [asdict(s) | {"delivery": _delivery(s, at)} for s in standings]
        print_json({"at": at, "server": server, "models": models, "approvals": waiting})
    else:
        _print(server, standings, waiting, at)
    return 1 if server["problem"] or overdue else 0


def _print(
    server: dict[str, Any],
    standings: Sequence[Standing],
    waiting: Sequence[dict[str, str]],
    at: datetime,
) -> None:
    if server["problem"]:
        out.print(show(server["problem"]), markup=False)
    else:
        online = [w["name"] for w in server["workers"] if w["status"] == "ONLINE"]
        print_facts(
            [
                ("server", f"{server['url']}, Prefect {server['version']}"),
                ("worker", ", ".join(online) or "NONE is online: is 'pilotline up' running?"),
                ("scheduled", f"{server['schedules']} of {len(standings)} models"),
                ("late runs", server["late"]),
                ("failed runs", f"{server['failed']} in 7 days"),
                *_backfills(server["backfills"]),
            ]
        )
    rows = [
        (
            s.model,
            s.version,
            s.schedule,
            s.last,
            s.owed,
            _delivery(s, at),
            s.next_due,
        )
        for s in standings[:MOST_ROWS]
    ]
    if rows:
        columns = ["model", "version", "schedule", "last scored", "due", "delivery", "next"]
        print_table("Nights", columns, rows)
    if len(standings) > MOST_ROWS:
        out.print(f"... and {len(standings) - MOST_ROWS:,} more; --json lists all")
    if waiting:
        rows_waiting = [(w["model"], w["version"], w["gate"]) for w in waiting[:MOST_ROWS]]
        print_table("Waiting for a decision", ["model", "version", "gate"], rows_waiting)


def _backfills(runs: Sequence[dict[str, str]]) -> list[tuple[str, str]]:
    """Return the line that says which backfills run or are paused, where any do."""
    if not runs:
        return []
    states = [run["state"] for run in runs]
    counts = ", ".join(f"{states.count(s)} {s}" for s in ("running", "paused") if s in states)
    named = ", ".join(run["what"] for run in runs[:MOST_NAMED])
    more = f" and {len(runs) - MOST_NAMED} more" if len(runs) > MOST_NAMED else ""
    return [("backfills", f"{counts}: {named}{more}")]


def _delivery(standing: Standing, at: datetime) -> str:
    """Return in words whether the last night that was due is there, and in time."""
    judged = describe_deadline(standing.deadline, standing.delivered_at, at)
    if standing.owed is None:
        return "nothing was due yet"
    if standing.delivered_at is None:
        return f"missing, {judged}" if judged else "missing"
    return judged or "delivered"
