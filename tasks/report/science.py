"""How good predictions were, for a report: realized metrics, and challengers beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pilotline.registry.record import Metric, ModelVersion, list_events, list_metrics
from pilotline.registry.runs import PRODUCTION
from pilotline.registry.store import Session
from pilotline.tasks.monitor import (
    BETTER,
    COMPARED,
    UNKNOWN,
    WORSE,
    Comparison,
    Difference,
    rows_needed,
)
from pilotline.tasks.stats import HIGHER_IS_BETTER, MIN_ROWS, Z

COVERAGE = "coverage"
COMPARED_AS = "versus"  # the kind of its metrics


@dataclass(frozen=True)
class Measured:
    """One realized metric of one day."""

    date: date
    value: float
    low: float | None  # 95 %
    high: float | None
    rows: int  # with a known outcome


@dataclass(frozen=True)
class Series:
    """One metric of one version and variant over the days."""

    metric: str
    number: str
    variant: str
    days: list[Measured]

    @property
    def name(self) -> str:
        """Version and, where it is not production, variant."""
        variant = "shadow" if self.variant == f"shadow/{self.number}" else self.variant
        return self.number if variant == PRODUCTION else f"{self.number} ({variant})"


@dataclass(frozen=True)
class Gap:
    """How far a challenger is from the champion in one metric."""

    metric: str
    difference: float  # challenger - champion
    low: float | None  # 95 %
    high: float | None
    verdict: str


@dataclass(frozen=True)
class Versus:
    """A challenger beside the champion, as of its last comparison."""

    champion: str
    challenger: str
    variant: str
    verdict: str
    sentence: str
    end: date
    rows: int
    gaps: list[Gap]


@dataclass(frozen=True)
class VersionFacts:
    """One version of the model."""

    number: str
    status: str
    aliases: list[str]
    recorded_at: str
    evaluation: dict[str, float]  # on held-out days, at training


def gather_series(
    session: Session,
    versions: Sequence[ModelVersion],
    span: tuple[date, date],
    order: Sequence[str],
) -> list[Series]:
    """Return the realized metrics of each version and variant, in the order of ``model.toml``."""
    found: dict[tuple[str, str, str], list[Measured]] = {}
    for version in versions:
        for metric in list_metrics(session, version, "realized"):
            if span[0] <= metric.start and metric.end <= span[1]:
                key = (metric.name, version.number, metric.variant)
                day = Measured(metric.start, metric.value, metric.low, metric.high, metric.rows)
                found.setdefault(key, []).append(day)
    rank = {name: n for n, name in enumerate(order)}

    def place(series: Series) -> tuple[int, str, bool]:
        return rank.get(series.metric, len(rank)), series.metric, series.variant != PRODUCTION

    return sorted((Series(*key, days) for key, days in found.items()), key=place)


def gather_versus(
    session: Session,
    versions: Sequence[ModelVersion],
    span: tuple[date, date],
    order: Sequence[str],
) -> list[Versus]:
    """Return the last comparison of each challenger and variant that ended in ``span``."""
    found = []
    for version in versions:
        last: dict[tuple[str, str], Metric] = {}
        for metric in list_metrics(session, version, COMPARED_AS):
            if span[0] <= metric.end <= span[1]:
                known = last.get((metric.variant, metric.name))
                if known is None or known.end <= metric.end:
                    last[metric.variant, metric.name] = metric
        for variant in sorted({variant for variant, _ in last}):
            metrics = [m for (of, _), m in last.items() if of == variant]
            champion = _champion_of(session, version, variant)
            if champion is not None:
                metrics.sort(key=lambda m: order.index(m.name) if m.name in order else len(order))
                found.append(_describe(version.number, champion, variant, metrics))
    return found


def _champion_of(session: Session, version: ModelVersion, variant: str) -> str | None:
    """Return the champion it was compared with last: a new one is always an event of its own."""
    about = [
        facts
        for event in list_events(session, version.model_id, COMPARED)
        if (facts := event.facts()).get("challenger") == version.number
        and facts.get("variant") == variant
    ]
    return str(about[-1]["champion"]) if about else None


def _describe(number: str, champion: str, variant: str, metrics: list[Metric]) -> Versus:
    newest = max(metric.end for metric in metrics)
    metrics = [metric for metric in metrics if metric.end == newest]
    first = metrics[0]
    compared = Comparison(
        champion,
        number,
        variant,
        variant != PRODUCTION,
        first.start,
        first.end,
        first.rows,
        [_difference(metric) for metric in metrics],
    )
    return Versus(
        champion,
        number,
        variant,
        compared.verdict,
        compared.sentence(),
        first.end,
        first.rows,
        [Gap(d.metric, d.difference, d.low, d.high, d.verdict) for d in compared.differences],
    )


def _difference(metric: Metric) -> Difference:
    """Return a recorded difference with its verdict, as it was reached when it was recorded.

    The two values that it is the difference of are not on record, and not in it.
    """
    gap, low, high = metric.value, metric.low, metric.high
    verdict: str
    more: int | None
    verdict, more = UNKNOWN, max(1, MIN_ROWS - metric.rows)
    if low is not None and high is not None:
        if low <= 0 <= high:
            more = rows_needed(metric.rows, gap, (high - low) / (2 * Z))
        else:
            verdict = BETTER if (gap > 0) == HIGHER_IS_BETTER.get(metric.name, True) else WORSE
            more = 0
    return Difference(metric.name, 0.0, gap, gap, low, high, verdict, more)
