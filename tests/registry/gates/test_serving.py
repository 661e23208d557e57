"""What production shows of every model at once: champions, last days, versions that wait."""

from dataclasses import replace
from datetime import date

from sqlalchemy.orm import Session

from pilotline.registry.gates.serving import last_shown, list_serving, list_waiting
from pilotline.registry.gates.statuses import retire
from pilotline.registry.runs.runs import Ending, claim_partition, end_run
from tests.support.registry.world import World


def test_champions_are_listed_by_model_since_their_first_promotion(
    session: Session, world: World
) -> None:
    late = world.enter(session)
    churn = world.enter(session, "other", name="churn")
    world.enter(session, "third", name="never-released")
    first = world.release(session, late)
    world.release(session, churn)
    newer = world.enter(session, "second", parent=late, part="minor")
    world.release(session, newer)
    found = list_serving(session)
    assert [(s.model, s.version.number) for s in found] == [
        ("churn", "1.0.0"),
        ("flight-delay", "1.1.0"),
    ]
    assert found[1].since == first.effective_from


def test_a_champion_that_was_revoked_serves_nobody(session: Session, world: World) -> None:
    version = world.enter(session)
    world.release(session, version)
    said = ("broken", "operations@example.org", "claimed")
    retire(session, "flight-delay", version.number, "revoked", *said)
    assert list_serving(session) == []


def test_the_last_day_is_the_last_one_that_readers_see(session: Session, world: World) -> None:
    version = world.enter(session)
    assert last_shown(session) == {}
    for day in (1, 3, 2):
        run = claim_partition(session, version, replace(world.claim, date=date(2013, 1, day)))
        end_run(session, run, Ending("succeeded", 842))
    failed = claim_partition(session, version, replace(world.claim, date=date(2013, 1, 4)))
    end_run(session, failed, Ending("failed", reason="no"))
    shadow = replace(world.claim, date=date(2013, 1, 5), variant="shadow/1.0.0")
    end_run(session, claim_partition(session, version, shadow), Ending("succeeded", 842))
    assert last_shown(session)[version.model_id].date == date(2013, 1, 3)


def test_versions_newer_than_the_champion_wait_for_review_and_then_for_go_live(
    session: Session, world: World
) -> None:
    left = world.enter(session)
    champion = world.enter(session, "second", parent=left, part="minor")
    assert [(w.version.number, w.gate) for w in list_waiting(session)] == [
        ("1.0.0", "review"),
        ("1.1.0", "review"),
    ]
    world.release(session, champion)
    assert list_waiting(session) == []
    newer = world.enter(session, "third", parent=champion, part="patch")
    assert [(w.version.number, w.gate) for w in list_waiting(session)] == [("1.1.1", "review")]
    world.say(session, newer, "review", "reviewer@example.org")
    assert [(w.version.number, w.gate) for w in list_waiting(session)] == [("1.1.1", "go-live")]
