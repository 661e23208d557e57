"""Bring the days of a dataset in: check, quarantine, commit."""

from datetime import date

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from pilotline.flows.run.events import emit
from pilotline.flows.run.place import current_home
from pilotline.tasks.errors import PartitionRefusedError
from pilotline.tasks.ingest import DayIngested, describe_day, describe_refusal
from pilotline.tasks.ingest.steps import ingest_range


@flow(flow_run_name="ingest-{dataset}-{start}-{end}")
def ingest(dataset: str, start: date, end: date) -> list[DayIngested]:
    """Return what became of each day from ``start`` to ``end``, included."""
    try:
        done = ingest_range(current_home(), dataset, start, end, emit_ingested)
    except PartitionRefusedError as refused:
        raise with_docs(dataset, refused) from refused
    changed = [day for day in done if day.changed]
    if changed:
        link_data_docs(dataset, changed)
    return done


def link_data_docs(dataset: str, days: list[DayIngested]) -> None:
    """Build the page of the last of ``days`` and name it in an artifact, with all their counts.

    One page costs as much as ingesting two weeks does, so the other days have theirs on demand.
    """
    page = describe_day(current_home(), dataset, days[-1].date)
    lines = [
        f"| {day.date} | {day.accepted:,} | {day.quarantined:,} | {day.partition_digest[:12]} |"
        for day in days
    ]
    create_markdown_artifact(
        key=f"ingest-{dataset}",
        description=f"What became of {len(days)} days of {dataset}",
        markdown="\n".join(
            [
                f"Data Docs of {days[-1].date}: [{page.name}]({page.as_uri()})",
                "",
                "| date | accepted | quarantined | digest |",
                "| --- | ---: | ---: | --- |",
                *lines,
            ]
        ),
    )


def with_docs(dataset: str, refused: PartitionRefusedError) -> PartitionRefusedError:
    """Return the refusal of a day with the place of its page, which an artifact names as well."""
    try:
        page = describe_refusal(current_home(), dataset, refused)
    except OSError as err:  # a page that cannot be written must not hide why the day was refused
        get_run_logger().warning("no Data Docs of the refused day: %s", err)
        return refused
    if page is None:
        return refused
    create_markdown_artifact(
        key=f"refused-{dataset}",
        description=f"Why {refused.date} of {dataset} was refused whole",
        markdown=f"Data Docs of {refused.date}: [{page.name}]({page.as_uri()})",
    )
    remedy = f"{refused.remedy} Data Docs: {page}"
    return PartitionRefusedError(dataset, refused.date, refused.problem, remedy)


def emit_ingested(day: DayIngested) -> None:
    """Send the event of a day whose rows are new."""
    if day.changed:
        emit(
            "partition.ingested",
            day.dataset,
            {
                "date": day.date.isoformat(),
                "accepted": day.accepted,
                "quarantined": day.quarantined,
                "digest": day.partition_digest,
            },
        )
