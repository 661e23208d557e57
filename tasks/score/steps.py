"""The steps of a scoring as Prefect tasks: production, a shadow, and a backfill's plan."""

from collections.abc import Callable, Sequence
from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE

from pilotline.tasks.home import Home
from pilotline.tasks.lab import load_champion
from pilotline.tasks.score.days import DayScored
from pilotline.tasks.score.job import plan_production
from pilotline.tasks.score.plan import PlannedDay, plan_backfill
from pilotline.tasks.score.scoring import plan_shadow, score_job, score_plan
from pilotline.tasks.score.shards.steps import PrefectCrew


@task(cache_policy=NO_CACHE)
def score_production(home: Home, name: str, days: Sequence[date], trigger: str) -> list[DayScored]:
    """Score days with the champion; what readers of production see."""
    with home.open_registry() as registry:
        job = plan_production(registry, name, trigger)
        return score_job(registry, home, job, days, PrefectCrew)


@task(cache_policy=NO_CACHE)
def score_shadow(home: Home, name: str, day: date, reference: str) -> list[DayScored]:
    """Score a day with any version beside production, into a variant of its own."""
    with home.open_registry() as registry:
        job = plan_shadow(registry, name, reference)
        return score_job(registry, home, job, [day], PrefectCrew)


@task(cache_policy=NO_CACHE)
def make_plan(
    home: Home,
    name: str,
    start: date,
    end: date,
    using: str,
    include_training_days: bool = False,
    reason: str = "",
) -> list[PlannedDay]:
    """Return what a backfill would do, day by day."""
    with home.open_registry() as registry:
        dataset = load_champion(registry, name).spec.input
        return plan_backfill(
            registry, name, dataset, start, end, using, include_training_days, reason
        )


@task(cache_policy=NO_CACHE)
def run_plan(
    home: Home,
    name: str,
    plan: Sequence[PlannedDay],
    reason: str = "",
    go_on: Callable[[Sequence[DayScored]], bool] = lambda done: True,
) -> list[DayScored]:
    """Score what the plan leaves to do: one environment and one child for each version.

    Args:
        home: the home.
        name: the model.
        plan: what is to be done.
        reason: why another version than the present champion may replace what a third one made.
        go_on: told what became of the days of each commit; returns whether to do more.
    """
    with home.open_registry() as registry:
        return score_plan(registry, home, name, plan, reason, PrefectCrew, go_on)
