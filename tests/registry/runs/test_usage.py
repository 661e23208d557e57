"""What runs used: one line for each run, however it ended."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import update
from sqlalchemy.orm import Session

from pilotline.registry.runs.runs import Ending, Run, claim_partition, end_run
from pilotline.registry.runs.usage import list_usage
from tests.support.registry.world import World


def test_a_run_is_listed_with_its_version_and_what_it_used(session: Session, world: World) -> None:
    run = claim_partition(session, world.enter(session), world.claim)
    end_run(session, run, Ending("succeeded", 842, resources={"wall_s": 1.5}))
    (found,) = list_usage(session)
    assert (found.run, found.model, found.owner) == (run.id, "flight-delay", "operations")
    assert (found.number, found.variant, found.date) == ("1.0.0", "production", date(2013, 1, 1))
    assert (found.state, found.rows, found.resources) == ("succeeded", 842, '{"wall_s":1.5}')
    assert found.started_at == run.started_at


def test_runs_that_failed_or_have_not_ended_are_listed_too(session: Session, world: World) -> None:
    version = world.enter(session)
    failed = claim_partition(session, version, world.claim)
    end_run(session, failed, Ending("failed", reason="no"))
    under_way = claim_partition(session, version, world.claim)
    states = {run.run: (run.state, run.resources) for run in list_usage(session)}
    assert states == {failed.id: ("failed", "{}"), under_way.id: (None, None)}


def test_runs_are_chosen_by_model_and_variant(session: Session, world: World) -> None:
    late = world.enter(session)
    churn = world.enter(session, "other", name="churn")
    shown = claim_partition(session, late, world.claim)
    shadow = claim_partition(session, late, replace(world.claim, variant="shadow/1.0.0"))
    other = claim_partition(session, churn, world.claim)
    of_late = list_usage(session, model_id=late.model_id)
    assert {run.run for run in of_late} == {shown.id, shadow.id}
    assert {run.run for run in list_usage(session, variant="production")} == {shown.id, other.id}
    both = list_usage(session, model_id=late.model_id, variant="shadow/1.0.0")
    assert [run.run for run in both] == [shadow.id]


def test_runs_are_chosen_by_when_they_began(session: Session, world: World) -> None:
    version, midnight = world.enter(session), datetime(2026, 3, 1, tzinfo=UTC)
    begins = [midnight - timedelta(seconds=1), midnight, midnight + timedelta(days=1)]
    runs = [claim_partition(session, version, world.claim).id for _ in begins]
    for run, begin in zip(runs, begins, strict=True):
        world.tamper(session, update(Run).where(Run.id == run).values(started_at=begin))
    assert [run.run for run in list_usage(session)] == runs
    found = list_usage(session, begin=midnight, until=midnight + timedelta(days=1))
    assert [run.run for run in found] == [runs[1]]
