"""The report as a step of a flow: facts gathered, and the page written into the home."""

from datetime import date
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from pilotline.tasks.home import Home
from pilotline.tasks.report.facts import Report, gather_report
from pilotline.tasks.report.pages.page import report_path, write_report


@task(cache_policy=NO_CACHE)
def make_report(home: Home, name: str, day: date) -> tuple[Report, Path]:
    """Return the report on the days until ``day``, at most a year, and where its page is."""
    with home.open_registry() as registry:
        report = gather_report(registry, home, name, end=day)
    return report, write_report(report, report_path(home, name))
