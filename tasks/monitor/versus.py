"""Champion against challenger: which is better, how sure that is, and what would make it sure."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from math import ceil, sqrt

import pyarrow as pa

from pilotline.registry import Registry
from pilotline.registry.form import digest_json
from pilotline.registry.record import Metric, append_event, get_version, list_events, record_metric
from pilotline.registry.runs import PRODUCTION, Run, visible_runs
from pilotline.tasks.home import Home
from pilotline.tasks.lab import Dataset, ModelSpec
from pilotline.tasks.monitor.actuals import PREDICTED, Matched, match_actuals
from pilotline.tasks.monitor.performance import basis_of
from pilotline.tasks.score import Job
from pilotline.tasks.stats import (
    HIGHER_IS_BETTER,
    MIN_ROWS,
    Outcomes,
    Z,
    influence,
    measure,
    measured_names,
    pair_outcomes,
    standard_error,
)

COMPARED = "challenger compared"
BETTER, WORSE, UNKNOWN = "better", "worse", "not yet known"
HORIZON_DAYS = 90  # further back the world was another one, and reading takes a while
POWER_Z = 0.8416212335729143  # the normal's 80 % quantile: four times in five it would be seen
MAX_ROWS = 100_000_000  # more than that is as good as never


@dataclass(frozen=True)
class Difference:
    """How far a challenger is from the champion in one metric."""

    metric: str
    champion: float
    challenger: float
    difference: float  # challenger - champion
    low: float | None  # 95 % interval of the difference
    high: float | None
    verdict: str  # better, worse or not yet known
    more_rows: int | None  # that would tell, if the difference is as large as it looks


@dataclass(frozen=True)
class Comparison:
    """A challenger beside the champion, over the days on which both predicted."""

    champion: str  # number
    challenger: str  # number
    variant: str  # where the challenger's predictions are
    paired: bool  # on the same keys
    start: date
    end: date
    rows: int  # outcomes: of each where paired, of both together where not
    differences: list[Difference]  # the first metric of model.toml first: it decides
    new: bool = False  # this call was the first to see it

    @property
    def verdict(self) -> str:
        """Better, worse or not yet known, by the first metric."""
        return self.differences[0].verdict if self.differences else UNKNOWN

    def sentence(self) -> str:
        """Return the verdict in words."""
        rows = (
            f"the same {self.rows:,} rows" if self.paired else f"{self.rows:,} rows, not the same"
        )
        about = f"{self.challenger} against champion {self.champion} on {rows}"
        if not self.differences:
            return f"{about}: {UNKNOWN}; no metric can be had from them"
        first = self.differences[0]
        said = f"{about}: {first.verdict} by {first.metric}, {first.difference:+.4f}"
        if first.low is not None and first.high is not None:
            said += f" ({first.low:+.4f} to {first.high:+.4f})"
        if first.verdict != UNKNOWN:
            return said
        if first.more_rows is None:
            return f"{said}; they do not differ, so no number of rows would tell"
        if first.more_rows >= MAX_ROWS:
            return f"{said}; more rows than there will be would be needed to tell"
        return f"{said}; about {first.more_rows:,} more rows would tell, if it stays as it looks"


def compare_challengers(
    registry: Registry, home: Home, job: Job, actuals: Dataset, variants: Iterable[str], day: date
) -> list[Comparison]:
    """Return how each challenger does beside the champion up to ``day``, and record it.

    A shadow is compared on the keys that both predicted, row by row. A challenger that got a share
    of production's rows predicted other keys: the days are the same, the rows are not.

    Raises:
        LakeError: the actuals are damaged.
    """
    start = day - timedelta(days=HORIZON_DAYS - 1)
    model_id = job.bundle.version.model_id
    found: list[tuple[Comparison, str]] = []
    with registry.read() as session:
        production = visible_runs(session, model_id, PRODUCTION, start, day)
        shadows = {
            variant: visible_runs(session, model_id, variant, start, day)
            for variant in variants
            if variant != PRODUCTION
        }

    def matched(run: Run) -> Matched | None:
        return match_actuals(registry, home, job, run, actuals)

    for variant, runs in shadows.items():
        both = [(production[d], run) for d, run in sorted(runs.items()) if d in production]
        days = ((matched(ours), matched(theirs), ours, theirs) for ours, theirs in both)
        found += _compare_shadow(job, variant, days)
    split = [run for _, run in sorted(production.items()) if run.challenger_id is not None]
    found += _compare_split(job, ((matched(run), run) for run in split))
    return [_record(registry, job, comparison, basis) for comparison, basis in found]


@dataclass(frozen=True)
class _Part:
    """What one day adds to a comparison: rows, and the digest of what they come from."""

    day: date
    ours: pa.Table  # target and predictions of the champion
    theirs: pa.Table  # of the challenger; where paired the same keys in the same order
    basis: str


def _compare_shadow(
    job: Job, variant: str, days: Iterable[tuple[Matched | None, Matched | None, Run, Run]]
) -> list[tuple[Comparison, str]]:
    champion, key = job.bundle.version.number, [*job.bundle.json("contract.json")["key"]]
    parts: dict[str, list[_Part]] = {}
    for ours, theirs, run, shadow in days:
        if ours is None or theirs is None:
            continue
        basis = digest_json([basis_of(run, ours.partition), basis_of(shadow, theirs.partition)])
        for number in theirs.scored:
            if number != champion:
                one, two = _same_keys(key, ours.of(champion), theirs.of(number))
                spec = job.bundle.spec
                part = _Part(run.date, _narrow(spec, one), _narrow(spec, two), basis)
                parts.setdefault(number, []).append(part)
    return [_compare(job, number, variant, of, paired=True) for number, of in parts.items()]


def _compare_split(
    job: Job, days: Iterable[tuple[Matched | None, Run]]
) -> list[tuple[Comparison, str]]:
    champion, spec = job.bundle.version.number, job.bundle.spec
    parts: dict[str, list[_Part]] = {}
    for matched, run in days:
        if matched is None or champion not in matched.scored:
            continue
        for number in matched.scored:
            if number != champion:
                one, two = (_narrow(spec, matched.of(name)) for name in (champion, number))
                part = _Part(run.date, one, two, basis_of(run, matched.partition))
                parts.setdefault(number, []).append(part)
    return [_compare(job, number, PRODUCTION, of, paired=False) for number, of in parts.items()]


def _same_keys(key: list[str], ours: pa.Table, theirs: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return the rows of either whose keys the other has too, in one order."""
    order = [(name, "ascending") for name in key]
    one = ours.join(theirs.select(key), keys=key, join_type="left semi")
    two = theirs.join(ours.select(key), keys=key, join_type="left semi")
    return one.sort_by(order), two.sort_by(order)


def _narrow(spec: ModelSpec, rows: pa.Table) -> pa.Table:
    """Return what is compared alone: a comparison holds the rows of many days."""
    return rows.select([spec.target, *(PREDICTED + name for name in spec.predictions)])


def _outcomes(spec: ModelSpec, tables: Iterable[pa.Table]) -> Outcomes:
    rows = pa.concat_tables(tables)
    names = list(spec.predictions)
    predicted = rows.select([PREDICTED + name for name in names]).rename_columns(names)
    return pair_outcomes(spec, rows[spec.target], predicted)


def _compare(
    job: Job, challenger: str, variant: str, parts: list[_Part], *, paired: bool
) -> tuple[Comparison, str]:
    spec = job.bundle.spec
    ours = _outcomes(spec, (part.ours for part in parts))
    theirs = _outcomes(spec, (part.theirs for part in parts))
    rows = ours.happened.size if paired else ours.happened.size + theirs.happened.size
    comparison = Comparison(
        job.bundle.version.number,
        challenger,
        variant,
        paired,
        parts[0].day,
        parts[-1].day,
        rows,
        compare_outcomes(measured_names(spec), ours, theirs, paired=paired),
    )
    return comparison, digest_json([part.basis for part in parts])


def compare_outcomes(
    names: Iterable[str], champion: Outcomes, challenger: Outcomes, *, paired: bool
) -> list[Difference]:
    """Return the difference in each metric that both rows can give.

    Args:
        names: of the metrics.
        champion: its rows.
        challenger: its rows; where ``paired`` those of the same keys in the same order.
        paired: whether each row of one belongs to a row of the other.

    Source:
        The standard error of a paired difference is that of the differences of the rows'
        influences, for roc_auc the paired test of DeLong et al. (1988), for means the paired one;
        without pairs the squares of both add up. Rows needed: Lachin (1981), Controlled Clinical
        Trials 2(2), for 80 % power at 5 % on both sides. Looking every day and stopping at the
        first verdict errs more often than once in twenty.
    """
    names = list(names)
    ours, theirs = measure(names, champion), measure(names, challenger)
    return [
        _difference(name, ours[name], theirs[name], champion, challenger, paired)
        for name in names
        if name in ours and name in theirs
    ]


def _difference(
    name: str, ours: float, theirs: float, champion: Outcomes, challenger: Outcomes, paired: bool
) -> Difference:
    gap = theirs - ours
    fewest = min(champion.happened.size, challenger.happened.size)
    one, two = influence(name, champion), influence(name, challenger)
    if one is None or two is None or fewest < MIN_ROWS:
        more = max(1, (MIN_ROWS - fewest) * (1 if paired else 2))
        return Difference(name, ours, theirs, gap, None, None, UNKNOWN, more)
    if paired:
        rows, error = fewest, standard_error(two - one)
    else:
        rows = champion.happened.size + challenger.happened.size
        error = sqrt(standard_error(one) ** 2 + standard_error(two) ** 2)
    low, high = gap - Z * error, gap + Z * error
    if low <= 0 <= high:
        return Difference(
            name, ours, theirs, gap, low, high, UNKNOWN, rows_needed(rows, gap, error)
        )
    verdict = BETTER if (gap > 0) == HIGHER_IS_BETTER[name] else WORSE
    return Difference(name, ours, theirs, gap, low, high, verdict, 0)


def rows_needed(rows: int, gap: float, error: float) -> int | None:
    """Return how many rows beyond these it takes to see ``gap``; None where there is none."""
    if gap == 0:
        return None
    needed = rows * ((Z + POWER_Z) * error / gap) ** 2
    return min(MAX_ROWS, max(1, ceil(needed - rows)))


def _record(registry: Registry, job: Job, found: Comparison, basis: str) -> Comparison:
    """Keep the differences as metrics of the challenger, and the verdict as an event, once."""
    with registry.write() as session:
        version = get_version(session, job.bundle.spec.name, found.challenger)
        new = False
        for one in found.differences:
            metric = Metric(
                version_id=version.id,
                kind="versus",
                name=one.metric,
                value=one.difference,
                low=one.low,
                high=one.high,
                start=found.start,
                end=found.end,
                variant=found.variant,
                rows=found.rows,
                basis=digest_json([found.champion, basis]),
            )
            new = record_metric(session, metric) or new
        known = [
            event.facts()["verdict"]
            for event in list_events(session, version.model_id, COMPARED)
            if _is_about(event.facts(), found)
        ]
        if not new or (known and known[-1] == found.verdict):
            return found  # the chain says when a verdict changed; each day's numbers are metrics
        body = {
            **asdict(found),
            "version": found.challenger,
            "digest": version.digest,
            "verdict": found.verdict,
            "start": found.start.isoformat(),
            "end": found.end.isoformat(),
        }
        append_event(session, version.model_id, COMPARED, body)
    return replace(found, new=True)


def _is_about(facts: dict[str, object], found: Comparison) -> bool:
    names = ("champion", "challenger", "variant")
    return all(facts[name] == getattr(found, name) for name in names)
