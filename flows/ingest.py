"""Bring the days of a dataset in: check, quarantine, commit."""

from datetime import date

from prefect import flow

from flows.events import emit
from flows.place import current_home
from tasks.ingestion import DayIngested
from tasks.steps import ingest_range


@flow(flow_run_name="ingest-{dataset}-{start}-{end}")
def ingest(dataset: str, start: date, end: date) -> list[DayIngested]:
    """Return what became of each day from ``start`` to ``end``, included."""
    done = ingest_range(current_home(), dataset, start, end)
    for day in done:
        if day.changed:
            emit(
                "partition.ingested",
                dataset,
                {
                    "date": day.date.isoformat(),
                    "accepted": day.accepted,
                    "quarantined": day.quarantined,
                    "digest": day.partition_digest,
                },
            )
    return done
