"""A report made by hand, with every part in it, for tests of its page."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from pilotline.tasks.costs.accounts import Cost
from pilotline.tasks.report.drift import Distribution, DriftFacts, DriftWindow
from pilotline.tasks.report.facts import Report
from pilotline.tasks.report.operations import STEPS, Failure, Operations, RunFacts
from pilotline.tasks.report.plots.shapes import Shape
from pilotline.tasks.report.questions import ALERT, Question
from pilotline.tasks.report.science import Gap, Measured, Series, VersionFacts, Versus
from pilotline.tasks.report.volume import DayVolume, Delivered
from pilotline.tasks.stats.drift import Judgement

START = date(2014, 1, 1)
AT = datetime(2014, 2, 1, tzinfo=UTC)


def run_on(day: date) -> RunFacts:
    """Return a run of ``day`` that succeeded."""
    seconds = dict(zip(STEPS, (0.5, 1.0, 0.25, 0.25), strict=True))
    return RunFacts(
        f"{day:%Y%m%d}-1", "1.0.0", "production", day, AT, "succeeded", 90, "", seconds, 500, 200
    )


def judged(column: str, value: float, verdict: str, *, watched: bool = True) -> Judgement:
    """Return a judgement at a threshold of 0.1."""
    return Judgement(column, "psi", value, 0.1, 0.01, 0.02, 90, verdict, 900, value, watched)


def report_of(
    days: int = 30, name: str = "model", column: str = "dest", reason: str = "no disk"
) -> Report:
    """Return a report on ``days`` days: each 100 rows in, 10 of them broken, and 90 out."""
    every = [START + timedelta(days=n) for n in range(days)]
    windows = [
        DriftWindow(
            day,
            day,
            1,
            90,
            [judged(column, 0.05 + 0.1 * (n % 2), ("no drift", "drift")[n % 2])],
            bool(n % 2),
        )
        for n, day in enumerate(every[::7])
    ]
    shapes = [
        Distribution(
            column, "watched", Shape((column, "b"), (0.75, 0.25), (0.5, 0.5), False), (0, 0)
        ),
        Distribution(
            "hour", "feature", Shape(("0", "12"), (0.75, 0.25), (0.5, 0.5), True), (0, 0.1)
        ),
    ]
    total = Cost("total", runs=days, rows=90 * days, cost=2.0)
    return Report(
        model=name,
        owner=f"owner of {name}",
        description=f"What {name} does",
        champion="1.0.0",
        start=every[0] if every else START,
        end=every[-1] if every else START,
        made_at=AT,
        inputs=("flights", "arrivals"),
        questions=[
            Question(ALERT, "Runs failed", reason, f"owner of {name}", f"pilotline show {name}")
        ],
        operations=Operations(
            [run_on(day) for day in every],
            [Failure("start", "failed", reason, 2, START)],
            [DayVolume(day, 90, 10, 85, 0, 90, False, True) for day in every],
            [Delivered(day, 3600.0) for day in every],
            "0 2 * * * UTC",
            "EUR",
            [replace(total, group=f"{name} 1.0.0")],
            total,
        ),
        versions=[VersionFacts("1.0.0", "approved", ["champion"], AT.isoformat(), {"brier": 0.2})],
        series=[
            Series("roc_auc", "1.0.0", "production", measured(every)),
            Series("coverage", "1.0.0", "production", measured(every)),
        ],
        minimum={"roc_auc": 0.6},
        versus=[
            Versus(
                "1.0.0",
                "1.0.1",
                "shadow/1.0.1",
                "better",
                f"{name} is better",
                START,
                900,
                [Gap("roc_auc", 0.05, 0.01, 0.09, "better"), Gap("brier", 0.0, None, None, "-")],
            )
        ],
        drift=DriftFacts("1.0.0", (START, START), 7, 2, windows, shapes if every else []),
    )


def measured(days: Sequence[date]) -> list[Measured]:
    """Return a value for each day, with an interval."""
    return [Measured(day, 0.65, 0.6, 0.7, 85) for day in days]


def empty_report() -> Report:
    """Return the report on a model of which nothing is on record."""
    nothing = Operations([], [], [], [], "", "", [], Cost("total"))
    return replace(
        report_of(0),
        champion="",
        questions=[],
        operations=nothing,
        versions=[],
        series=[],
        versus=[],
        drift=DriftFacts(),
    )
