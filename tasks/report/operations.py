"""The operations of a model for a report: runs, time by step, failures, cost."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from pilotline.registry.record import ModelVersion, RegisteredModel
from pilotline.registry.runs import Run, RunOutcome, RunUsage, list_runs_of_days
from pilotline.registry.store import Session
from pilotline.tasks.costs import Cost, Prices, add_up
from pilotline.tasks.report.volume import DayVolume, Delivered, list_deliveries, list_volume

STEPS = ("build", "start", "predict", "read and commit")
LONGEST = 300  # characters of a reason that are shown
DIED = "no outcome"  # its process died, or it is under way


@dataclass(frozen=True)
class RunFacts:
    """One run: how it ended and what it used."""

    run: str
    number: str
    variant: str
    date: date
    started_at: datetime
    state: str  # succeeded, failed, superseded, crashed or no outcome
    rows: int
    reason: str
    seconds: dict[str, float]  # by step
    parent_mib: float  # peaks
    child_mib: float
    failed_in: str = ""  # the step that was not finished, as far as what was measured tells


@dataclass(frozen=True)
class Failure:
    """Runs that did not succeed for one reason."""

    step: str
    state: str
    reason: str
    runs: int
    last: date  # the latest day of data


@dataclass(frozen=True)
class Operations:
    """What running the model took and gave."""

    runs: list[RunFacts]
    failures: list[Failure]
    volume: list[DayVolume]
    deliveries: list[Delivered]
    schedule: str  # in words; empty where there is none
    currency: str  # empty where no prices are known
    costs: list[Cost]  # by version
    total: Cost

    def facts(self) -> dict[str, Any]:
        """Return everything as plain values."""
        plain = asdict(self)
        return plain | {"costs": [c.facts() for c in self.costs], "total": self.total.facts()}


def gather_operations(
    session: Session,
    model: RegisteredModel,
    datasets: tuple[str, str],
    span: tuple[date, date],
    prices: Prices | None,
    schedule: str,
) -> Operations:
    """Return what is on record of the days of ``span``; reads only.

    Args:
        session: any session.
        model: whose runs.
        datasets: what it reads, and what brings its actuals.
        span: first and last day of data, included.
        prices: of the home; None where there are none.
        schedule: in words.
    """
    rows = list_runs_of_days(session, model.id, *span)
    runs = _describe_runs(rows)
    account = None
    if prices is not None:
        account = add_up((_usage(model, *row) for row in rows), prices, "version")
    return Operations(
        runs,
        list_failures(runs),
        list_volume(session, model.id, datasets, span),
        list_deliveries(session, model.id, span),
        schedule,
        account.currency if account else "",
        account.groups if account else [],
        account.total if account else Cost("total"),
    )


Row = tuple[Run, RunOutcome | None, ModelVersion]


def _describe_runs(rows: Iterable[Row]) -> list[RunFacts]:
    """Return the runs; building and starting count for the first run that a child served."""
    found, served = [], set()
    for run, outcome, version in rows:
        used = _read(outcome.resources if outcome else "{}")
        child = (version.number, used.get("build_s"), used.get("start_s"))
        seconds = _by_step(used, first=child not in served)
        served.add(child)
        state = outcome.state if outcome else DIED
        found.append(
            RunFacts(
                run.id,
                version.number,
                run.variant,
                run.date,
                run.started_at,
                state,
                outcome.rows if outcome else 0,
                outcome.reason if outcome else "no outcome is on record",
                seconds,
                amount(used, "parent_peak_mib"),
                amount(used, "child_peak_mib"),
                "" if state == "succeeded" else _step_of(state, used),
            )
        )
    return found


def _by_step(used: dict[str, Any], first: bool) -> dict[str, float]:
    build, start = (amount(used, name) if first else 0.0 for name in ("build_s", "start_s"))
    wall, predict = amount(used, "wall_s"), amount(used, "predict_s")
    rest = max(0.0, wall - predict - start)  # building is over before a day's clock runs
    return dict(zip(STEPS, (build, start, predict, rest), strict=True))


def _step_of(state: str, used: dict[str, Any]) -> str:
    """Return the step in which a run ended: the first of which nothing was measured."""
    if state in ("crashed", DIED):
        return "unknown"
    if state == "superseded":
        return "read and commit"
    if not amount(used, "build_s"):
        return "build"
    if not amount(used, "start_s"):
        return "start"
    return "read and commit" if amount(used, "predict_s") else "predict"


def list_failures(runs: Sequence[RunFacts]) -> list[Failure]:
    """Return the runs that did not succeed by step and reason, the most frequent first."""
    counts: Counter[tuple[str, str, str]] = Counter()
    last: dict[tuple[str, str, str], date] = {}
    for run in runs:
        if run.state != "succeeded":
            key = (run.failed_in, run.state, first_line(run.reason))
            counts[key] += 1
            last[key] = max(run.date, last.get(key, run.date))
    return [Failure(*key, count, last[key]) for key, count in counts.most_common()]


def first_line(reason: str) -> str:
    """Return the first line of a reason, which may have the tail of a log below it."""
    lines = [line for line in reason.splitlines() if line.strip()]
    line = lines[0].strip() if lines else "no reason is on record"
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"


def _usage(
    model: RegisteredModel, run: Run, outcome: RunOutcome | None, version: ModelVersion
) -> RunUsage:
    return RunUsage(
        run.id,
        model.name,
        model.owner,
        version.major,
        version.minor,
        version.patch,
        run.variant,
        run.date,
        run.started_at,
        outcome.state if outcome else None,
        outcome.rows if outcome else None,
        outcome.resources if outcome else None,
    )


def _read(resources: str) -> dict[str, Any]:
    used = json.loads(resources or "{}")
    return used if isinstance(used, dict) else {}


def amount(used: dict[str, Any], name: str) -> float:
    """Return an amount on record, 0 where it is missing; an import may have brought nonsense."""
    value = used.get(name, 0)
    sane = isinstance(value, int | float) and math.isfinite(value) and value >= 0
    return float(value) if sane else 0.0
