"""The command report: what is on record of a model, as one HTML page or as JSON."""

from datetime import date
from pathlib import Path

from flows.run.place import current_home
from flows.screen.console import out, print_json, progress


def run_report(
    model: str, path: Path | None, start: date | None, end: date | None, as_json: bool
) -> None:
    """Write the page and print its path and what is open; with JSON the facts."""
    from tasks.report import gather_report
    from tasks.report_page import report_path, write_report

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
