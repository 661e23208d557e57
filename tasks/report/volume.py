"""What came in and went out of a model by day, for a report, and whether it was in time."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from typing import Any

from pilotline.registry.record import last_values
from pilotline.registry.runs import PRODUCTION, list_partitions, outcome_of, visible_runs
from pilotline.registry.store import Session
from pilotline.tasks.schedule import MARGIN


@dataclass(frozen=True)
class DayVolume:
    """Rows of one day."""

    date: date
    accepted: int = 0  # of the input
    quarantined: int = 0
    actuals: int = 0  # accepted of the actuals' dataset
    actuals_quarantined: int = 0
    predicted: int = 0  # that readers of production see
    stale: bool = False  # predicted from other rows than the day holds now
    ingested: bool = False


@dataclass(frozen=True)
class Delivered:
    """How long before its deadline a night was there."""

    date: date
    margin_s: float  # negative: late


def list_volume(
    session: Session, model_id: int, datasets: tuple[str, str], span: tuple[date, date]
) -> list[DayVolume]:
    """Return the rows of each day that has any; reads only.

    Args:
        session: any session.
        model_id: whose predictions.
        datasets: what the model reads, and what brings its actuals.
        span: first and last day, included.
    """
    days: dict[date, dict[str, Any]] = defaultdict(dict)
    held = {}
    for partition in list_partitions(session, datasets[0], *span):
        held[partition.date] = partition.partition_digest
        facts = {"accepted": partition.accepted, "quarantined": partition.quarantined}
        days[partition.date] |= {**facts, "ingested": True}
    for partition in list_partitions(session, datasets[1], *span):
        facts = {"actuals": partition.accepted, "actuals_quarantined": partition.quarantined}
        days[partition.date] |= facts
    for day, run in visible_runs(session, model_id, PRODUCTION, *span).items():
        outcome = outcome_of(session, run)
        stale = day in held and held[day] != run.partition_digest
        days[day] |= {"predicted": outcome.rows if outcome else 0, "stale": stale}
    return [DayVolume(day, **days[day]) for day in sorted(days)]


def list_deliveries(session: Session, model_id: int, span: tuple[date, date]) -> list[Delivered]:
    """Return when each night of the days in ``span`` was there, as judged last; reads only."""
    last = last_values(session, model_id, "delivery", MARGIN, span)
    return [Delivered(day, last[day]) for day in sorted(last)]
