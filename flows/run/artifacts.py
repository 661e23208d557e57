"""The report on a model as artifacts of a run: what is open as a table, the rest as Markdown."""

from datetime import date

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from pilotline.tasks.home import Home
from pilotline.tasks.report import describe_report, tabulate_questions
from pilotline.tasks.report.steps import make_report


def show_report(home: Home, model: str, day: date) -> None:
    """Write the page of the days until ``day``, and leave it on the run's page in brief."""
    report, page = make_report(home, model, day)
    create_markdown_artifact(
        key=f"report-{model}",
        markdown=describe_report(report, page.as_uri()),
        description=f"{model}, {report.start} to {report.end}",
    )
    create_table_artifact(
        key=f"open-{model}",
        table=tabulate_questions(report),
        description=f"What is open about {model} on {day}",
    )
