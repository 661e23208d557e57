"""The command quarantine: the rows set aside, and letting corrected ones in."""

import getpass
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_json, print_table, progress
from pilotline.flows.screen.options import Day, json_option
from pilotline.flows.screen.text import show
from pilotline.registry.runs import get_partition

if TYPE_CHECKING:
    from pilotline.tasks.ingest import Release

MOST_ROWS = 50  # of a table on the screen
MOST_LETTERS = 200  # of a row there


@click.command()
@click.argument("dataset")
@click.option("--date", "day", type=Day(), help="Only this day's.")
@click.option(
    "--release",
    "path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Check the corrected rows in this .json or .csv file and let in those that pass.",
)
@click.option(
    "--release-row",
    "numbers",
    type=click.IntRange(min=0),
    multiple=True,
    metavar="N",
    help="Check row N of --date again as it is; again for several.",
)
@click.option("--docs", is_flag=True, help="Write the Data Docs page of --date; print its path.")
@json_option
def quarantine(
    dataset: str,
    day: date | None,
    path: Path | None,
    numbers: tuple[int, ...],
    docs: bool,
    as_json: bool,
) -> int:
    """Show the rows of DATASET set aside, and why; let corrected ones in.

    What --json prints can be corrected in place and given to --release. A row passes the same
    checks as at ingestion, with the accepted rows of its day; what does not pass stays. The day's
    source still decides: once its rows change, an ingest undoes what was released.
    """
    if docs:
        if day is None or path is not None or numbers or as_json:
            raise click.UsageError("Give --docs with --date, and nothing else.")
        _write_docs(dataset, day)
        return 0
    if path is not None and numbers:
        raise click.UsageError("Give --release or --release-row, not both.")
    if numbers and day is None:
        raise click.UsageError("Give --date too: rows are numbered within a day.")
    if path is None and not numbers:
        _show(dataset, day, as_json)
        return 0
    return _release(dataset, day, path, numbers, as_json)


def _show(dataset: str, day: date | None, as_json: bool) -> None:
    """Print the quarantined rows of a dataset, or of one day, with every reason."""
    from pilotline.tasks.ingest import list_quarantine
    from pilotline.tasks.lab import load_dataset

    home = current_home()
    load_dataset(home.lab, dataset)  # a wrong name is told, not an empty list shown
    if day is not None:
        with home.open_registry() as registry, registry.read() as session:
            get_partition(session, dataset, day)
    rows = list_quarantine(home, dataset, day)
    if as_json:
        print_json(rows)
        return
    if not rows:
        out.print(f"Nothing of {dataset} is in quarantine{f' on {day}' if day else ''}.")
        return
    shown = [
        (row["date"], row["row_number"], "; ".join(row["reasons"]), _in_short(row["row"]))
        for row in rows[:MOST_ROWS]
    ]
    print_table(f"{dataset}: in quarantine", ["date", "row", "reasons", "values"], shown)
    if len(rows) > MOST_ROWS:
        out.print(f"and {len(rows) - MOST_ROWS:,} more: --date DATE, or --json for all of them")
    out.print(
        f"Correct them in the source and ingest the day again, or in a file: "
        f"pilotline quarantine {dataset} --json > rows.json, then --release rows.json",
        soft_wrap=False,
    )


def _write_docs(dataset: str, day: date) -> None:
    """Write the page of Great Expectations about a day and print where it is."""
    from pilotline.tasks.ingest import describe_day

    with progress(f"checking {dataset} {day}"):
        path = describe_day(current_home(), dataset, day)
    out.print(show(str(path)), markup=False)


def _release(
    dataset: str, day: date | None, path: Path | None, numbers: Sequence[int], as_json: bool
) -> int:
    """Judge corrected rows, let in those that pass; return 1 if any does not."""
    from pilotline.tasks.ingest import as_they_are, read_corrections, release_rows
    from pilotline.tasks.lab import load_dataset

    home = current_home()
    what = load_dataset(home.lab, dataset)
    if path is not None:
        corrections = read_corrections(path, what, day)
    else:
        assert day is not None
        corrections = as_they_are(home, what, day, numbers)
    with progress(f"checking {len(corrections)} rows of {dataset}"):
        released = release_rows(home, what, corrections, getpass.getuser())
    if as_json:
        print_json(asdict(released) | {"digests": _by_text(released.digests)})
    else:
        _print_release(released)
    return 1 if released.stay else 0


def _print_release(released: "Release") -> None:
    rows = [
        (
            row.date,
            row.row_number,
            "released" if row.released else "stays",
            "; ".join(row.reasons) or "-",
        )
        for row in released.rows
    ]
    print_table(f"{released.dataset}: corrected rows", ["date", "row", "now", "why"], rows)
    if released.digests:
        first, last = min(released.digests), max(released.digests)
        out.print(
            "Predictions for these days are stale; 'pilotline backfill MODEL --using champion "
            f"--start {first} --end {last} --plan' lists them.",
            soft_wrap=False,
        )


def _by_text(digests: Mapping[date, str]) -> dict[str, str]:
    return {day.isoformat(): digest for day, digest in digests.items()}


def _in_short(row: Mapping[str, Any]) -> str:
    text = ", ".join(f"{name}={show(value)}" for name, value in row.items())
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}..."
