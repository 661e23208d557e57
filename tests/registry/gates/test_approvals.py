"""Approvals: who may decide what, when, and for how long it counts."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from pilotline.registry.form.canonical import digest_json
from pilotline.registry.form.errors import ApprovalError, UnknownVersionError
from pilotline.registry.gates.approvals import (
    Approval,
    Decision,
    decide,
    expires_at,
    is_live,
    latest_decision,
    live_approval,
)
from pilotline.registry.gates.policy import GATES
from pilotline.registry.record.events import list_events
from pilotline.registry.record.versions import enter_version, status_of
from tests.support.registry.databases import on_sqlite
from tests.support.registry.world import World

REVIEWER = "reviewer@example.org"
OPERATIONS = "operations@example.org"

Age = Callable[[Session, Approval, timedelta], None]


@pytest.fixture
def age(world: World) -> Age:
    """Return a function that makes an approval older."""

    def aged(session: Session, approval: Approval, by: timedelta) -> None:
        earlier = approval.recorded_at - by
        mine = update(Approval).where(Approval.id == approval.id)
        world.tamper(session, mine.values(recorded_at=earlier))

    return aged


def test_a_review_approves_the_version_beside_its_event(session: Session, world: World) -> None:
    version = world.enter(session)
    approval, is_new = world.say(session, version, "review", REVIEWER)
    assert is_new
    assert status_of(session, version) == "approved"
    event = list_events(session, version.model_id)[-1]
    assert event.kind == "approved"
    assert event.facts() == {
        "version": "1.0.0",
        "gate": "review",
        "by": REVIEWER,
        "identity": "claimed",
        "comment": "read the evidence",
        "approval": approval.digest(),
        "digest": version.digest,
        "policy": world.policy.digest(),
    }


def test_an_approval_binds_to_manifest_and_policy(session: Session, world: World) -> None:
    version = world.enter(session)
    approval, _ = world.say(session, version, "review", REVIEWER)
    assert approval.manifest_digest == version.digest
    assert approval.policy_digest == world.policy.digest()
    session.expire_all()
    assert approval.digest() == digest_json(
        {
            "gate": "review",
            "decision": "approve",
            "approver": REVIEWER,
            "identity": "claimed",
            "comment": "read the evidence",
            "manifest": version.digest,
            "policy": world.policy.digest(),
            "recorded_at": approval.recorded_at.isoformat(),
        }
    )


def test_go_live_is_an_event_and_leaves_the_status(session: Session, world: World) -> None:
    version = world.enter(session)
    world.approve(session, version)
    assert status_of(session, version) == "approved"
    kinds = [event.kind for event in list_events(session, version.model_id)]
    assert kinds == ["registered", "approved", "verified", "go-live approved"]


@on_sqlite
@pytest.mark.parametrize("author", ["author@example.org", "Author@Example.org"])
def test_the_author_cannot_approve_even_when_listed(
    session: Session, world: World, author: str
) -> None:
    version = world.enter(session)
    with pytest.raises(ApprovalError) as refused:
        world.say(session, version, "review", author)
    assert str(refused.value) == (
        f"Decision at gate 'review' of 'flight-delay' 1.0.0 refused: {author!r} is the author "
        "of this version. Ask somebody else on the list of approvers."
    )
    assert latest_decision(session, version, "review") is None


@on_sqlite
def test_somebody_who_is_not_listed_cannot_approve(session: Session, world: World) -> None:
    version = world.enter(session)
    with pytest.raises(ApprovalError) as refused:
        world.say(session, version, "go-live", "visitor@example.org")
    assert str(refused.value).endswith(
        "'visitor@example.org' is no approver here. "
        "The policy names: operations@example.org, reviewer@example.org."
    )
    assert status_of(session, version) == "registered"


@on_sqlite
def test_an_unknown_gate_is_refused(session: Session, world: World) -> None:
    version = world.enter(session)
    with pytest.raises(ApprovalError, match=r"no decision at a gate.*'review', 'go-live'"):
        world.say(session, version, "canary", REVIEWER)


@on_sqlite
def test_an_unknown_decision_is_refused(session: Session, world: World) -> None:
    version = world.enter(session)
    with pytest.raises(ApprovalError):
        world.say(session, version, "review", REVIEWER, "perhaps")


def test_an_unknown_version_cannot_be_decided_on(session: Session, world: World) -> None:
    world.enter(session)
    with pytest.raises(UnknownVersionError):
        decide(
            session,
            "flight-delay",
            "9.0.0",
            Decision("review", "approve", REVIEWER, ""),
            world.policy,
        )


def test_the_same_person_cannot_approve_both_gates(session: Session, world: World) -> None:
    version = world.enter(session)
    world.say(session, version, "review", REVIEWER)
    world.verify(session, version)
    with pytest.raises(ApprovalError) as refused:
        world.say(session, version, "go-live", REVIEWER)
    assert str(refused.value).endswith(
        "'reviewer@example.org' approved at gate 'review' already. Two gates need two people."
    )


def test_one_person_may_approve_both_gates_where_policy_says_so(
    session: Session, world: World
) -> None:
    alone = replace(world.policy, distinct_approvers=False)
    version = world.enter(session)
    world.say(session, version, "review", REVIEWER, under=alone)
    world.verify(session, version)
    assert world.say(session, version, "go-live", REVIEWER, under=alone)[1]


def test_go_live_waits_for_the_review(session: Session, world: World) -> None:
    version = world.enter(session)
    world.verify(session, version)
    with pytest.raises(ApprovalError) as refused:
        world.say(session, version, "go-live", OPERATIONS)
    assert str(refused.value).endswith(
        "the review has not approved it. "
        "Run 'pilotline release flight-delay 1.0.0' first; it says what is missing."
    )


@pytest.mark.parametrize("outcomes", [[], [False], [True, False]])
def test_go_live_waits_for_verification(
    session: Session, world: World, outcomes: list[bool]
) -> None:
    version = world.enter(session)
    world.say(session, version, "review", REVIEWER)
    for passed in outcomes:
        world.verify(session, version, passed)
    with pytest.raises(ApprovalError, match="deployment verification has not passed"):
        world.say(session, version, "go-live", OPERATIONS)


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_the_same_person_saying_the_same_again_changes_nothing(
    session: Session, world: World, decision: str
) -> None:
    version = world.enter(session)
    first, _ = world.say(session, version, "review", REVIEWER, decision)
    events = len(list_events(session, version.model_id))
    again, is_new = world.say(session, version, "review", REVIEWER, decision)
    assert (again.id, is_new) == (first.id, False)
    assert len(list_events(session, version.model_id)) == events


def test_another_person_may_approve_the_same_gate(session: Session, world: World) -> None:
    version = world.enter(session)
    world.say(session, version, "review", REVIEWER)
    second, is_new = world.say(session, version, "review", OPERATIONS)
    assert is_new
    assert live_approval(session, version, "review", world.policy) is second


def test_a_rejection_ends_the_version(session: Session, world: World) -> None:
    version = world.enter(session)
    world.say(session, version, "review", REVIEWER)
    world.say(session, version, "go-live", OPERATIONS, "reject")
    assert status_of(session, version) == "rejected"
    assert list_events(session, version.model_id)[-1].kind == "rejected"
    assert live_approval(session, version, "go-live", world.policy) is None
    with pytest.raises(ApprovalError) as refused:
        world.say(session, version, "review", OPERATIONS)
    assert str(refused.value).endswith(
        "the version is rejected. Train a new one with 'pilotline train flight-delay'."
    )


def test_an_approval_that_expired_is_not_live(session: Session, world: World, age: Age) -> None:
    version = world.enter(session)
    approval, _ = world.say(session, version, "review", REVIEWER)
    age(session, approval, timedelta(days=14) - timedelta(minutes=1))
    assert live_approval(session, version, "review", world.policy) is approval
    age(session, approval, timedelta(minutes=1))
    assert live_approval(session, version, "review", world.policy) is None
    assert latest_decision(session, version, "review") is approval


def test_an_approval_ends_as_many_days_later_as_policy_says(world: World) -> None:
    given = Approval(recorded_at=datetime(2013, 1, 1, 12, tzinfo=UTC))
    assert expires_at(given, world.policy) == datetime(2013, 1, 15, 12, tzinfo=UTC)


def test_an_expired_approval_can_be_given_again(session: Session, world: World, age: Age) -> None:
    version = world.enter(session)
    approval, _ = world.say(session, version, "review", REVIEWER)
    age(session, approval, timedelta(days=15))
    again, is_new = world.say(session, version, "review", REVIEWER)
    assert is_new
    assert live_approval(session, version, "review", world.policy) is again


def test_a_changed_policy_ends_approvals_given_before(session: Session, world: World) -> None:
    version = world.enter(session)
    approval, _ = world.say(session, version, "review", REVIEWER)
    stricter = replace(world.policy, expires_days=13)
    assert is_live(session, approval, world.policy)
    assert not is_live(session, approval, stricter)
    assert world.say(session, version, "review", REVIEWER, under=stricter)[1]


def test_an_approver_who_left_the_list_no_longer_counts(session: Session, world: World) -> None:
    version = world.enter(session)
    approval, _ = world.say(session, version, "review", REVIEWER)
    left = replace(world.policy, approvers={**world.policy.approvers, "review": (OPERATIONS,)})
    world.tamper(session, update(Approval).values(policy_digest=left.digest()))
    assert not is_live(session, approval, left)


def test_the_champion_needs_no_further_decision(session: Session, world: World) -> None:
    version = world.enter(session)
    world.release(session, version)
    with pytest.raises(ApprovalError) as refused:
        world.say(session, version, "review", REVIEWER, "reject")
    assert str(refused.value).endswith(
        "the version is champion already. Promote another version to take it out of service."
    )
    assert status_of(session, version) == "approved"


@on_sqlite
@pytest.mark.parametrize(
    "typed", [" Reviewer@Example.org", "reviewer@example.org ", "\uff52eviewer@example.org"]
)
def test_a_decision_is_kept_under_the_name_that_the_policy_writes(
    session: Session, world: World, typed: str
) -> None:
    version = world.enter(session)
    approval, _ = world.say(session, version, "review", typed)
    assert approval.approver == REVIEWER
    assert world.say(session, version, "review", REVIEWER) == (approval, False)
    assert is_live(session, approval, world.policy)


@on_sqlite
def test_the_author_typed_in_another_way_cannot_approve(session: Session, world: World) -> None:
    new = replace(world.new_version(), author="ren\u00e9@example.org ")
    version, _ = enter_version(session, new)
    listed = replace(world.policy, approvers=dict.fromkeys(GATES, ("rene\u0301@example.org",)))
    with pytest.raises(ApprovalError, match="is the author of this version"):
        world.say(session, version, "review", "rene\u0301@example.org", under=listed)


@on_sqlite
def test_two_gates_need_two_people_however_one_types(session: Session, world: World) -> None:
    twins = ("ren\u00e9@example.org", "rene\u0301@example.org")  # as a policy of before named both
    listed = replace(world.policy, approvers=dict.fromkeys(GATES, twins))
    version = world.enter(session)
    world.say(session, version, "review", twins[0], under=listed)
    world.verify(session, version)
    with pytest.raises(ApprovalError, match="Two gates need two people"):
        world.say(session, version, "go-live", twins[1], under=listed)


@on_sqlite
def test_a_rejection_needs_a_reason(session: Session, world: World) -> None:
    version = world.enter(session)
    said = Decision("review", "reject", REVIEWER, " ")
    with pytest.raises(ApprovalError, match=r"a rejection without a reason\. Say in the comment"):
        decide(session, "flight-delay", version.number, said, world.policy)
    assert status_of(session, version) == "registered"


def test_a_verification_in_weaker_isolation_than_asked_for_does_not_open_go_live(
    session: Session, world: World
) -> None:
    version = world.enter(session)
    world.say(session, version, "review", REVIEWER)
    world.verify(session, version, isolation="C")
    with pytest.raises(ApprovalError, match="verified in isolation C, the policy asks for A"):
        world.say(session, version, "go-live", OPERATIONS)
    loose = replace(world.policy, minimum_isolation="C")
    assert world.say(session, version, "go-live", OPERATIONS, under=loose)[1]


def test_a_review_that_a_promotion_used_up_opens_no_go_live(session: Session, world: World) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    world.release(session, first)
    world.release(session, second)
    world.verify(session, first)
    with pytest.raises(ApprovalError) as refused:
        world.say(session, first, "go-live", OPERATIONS)
    assert str(refused.value) == (
        "Decision at gate 'go-live' of 'flight-delay' 1.0.0 refused: an earlier promotion used up "
        "its approval at review. Run 'pilotline release flight-delay 1.0.0' first; it says what is "
        "missing."
    )
    world.say(session, first, "review", REVIEWER)
    world.say(session, first, "go-live", OPERATIONS)
    assert live_approval(session, first, "go-live", world.policy) is not None
