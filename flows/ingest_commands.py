"""The command ingest --new: everything since the last day that is in."""

from datetime import UTC, date, datetime

from flows.commands import run_ingest
from flows.run.place import current_home
from flows.screen.console import out, print_json
from flows.screen.text import show


def ingest_new(dataset: str, end: date | None, as_json: bool) -> None:
    """Ingest the days after the last one that is in, or say that there are none."""
    from tasks.datasets import load_dataset
    from tasks.new_days import find_new_days

    home = current_home()
    described = load_dataset(home.lab, dataset)
    with home.open_registry() as registry:
        days = find_new_days(registry, described, end, datetime.now(UTC))
    if days is not None:
        run_ingest(dataset, *days, as_json)
    elif as_json:
        print_json([])
    else:
        until = f"up to {end}" if end else f"up to yesterday ({described.zone})"
        out.print(show(f"Every day of {dataset} {until} is in."))
