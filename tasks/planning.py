"""The plan of a backfill: what each day shows now, and which version is to score it."""

from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy.orm import Session

from registry import Registry
from registry.aliases import CHAMPION, Alias, get_alias
from registry.errors import NoChampionError, VersionUnfitError
from registry.ingests import list_partitions
from registry.models import get_model
from registry.references import end_of_day
from registry.resolution import champion, champion_at, promoted_version
from registry.runs import PRODUCTION, Run, last_outcomes, versions_of, visible_runs
from registry.versions import ModelVersion, learned_from
from tasks.errors import InputRefusedError, NothingToDoError
from tasks.join_plan import JoinPlan, plans_of
from tasks.joined_inputs import pick_inputs, say_changes

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
        partitions = {p.date: p for p in list_partitions(session, dataset, start, end)}
        shown = visible_runs(session, model.id, PRODUCTION, start, end)
        outcomes = last_outcomes(session, model.id, PRODUCTION, start, end)
        fixed = None if using == "as-of" else _resolve(session, name, using)
        present = get_alias(session, model.id, CHAMPION)
        plan: list[PlannedDay] = []
        known: dict[int, set[date]] = {}
        joins: dict[int, tuple[JoinPlan, ...]] = {}
        for day in days:
            version, problem = fixed, ""
            if using == "as-of":
                version, problem = _as_of(session, name, day)
            if day not in partitions:
                problem = f"{dataset} {day} is not ingested"
            elif version is not None and not include_training_days:
                problem = _learned_problem(session, version, day, known)
            if version is not None and not problem:
                if version.id not in joins:
                    joins[version.id] = plans_of(registry, version)
                problem = _input_problem(session, joins[version.id], day)
            if version is None or problem:
                plan.append(PlannedDay(day, "blocked", "", problem))
                continue
            run = shown.get(day)
            number = version.number
            if run is not None and not reason and not may_replace(present, run, version):
                before = session.get_one(ModelVersion, run.version_id).number
                problem = f"shows {before}, and {number} is not champion now (--reason TEXT)"
                plan.append(PlannedDay(day, "blocked", "", problem))
                continue
            if day in outcomes and outcomes[day] is None:
                plan.append(PlannedDay(day, "failed", number, "its last run left no outcome"))
            elif run is None:
                failed = outcomes.get(day)
                state = "failed" if failed is not None and failed.state == "failed" else "missing"
                reason = failed.reason.partition("\n")[0] if state == "failed" and failed else ""
                plan.append(PlannedDay(day, state, number, reason))
            elif run.partition_digest != partitions[day].partition_digest:
                plan.append(PlannedDay(day, "stale", number, "its rows changed since"))
            elif run.version_id != version.id or run.challenger_id is not None:
                before = " and ".join(v.number for v in versions_of(session, run))
                plan.append(PlannedDay(day, "other version", number, f"replaces {before}"))
            elif changed := say_changes(session, joins[version.id], run):
                plan.append(PlannedDay(day, "stale", number, changed))
            else:
                plan.append(PlannedDay(day, "done", number, ""))
    return plan


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


def _input_problem(session: Session, plans: tuple[JoinPlan, ...], day: date) -> str:
    """Return why what further inputs hold must not be read for ``day``; else nothing."""
    try:
        pick_inputs(session, plans, [day])
    except InputRefusedError as err:
        return str(err)
    return ""


def _learned_problem(
    session: Session, version: ModelVersion, day: date, known: dict[int, set[date]]
) -> str:
    """Return why ``version`` should not score ``day``: it knows the answers; else nothing."""
    if version.id not in known:
        items = learned_from(session, version)
        known[version.id] = {item.date for item in items if item.use == "train"}
    if day not in known[version.id]:
        return ""
    return f"{version.number} was trained on this day (--include-training-days)"


def _as_of(session: Session, name: str, day: date) -> tuple[ModelVersion | None, str]:
    try:
        return champion_at(session, name, end_of_day(day)), ""
    except NoChampionError:
        return None, "no version was champion at the end of that day (UTC)"
    except VersionUnfitError as err:
        return None, str(err).split(". ")[0]
