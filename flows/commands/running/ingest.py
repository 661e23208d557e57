"""The command ingest: days of a dataset from its source."""

from dataclasses import asdict
from datetime import UTC, date, datetime

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_json, print_table
from pilotline.flows.screen.options import Day, json_option
from pilotline.flows.screen.text import show
from pilotline.flows.server.at_server import flow_run


@click.command()
@click.argument("dataset")
@click.option("--date", "day", type=Day(), help="One day.")
@click.option("--start", type=Day(), help="First day of a range.")
@click.option("--end", type=Day(), help="Last day of a range, included.")
@click.option("--new", "only_new", is_flag=True, help="From the last day that is in to yesterday.")
@json_option
def ingest(
    dataset: str,
    day: date | None,
    start: date | None,
    end: date | None,
    only_new: bool,
    as_json: bool,
) -> None:
    """Bring days of DATASET in from its source.

    The same rows again change nothing. --new goes on after the last day that is in, up to --end
    or to yesterday in the dataset's zone.
    """
    if only_new:
        if day or start:
            raise click.UsageError(
                "--new finds the first day itself: leave --date and --start out."
            )
        _ingest_new(dataset, end, as_json)
        return
    if (day is None) == (start is None or end is None) or (day and (start or end)):
        raise click.UsageError("Give --date, or --start and --end, or --new.")
    if start and end and end < start:
        raise click.UsageError(f"{end} is before {start}. Swap --start and --end.")
    first, last = (day, day) if day else (start, end)
    assert first is not None
    assert last is not None
    _ingest_days(dataset, first, last, as_json)


def _ingest_days(dataset: str, start: date, end: date, as_json: bool) -> None:
    """Ingest a range and show each day."""
    from pilotline.tasks.lab import load_dataset

    load_dataset(current_home().lab, dataset)  # a wrong name is told before a server is started
    with flow_run(f"ingesting {dataset}"):
        from pilotline.flows.ingest import ingest

        days = ingest(dataset, start, end)
    if as_json:
        print_json([asdict(day) for day in days])
        return
    columns = ["date", "ingested", "accepted", "quarantined", "state", "digest"]
    rows = [
        (
            day.date,
            day.ingested,
            day.accepted,
            day.quarantined,
            "new" if day.changed else "unchanged",
            day.partition_digest[:12],
        )
        for day in days
    ]
    print_table(f"{dataset}: ingested = accepted + quarantined", columns, rows)


def _ingest_new(dataset: str, end: date | None, as_json: bool) -> None:
    """Ingest the days after the last one that is in, or say that there are none."""
    from pilotline.tasks.ingest import find_new_days
    from pilotline.tasks.lab import load_dataset

    home = current_home()
    described = load_dataset(home.lab, dataset)
    with home.open_registry() as registry:
        days = find_new_days(registry, described, end, datetime.now(UTC))
    if days is not None:
        _ingest_days(dataset, *days, as_json)
    elif as_json:
        print_json([])
    else:
        until = f"up to {end}" if end else f"up to yesterday ({described.zone})"
        out.print(show(f"Every day of {dataset} {until} is in."))
