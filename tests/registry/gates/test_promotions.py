"""Promotion and rollback, and what guards them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from pilotline.registry import Registry
from pilotline.registry.consumers.consumers import NewConsumer, add_consumer
from pilotline.registry.form.errors import (
    ApprovalError,
    ConflictError,
    ConsumerError,
    NoChampionError,
    VersionUnfitError,
)
from pilotline.registry.gates.approvals import Approval, ApprovalUse, live_approval
from pilotline.registry.gates.policy import Policy
from pilotline.registry.gates.promotions import Wish, promote, rollback
from pilotline.registry.gates.resolution import champion, champion_at
from pilotline.registry.gates.statuses import retire
from pilotline.registry.record.aliases import aliases_of, get_alias, move_alias, set_challenger
from pilotline.registry.record.events import append_event, list_events
from pilotline.registry.record.history import reign_at, reigns
from pilotline.registry.record.models import get_model
from tests.support.registry.world import World

LINUX = "linux x86_64"
REVIEWER = "reviewer@example.org"
OPERATIONS = "operations@example.org"


def test_a_promotion_moves_the_alias_and_names_its_approvals(
    session: Session, world: World
) -> None:
    version = world.enter(session)
    reign = world.release(session, version)
    assert aliases_of(session, version) == ["champion"]
    assert champion(session, "flight-delay") is version
    assert (reign.number, reign.digest, reign.previous) == ("1.0.0", version.digest, None)
    assert reign.policy == world.policy.digest()
    assert [(entry["gate"], entry["by"]) for entry in reign.approvals] == [
        ("review", REVIEWER),
        ("go-live", OPERATIONS),
    ]
    given = session.scalars(select(Approval).order_by(Approval.id)).all()
    assert [entry["approval"] for entry in reign.approvals] == [row.digest() for row in given]


def test_a_promotion_consumes_both_approvals(session: Session, world: World) -> None:
    version = world.enter(session)
    world.release(session, version)
    assert live_approval(session, version, "review", world.policy) is None
    assert live_approval(session, version, "go-live", world.policy) is None
    assert len(session.scalars(select(ApprovalUse)).all()) == 2


def test_promoting_the_champion_again_changes_nothing(session: Session, world: World) -> None:
    version = world.enter(session)
    reign = world.release(session, version)
    assert promote(session, "flight-delay", "1.0.0", world.policy, LINUX) == reign
    assert len(reigns(session, "flight-delay")) == 1


def test_coming_back_needs_new_approvals(session: Session, world: World) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    world.release(session, first)
    world.release(session, second)
    with pytest.raises(ApprovalError) as refused:
        promote(session, "flight-delay", "1.0.0", world.policy, LINUX)
    assert str(refused.value) == (
        "Decision at gate 'review' of 'flight-delay' 1.0.0 refused: no live approval. "
        "Run 'pilotline release flight-delay 1.0.0'; it says what is missing."
    )
    world.release(session, first)
    history = [(reign.number, reign.previous) for reign in reigns(session, "flight-delay")]
    assert history == [("1.0.0", None), ("2.0.0", "1.0.0"), ("1.0.0", "2.0.0")]


def test_a_version_without_review_is_not_promoted(session: Session, world: World) -> None:
    version = world.enter(session)
    world.verify(session, version)
    with pytest.raises(VersionUnfitError) as refused:
        promote(session, "flight-delay", "1.0.0", world.policy, LINUX)
    assert str(refused.value) == (
        "Version 1.0.0 of 'flight-delay' is registered, not approved. "
        "Run 'pilotline release flight-delay 1.0.0'; it says what is missing."
    )
    assert get_alias(session, version.model_id, "champion") is None


def test_a_version_without_go_live_is_not_promoted(session: Session, world: World) -> None:
    version = world.enter(session)
    world.say(session, version, "review", REVIEWER)
    world.verify(session, version)
    with pytest.raises(ApprovalError, match=r"gate 'go-live' .* no live approval"):
        promote(session, "flight-delay", "1.0.0", world.policy, LINUX)


def test_verification_on_another_platform_does_not_count(session: Session, world: World) -> None:
    version = world.enter(session)
    world.approve(session, version)
    with pytest.raises(VersionUnfitError, match="has not passed verification on linux aarch64"):
        promote(session, "flight-delay", "1.0.0", world.policy, "linux aarch64")
    world.verify(session, version, platform="linux aarch64")
    assert (
        promote(session, "flight-delay", "1.0.0", world.policy, "linux aarch64").number == "1.0.0"
    )


def test_a_verification_that_failed_after_go_live_stops_promotion(
    session: Session, world: World
) -> None:
    version = world.enter(session)
    world.approve(session, version)
    world.verify(session, version, passed=False)
    with pytest.raises(VersionUnfitError, match="has not passed verification"):
        promote(session, "flight-delay", "1.0.0", world.policy, LINUX)


def test_an_expired_approval_stops_promotion(session: Session, world: World) -> None:
    world.approve(session, world.enter(session))
    old = datetime.now(UTC) - timedelta(days=15)
    world.tamper(session, update(Approval).where(Approval.gate == "review").values(recorded_at=old))
    with pytest.raises(ApprovalError, match=r"gate 'review' .* no live approval"):
        promote(session, "flight-delay", "1.0.0", world.policy, LINUX)


def test_a_changed_policy_stops_promotion(session: Session, world: World) -> None:
    world.approve(session, world.enter(session))
    with pytest.raises(ApprovalError, match="no live approval"):
        promote(session, "flight-delay", "1.0.0", replace(world.policy, expires_days=13), LINUX)


def test_an_approval_over_other_bytes_stops_promotion(session: Session, world: World) -> None:
    world.approve(session, world.enter(session))
    world.tamper(session, update(Approval).values(manifest_digest="f" * 64))
    with pytest.raises(ApprovalError, match="no live approval"):
        promote(session, "flight-delay", "1.0.0", world.policy, LINUX)


def test_one_person_at_both_gates_stops_promotion(session: Session, world: World) -> None:
    world.approve(session, world.enter(session))
    world.tamper(session, update(Approval).values(approver=REVIEWER))
    with pytest.raises(ApprovalError, match="one person approved both gates"):
        promote(session, "flight-delay", "1.0.0", world.policy, LINUX)


def test_a_refused_promotion_leaves_the_champion_where_it_was(
    registry: Registry, world: World
) -> None:
    with registry.write() as session:
        first, second = world.enter(session, "first"), world.enter(session, "second")
        world.release(session, first)
        world.approve(session, second)
    with pytest.raises(VersionUnfitError), registry.write() as session:
        promote(session, "flight-delay", "2.0.0", world.policy, "linux aarch64")
    with registry.read() as session:
        assert champion(session, "flight-delay").number == "1.0.0"
        assert len(session.scalars(select(ApprovalUse)).all()) == 2


def test_two_promotions_from_one_champion_do_not_both_happen(
    session: Session, world: World
) -> None:
    first, second, third = (world.enter(session, key) for key in ("first", "second", "third"))
    world.release(session, first)
    seen = first.id  # what a slower process read
    world.release(session, second)
    event = append_event(session, third.model_id, "noted", {})
    with pytest.raises(ConflictError, match="Alias 'champion' changed meanwhile"):
        move_alias(session, event, "champion", third, seen)
    assert champion(session, "flight-delay") is second


def test_a_promoted_challenger_challenges_nobody_any_more(session: Session, world: World) -> None:
    version = world.enter(session)
    set_challenger(session, version, "retrained")
    assert aliases_of(session, version) == ["challenger"]
    world.release(session, version)
    assert aliases_of(session, version) == ["champion"]


def test_a_rollback_takes_the_one_before_and_keeps_its_evidence(
    session: Session, world: World
) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    promoted = world.release(session, first)
    world.release(session, second)
    back = rollback(session, "flight-delay", "late flights not seen", OPERATIONS, "claimed")
    assert champion(session, "flight-delay") is first
    assert (back.kind, back.number, back.previous) == ("rolled back", "1.0.0", "2.0.0")
    assert (back.reason, back.by) == ("late flights not seen", OPERATIONS)
    assert back.approvals == promoted.approvals
    assert list_events(session, first.model_id)[-1].facts()["promotion"] == promoted.event


def test_rollbacks_go_back_and_never_forth(session: Session, world: World) -> None:
    for key in ("first", "second", "third"):
        world.release(session, world.enter(session, key))

    def back() -> str:
        return rollback(session, "flight-delay", "wrong", OPERATIONS, "claimed").number

    assert [back(), back()] == ["2.0.0", "1.0.0"]
    with pytest.raises(VersionUnfitError) as refused:
        back()
    assert str(refused.value) == (
        "Version 1.0.0 of 'flight-delay' is the first champion; there is none to go back to. "
        "To stop it: 'pilotline revoke flight-delay 1.0.0 --reason TEXT'."
    )


def test_a_promotion_after_a_rollback_is_put_on_what_was_left(
    session: Session, world: World
) -> None:
    # 1, 2, back to 1, 3: before 3 stands 1, for 2 was taken away.
    first, second, third = (world.enter(session, key) for key in ("first", "second", "third"))
    world.release(session, first)
    world.release(session, second)
    rollback(session, "flight-delay", "wrong", OPERATIONS, "claimed")
    world.release(session, third)
    assert rollback(session, "flight-delay", "wrong", OPERATIONS, "claimed").number == "1.0.0"
    assert champion(session, "flight-delay") is first


def test_a_rollback_to_a_revoked_version_is_refused(registry: Registry, world: World) -> None:
    with registry.write() as session:
        first, second = world.enter(session, "first"), world.enter(session, "second")
        world.release(session, first)
        world.release(session, second)
        retire(session, "flight-delay", "1.0.0", "revoked", "leaks", OPERATIONS, "claimed")
    refused = pytest.raises(VersionUnfitError, match=r"^Version 1\.0\.0 .* is revoked")
    with refused, registry.write() as session:
        rollback(session, "flight-delay", "wrong", OPERATIONS, "claimed")
    with registry.read() as session:
        assert champion(session, "flight-delay").number == "2.0.0"


def test_a_rollback_leaves_a_revoked_champion(session: Session, world: World) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    world.release(session, first)
    world.release(session, second)
    retire(session, "flight-delay", "2.0.0", "revoked", "leaks", OPERATIONS, "claimed")
    rollback(session, "flight-delay", "it is revoked", OPERATIONS, "claimed")
    assert champion(session, "flight-delay") is first


def test_nothing_is_rolled_back_where_nothing_was_promoted(session: Session, world: World) -> None:
    world.enter(session)
    with pytest.raises(NoChampionError):
        rollback(session, "flight-delay", "wrong", OPERATIONS, "claimed")


def test_backdating_needs_a_policy_that_allows_it(session: Session, world: World) -> None:
    world.approve(session, world.enter(session))
    wish = Wish(effective_from=datetime(2013, 1, 1, tzinfo=UTC))
    with pytest.raises(VersionUnfitError) as refused:
        promote(session, "flight-delay", "1.0.0", world.policy, LINUX, wish)
    assert str(refused.value) == (
        "Version 1.0.0 of 'flight-delay' may not be promoted from an earlier time, says the "
        "policy. Leave --effective-from away, or set backdating = true in the factory's policy."
    )


@pytest.fixture
def backdating(session: Session, world: World) -> Policy:
    """Return a policy that allows backdating, under which version 1.0.0 is approved."""
    allowing = replace(world.policy, backdating=True)
    version = world.enter(session)
    world.say(session, version, "review", REVIEWER, under=allowing)
    world.verify(session, version)
    world.say(session, version, "go-live", OPERATIONS, under=allowing)
    return allowing


def test_a_backdated_promotion_rules_the_days_since(session: Session, backdating: Policy) -> None:
    new_year = datetime(2013, 1, 1, tzinfo=UTC)
    reign = promote(session, "flight-delay", "1.0.0", backdating, LINUX, Wish(new_year))
    assert reign.backdated
    assert reign.effective_from == new_year
    assert champion_at(session, "flight-delay", new_year + timedelta(days=1)).number == "1.0.0"
    with pytest.raises(NoChampionError):  # nobody knew of it then
        reign_at(session, "flight-delay", new_year + timedelta(days=1), known_at=new_year)


def test_nobody_is_champion_from_a_time_to_come(session: Session, backdating: Policy) -> None:
    wish = Wish(effective_from=datetime.now(UTC) + timedelta(days=1))
    with pytest.raises(VersionUnfitError, match="cannot be champion from a time to come"):
        promote(session, "flight-delay", "1.0.0", backdating, LINUX, wish)


@pytest.mark.parametrize("reason", ["", "  "])
def test_a_promotion_that_breaks_a_consumer_needs_a_reason(
    session: Session, world: World, reason: str
) -> None:
    world.approve(session, world.enter(session))
    add_consumer(session, "flight-delay", NewConsumer("gate desk", "gate@example.org", "~=2.0"))
    add_consumer(session, "flight-delay", NewConsumer("crew", "crew@example.org", ">=1"))
    with pytest.raises(ConsumerError) as refused:
        promote(session, "flight-delay", "1.0.0", world.policy, LINUX, Wish(break_consumers=reason))
    assert str(refused.value) == (
        "Consumer 'gate desk' of 'flight-delay': version 1.0.0 breaks gate desk (needs ~=2.0, "
        "gate@example.org). Agree with them first, or give --break-consumers REASON."
    )
    assert get_alias(session, get_model(session, "flight-delay").id, "champion") is None


def test_a_promotion_says_whom_it_broke_and_why(session: Session, world: World) -> None:
    world.approve(session, world.enter(session))
    add_consumer(session, "flight-delay", NewConsumer("gate desk", "gate@example.org", "~=2.0"))
    wish = Wish(break_consumers="agreed by telephone")
    reign = promote(session, "flight-delay", "1.0.0", world.policy, LINUX, wish)
    assert reign.reason == "agreed by telephone"
    event = list_events(session, get_model(session, "flight-delay").id, "promoted")[0]
    assert event.facts()["broken"] == ["gate desk"]


def test_a_reason_that_was_not_needed_is_not_recorded(session: Session, world: World) -> None:
    world.approve(session, world.enter(session))
    wish = Wish(break_consumers="to be sure")
    assert promote(session, "flight-delay", "1.0.0", world.policy, LINUX, wish).reason == ""


def test_a_verification_in_weaker_isolation_than_asked_for_stops_promotion(
    session: Session, world: World
) -> None:
    version = world.enter(session)
    world.approve(session, version)
    world.verify(session, version, isolation="C")
    with pytest.raises(VersionUnfitError, match="verified in isolation C, the policy asks for A"):
        promote(session, "flight-delay", "1.0.0", world.policy, LINUX)
    world.verify(session, version)
    assert promote(session, "flight-delay", "1.0.0", world.policy, LINUX).number == "1.0.0"
