"""The plan of a backfill: what each day shows now, and which version is to score it."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from pilotline.registry import Registry
from pilotline.registry.form import NoChampionError, VersionUnfitError
from pilotline.registry.gates import champion, champion_at, end_of_day, promoted_version
from pilotline.registry.record import (
    CHAMPION,
    Alias,
    ModelVersion,
    get_alias,
    get_model,
    learned_from,
    reigns,
    version_by_id,
)
from pilotline.registry.runs import (
    PRODUCTION,
    Ingest,
    Run,
    RunOutcome,
    joined_runs,
    last_outcomes,
    list_partitions,
    versions_of,
    visible_runs,
)
from pilotline.registry.store import Session, now
from pilotline.tasks.errors import InputRefusedError, NothingToDoError
from pilotline.tasks.features import JoinPlan, pick_inputs, plans_of, say_changes

MAX_DAYS = 20_000  # half a century; more is a slip of the finger
TO_DO = ("missing", "failed", "stale", "other version")


@dataclass(frozen=True)
class PlannedDay:
    """One day of a backfill."""

    date: date
    state: str  # done, blocked, or one of TO_DO
    number: str  # the version to score it; empty where none may
    reason: str


def plan_backfill(
    registry: Registry,
    name: str,
    dataset: str,
    start: date,
    end: date,
    using: str,
    include_training_days: bool = False,
    reason: str = "",
) -> list[PlannedDay]:
    """Return what is to be done for each day of the range; changes nothing.

    Args:
        registry: the registry.
        name: the model.
        dataset: what it reads.
        start: first day.
        end: last day, included.
        using: ``champion``, ``as-of`` (each day's own champion) or a version number.
        include_training_days: also score days the version learned from, which flatters it.
        reason: why another version than the present champion may replace what a third one made.

    Raises:
        NothingToDoError: the range is empty.
        UnknownModelError, UnknownVersionError, NoChampionError, VersionUnfitError: nothing may
            be resolved for production.
    """
    if end < start:
        raise NothingToDoError(
            f"Backfill of {name!r}", f"{end} is before {start}", "Swap --start and --end."
        )
    if (end - start).days >= MAX_DAYS:
        raise NothingToDoError(
            f"Backfill of {name!r}",
            f"{(end - start).days + 1:,} days, at most {MAX_DAYS:,}",
            "Ask for a shorter range.",
        )
    days = [start + timedelta(days=n) for n in range((end - start).days + 1)]
    with registry.read() as session:
        model = get_model(session, name)
        shown = visible_runs(session, model.id, PRODUCTION, start, end)
        planner = _Planner(
            registry=registry,
            session=session,
            dataset=dataset,
            partitions={p.date: p for p in list_partitions(session, dataset, start, end)},
            shown=shown,
            outcomes=last_outcomes(session, model.id, PRODUCTION, start, end),
            joined=joined_runs(session, [run.id for run in shown.values()]),
            present=get_alias(session, model.id, CHAMPION),
            include_training_days=include_training_days,
            replacing=bool(reason),
        )
        if using == "as-of":
            champions = _Champions(session, name)
            return [planner.plan(day, *champions.on(day)) for day in days]
        version = _resolve(session, name, using)
        return [planner.plan(day, version, "") for day in days]


@dataclass
class _Planner:
    """What the days of one plan have in common, asked once: ten years are 3,652 days."""

    registry: Registry
    session: Session
    dataset: str
    partitions: Mapping[date, Ingest]
    shown: Mapping[date, Run]
    outcomes: Mapping[date, RunOutcome | None]
    joined: set[str]  # runs that read further inputs
    present: Alias | None
    include_training_days: bool
    replacing: bool  # there is a reason to replace what the champion made
    learned: dict[int, set[date]] = field(default_factory=dict)  # by version
    joins: dict[int, tuple[JoinPlan, ...]] = field(default_factory=dict)

    def plan(self, day: date, version: ModelVersion | None, problem: str) -> PlannedDay:
        """Return what is to be done for ``day``; ``problem`` says why no version is to do it."""
        if day not in self.partitions:
            problem = f"{self.dataset} {day} is not ingested"
        elif version is not None:
            problem = self._find_problem(day, version)
        if version is None or problem:
            return PlannedDay(day, "blocked", "", problem)
        return PlannedDay(day, *self._find_state(day, version))

    def _find_problem(self, day: date, version: ModelVersion) -> str:
        """Return why ``version`` must not score ``day``; else nothing."""
        if not self.include_training_days and day in self._days_learned(version):
            return f"{version.number} was trained on this day (--include-training-days)"
        if version.id not in self.joins:
            self.joins[version.id] = plans_of(self.registry, version)
        try:
            pick_inputs(self.session, self.joins[version.id], [day])
        except InputRefusedError as err:
            return str(err)
        run = self.shown.get(day)
        if run is None or self.replacing or may_replace(self.present, run, version):
            return ""
        before = version_by_id(self.session, run.version_id).number
        return f"shows {before}, and {version.number} is not champion now (--reason TEXT)"

    def _days_learned(self, version: ModelVersion) -> set[date]:
        if version.id not in self.learned:
            items = learned_from(self.session, version)
            self.learned[version.id] = {item.date for item in items if item.use == "train"}
        return self.learned[version.id]

    def _find_state(self, day: date, version: ModelVersion) -> tuple[str, str, str]:
        """Return state, version and reason of a day that the version may score."""
        run, last, number = self.shown.get(day), self.outcomes.get(day), version.number
        if day in self.outcomes and last is None:
            return "failed", number, "its last run left no outcome"
        if run is None:
            if last is not None and last.state == "failed":
                return "failed", number, last.reason.partition("\n")[0]
            return "missing", number, ""
        if run.partition_digest != self.partitions[day].partition_digest:
            return "stale", number, "its rows changed since"
        if run.version_id != version.id or run.challenger_id is not None:
            before = " and ".join(v.number for v in versions_of(self.session, run))
            return "other version", number, f"replaces {before}"
        joins = self.joins[version.id]
        changed = ""
        if joins or run.id in self.joined:
            changed = say_changes(self.session, joins, run)
        return ("stale", number, changed) if changed else ("done", number, "")


class _Champions:
    """Who was champion for each day, asked once for each time between two promotions."""

    def __init__(self, session: Session, name: str) -> None:
        self._session, self._name = session, name
        # As reign_at counts: what is on record has happened, whatever the clock that dated it said.
        began = {min(reign.effective_from, now()) for reign in reigns(session, name)}
        self._began = sorted(began)
        self._known: dict[int, tuple[ModelVersion | None, str]] = {}

    def on(self, day: date) -> tuple[ModelVersion | None, str]:
        """Return the champion for ``day``, or why there is none."""
        at = end_of_day(day)
        place = bisect_right(self._began, at)
        if place not in self._known:
            self._known[place] = self._find(at)
        return self._known[place]

    def _find(self, at: datetime) -> tuple[ModelVersion | None, str]:
        try:
            return champion_at(self._session, self._name, at), ""
        except NoChampionError:
            return None, "no version was champion at the end of that day (UTC)"
        except VersionUnfitError as err:
            return None, str(err).split(". ")[0]


def may_replace(present: Alias | None, shown: Run, version: ModelVersion) -> bool:
    """Tell whether ``version`` may replace what ``shown`` made without a reason.

    Newer means later in the champion's history, not by number: the present champion may, and
    whoever made the rows may make them again.

    Args:
        present: the alias of the champion.
        shown: the run whose predictions readers see.
        version: who would replace them.
    """
    is_champion = present is not None and present.version_id == version.id
    return is_champion or shown.version_id == version.id


def _resolve(session: Session, name: str, using: str) -> ModelVersion:
    return (
        champion(session, name) if using == "champion" else promoted_version(session, name, using)
    )
