"""A report on a model: what is on record of a range of days, as plain facts; writes nothing."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

from pilotline.registry import Registry
from pilotline.registry.gates import serving_champion
from pilotline.registry.record import (
    ModelVersion,
    RegisteredModel,
    aliases_of,
    get_model,
    list_events,
    list_metrics,
    list_versions,
    status_of,
)
from pilotline.registry.runs import first_run_day, last_day, last_shown_day
from pilotline.registry.store import Session, now
from pilotline.tasks.costs import Prices, load_prices
from pilotline.tasks.decide import list_awaited
from pilotline.tasks.errors import LabError, NothingToDoError, SettingsError
from pilotline.tasks.home import Home
from pilotline.tasks.lab import Bundle, load_bundle
from pilotline.tasks.monitor import MISSING, list_stale
from pilotline.tasks.report.drift import DriftFacts, gather_drift
from pilotline.tasks.report.operations import Operations, gather_operations
from pilotline.tasks.report.questions import Asked, Missed, Question, Waits, list_questions
from pilotline.tasks.report.science import (
    Series,
    VersionFacts,
    Versus,
    gather_series,
    gather_versus,
)
from pilotline.tasks.stats import measured_names

YEAR = timedelta(days=365)
LONGEST = 3660  # days: a page of more can neither be drawn nor read


@dataclass(frozen=True)
class Report:
    """What is on record of a model, from a first to a last day of data."""

    model: str
    owner: str
    description: str
    champion: str  # its number; empty where there is none
    start: date
    end: date
    made_at: datetime
    inputs: tuple[str, str]  # what it reads, and what brings its actuals
    questions: list[Question]
    operations: Operations
    versions: list[VersionFacts]
    series: list[Series]
    minimum: dict[str, float]  # metric -> what model.toml asks of it
    versus: list[Versus]
    drift: DriftFacts

    def facts(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self) | {"operations": self.operations.facts()}


def gather_report(
    registry: Registry, home: Home, name: str, start: date | None = None, end: date | None = None
) -> Report:
    """Return what is on record of model ``name``; reads only.

    Args:
        registry: where.
        home: its policy and prices.
        name: of the model.
        start: first day of data; by default that of the first run, at most a year back.
        end: last day, included; by default the last one whose predictions readers see.

    Raises:
        UnknownModelError: it is not registered.
        VersionUnfitError: its record does not hold together.
        NothingToDoError: the range is empty, or too long.
        MissingBlobError, DigestMismatchError: the blob store is damaged.
    """
    with registry.read() as session:
        model = get_model(session, name)
        versions = list_versions(session, model.id)
        champion = serving_champion(session, name)
    judged = champion or (versions[-1] if versions else None)
    bundle = load_bundle(registry, judged) if judged else None
    datasets = (bundle.spec.input, bundle.spec.actuals) if bundle else ("", "")
    with registry.read() as session:
        span = _find_span(session, model, datasets[0], start, end)
        operations = gather_operations(
            session, model, datasets, span, _find_prices(home), _describe_schedule(bundle)
        )
        order = measured_names(bundle.spec) if bundle else ()
        series = gather_series(session, versions, span, order)
        versus = gather_versus(session, versions, span, order)
        described = [_describe(session, version) for version in versions]
        missed = _list_missed(session, model.id, span)
    drift = gather_drift(registry, bundle, *span) if bundle else DriftFacts()
    asked = Asked(
        model=name,
        owner=model.owner,
        champion=champion.number if champion else "",
        datasets=datasets,
        end=span[1],
        operations=operations,
        drift=drift,
        versus=versus,
        stale=list_stale(registry, bundle, span[1]) if bundle and champion else (),
        waiting=_list_waiting(registry, home, name),
        missed=missed,
        learned=_days_of(bundle),
    )
    rules = bundle.spec.metrics if bundle else {}
    return Report(
        model=name,
        owner=model.owner,
        description=model.description,
        champion=asked.champion,
        start=span[0],
        end=span[1],
        made_at=now(),
        inputs=datasets,
        questions=list_questions(asked),
        operations=operations,
        versions=described,
        series=series,
        minimum={metric: rule.min for metric, rule in rules.items() if rule.min is not None},
        versus=versus,
        drift=drift,
    )


def _find_span(
    session: Session, model: RegisteredModel, dataset: str, start: date | None, end: date | None
) -> tuple[date, date]:
    last = end or last_shown_day(session, model.id) or last_day(session, dataset) or now().date()
    first = start
    if first is None:
        begun = first_run_day(session, model.id, last - YEAR, last)
        first = begun or last - YEAR + timedelta(days=1)
    if first > last:
        problem = f"its first day, {first}, is after its last, {last}"
        raise NothingToDoError(f"Report on {model.name!r}", problem, "Give --start and --end.")
    if (last - first).days >= LONGEST:
        problem = f"{(last - first).days + 1:,} days, at most {LONGEST:,}"
        raise NothingToDoError(f"Report on {model.name!r}", problem, "Ask for a shorter range.")
    return first, last


def _find_prices(home: Home) -> Prices | None:
    """Return the prices; a factory that has set none still gets a report."""
    try:
        return load_prices(home)
    except (SettingsError, LabError):
        return None


def _describe_schedule(bundle: Bundle | None) -> str:
    schedule = bundle.spec.schedule if bundle else None
    if schedule is None:
        return ""
    back = "the same day" if not schedule.lag_days else f"{schedule.lag_days} days before"
    back = "the day before" if schedule.lag_days == 1 else back
    words = f"{schedule.cron.text} {schedule.timezone}, the data of {back}"
    return f"{words}, wanted by {schedule.deliver_by:%H:%M}" if schedule.deliver_by else words


def _describe(session: Session, version: ModelVersion) -> VersionFacts:
    metrics = list_metrics(session, version, "evaluation")
    return VersionFacts(
        version.number,
        status_of(session, version),
        aliases_of(session, version),
        version.recorded_at.isoformat(),
        {metric.name: metric.value for metric in metrics},
    )


def _list_missed(session: Session, model_id: int, span: tuple[date, date]) -> Sequence[Missed]:
    first, last = (day.isoformat() for day in span)
    return [
        Missed(facts["version"], facts["date"], facts["missing"])
        for event in list_events(session, model_id, MISSING)
        if first <= (facts := event.facts())["date"] <= last
    ]


def _list_waiting(registry: Registry, home: Home, name: str) -> Sequence[Waits]:
    """Return the versions that wait; one whose evaluation failed waits for nobody."""
    return [
        Waits(found.number, found.gate, found.approvers)
        for found in list_awaited(registry, home)
        if found.model == name and found.gate
    ]


def _days_of(bundle: Bundle | None) -> frozenset[date]:
    """Return the days that the version learned from or was evaluated on."""
    used = bundle.json("data.json").values() if bundle else ()
    return frozenset(
        date.fromisoformat(day)
        for part in used
        if isinstance(part, dict)
        for day in part.get("days", ())
    )
