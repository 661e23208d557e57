"""Comparisons with a champion that came later, and the approvals that they end."""

from sqlalchemy.orm import Session

from pilotline.registry.gates.approvals import live_approval
from pilotline.registry.record.comparisons import last_comparison, record_comparison
from tests.support.registry.world import World

FOUND = {"metrics": {"roc_auc": 0.61}, "checks": [], "rows": 842, "learned": 0}


def test_the_last_comparison_with_a_champion_is_found(session: Session, world: World) -> None:
    first = world.enter(session)
    second = world.enter(session, "second", parent=first, part="minor")
    third = world.enter(session, "third", parent=second, part="patch")
    assert last_comparison(session, third) is None
    for champion in (first, second, first):
        last = record_comparison(session, third, champion, FOUND)
    assert last_comparison(session, third) is last
    found = last_comparison(session, third, second.number)
    assert found is not None
    assert found.facts() == {
        "version": third.number,
        "digest": third.digest,
        "champion": second.number,
        "champion_digest": second.digest,
        **FOUND,
    }
    assert last_comparison(session, second) is None


def test_a_comparison_ends_the_approval_at_go_live_given_before_and_no_other(
    session: Session, world: World
) -> None:
    champion = world.enter(session)
    version = world.enter(session, "second", parent=champion, part="minor")
    world.say(session, version, "review", "reviewer@example.org")
    world.verify(session, version)
    record_comparison(session, version, champion, FOUND)
    world.say(session, version, "go-live", "operations@example.org")
    assert live_approval(session, version, "go-live", world.policy) is not None
    record_comparison(session, version, champion, FOUND)
    assert live_approval(session, version, "go-live", world.policy) is None
    assert live_approval(session, version, "review", world.policy) is not None
