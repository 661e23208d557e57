"""The command report: what is on record of a model, as one HTML page or as JSON."""

from datetime import date
from pathlib import Path

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_json, progress
from pilotline.flows.screen.options import Day, json_option


@click.command()
@click.argument("model")
@click.option(
    "--out",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page's file; by default reports/MODEL.html in the home.",
)
@click.option("--start", type=Day(), help="First day of data; by default at most a year back.")
@click.option("--end", type=Day(), help="Last day, included; by default the last one scored.")
@json_option
def report(
    model: str, path: Path | None, start: date | None, end: date | None, as_json: bool
) -> None:
    """Write a page on MODEL: what is open, operations, performance, drift.

    One HTML file, which loads nothing from elsewhere. --json prints its facts, and writes the page
    only where --out names it.
    """
    if start and end and end < start:
        raise click.UsageError(f"{end} is before {start}. Swap --start and --end.")
    from pilotline.tasks.report import gather_report, report_path, write_report

    home = current_home()
    with home.open_registry() as registry, progress(f"reporting on {model}"):
        report = gather_report(registry, home, model, start, end)
    written = None
    if path is not None or not as_json:
        written = write_report(report, path or report_path(home, model))
    if as_json:
        print_json(report.facts() | {"page": str(written) if written else None})
        return
    for question in report.questions:
        color = "red" if question.level == "alert" else "yellow"
        out.print(f"[{color}]{question.level}:[/]", end=" ")
        out.print(question.title, markup=False)
    out.print(str(written), markup=False)
