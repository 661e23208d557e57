"""Days that another process took over: done by it, or left to whoever is left."""

import threading
from datetime import date

from pilotline.registry import Registry
from pilotline.registry.runs.runs import PRODUCTION, unsettled_runs
from pilotline.registry.runs.shown import visible_runs
from pilotline.tasks.home import Home
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.claims import claim_day
from pilotline.tasks.score.job import Job
from pilotline.tasks.score.steps import make_plan, run_plan, score_production
from pilotline.tasks.score.takeovers import list_left
from tests.support.waiting import wait_until
from tests.tasks.conftest import MODEL

DAY, NEXT = date(2013, 1, 14), date(2013, 1, 15)


def test_a_day_is_left_where_a_claim_came_to_nothing(
    home: Home, registry: Registry, job: Job, tier: Tier
) -> None:
    number = job.bundle.version.number
    score_production.fn(home, MODEL, [NEXT], "score")
    with registry.write() as session:
        claim_day(session, tier, job, DAY)  # by somebody who died at once
    days = [DAY, NEXT]
    assert list_left(registry, MODEL, "flights", number, days, "", wait_s=0) == [DAY]


def test_a_backfill_finishes_what_somebody_took_over_and_left(
    home: Home, registry: Registry, job: Job, tier: Tier
) -> None:
    plan = make_plan.fn(home, MODEL, DAY, DAY, "champion")
    model_id, taken = job.bundle.version.model_id, []

    def take_over() -> None:
        """Claim the day once it is claimed, which is before a child is started, and die."""

        def is_taken() -> bool:
            with registry.write() as session:
                if unsettled_runs(session, model_id, PRODUCTION, DAY):
                    taken.append(claim_day(session, tier, job, DAY)[0].id)
            return bool(taken)

        wait_until(is_taken, 30)

    other = threading.Thread(target=take_over)
    other.start()
    done = run_plan.fn(home, MODEL, plan)
    other.join()
    (day,) = done
    assert (day.date, day.state) == (DAY, "succeeded")
    (after,) = make_plan.fn(home, MODEL, DAY, DAY, "champion")
    assert after.state == "done"
    with registry.read() as session:
        shown = visible_runs(session, model_id, PRODUCTION, DAY, DAY)[DAY]
    assert shown.id == day.run_id != taken[0]
