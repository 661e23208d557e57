"""Approvals: who may decide what, when, and for how long it counts."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Executable, update
from sqlalchemy.orm import Session

from registry.approvals import (
    Approval,
    Decision,
    decide,
    expires_at,
    is_live,
    latest_decision,
    live_approval,
)
from registry.canonical import digest_json
from registry.errors import ApprovalError, UnknownVersionError
from registry.events import list_events
from registry.policy import GATES, Policy
from registry.reigns import Reign
from registry.verifications import Verification
from registry.versions import ModelVersion, NewVersion, enter_version, status_of

REVIEWER = "reviewer@example.org"
OPERATIONS = "operations@example.org"

Add = Callable[..., ModelVersion]
Say = Callable[..., tuple[Approval, bool]]
Verify = Callable[..., Verification]
Tamper = Callable[[Session, Executable], None]
Age = Callable[[Session, Approval, timedelta], None]


@pytest.fixture
def age(tamper: Tamper) -> Age:
    """Return a function that makes an approval older."""

    def aged(session: Session, approval: Approval, by: timedelta) -> None:
        earlier = approval.recorded_at - by
        mine = update(Approval).where(Approval.id == approval.id)
        tamper(session, mine.values(recorded_at=earlier))

    return aged


def test_a_review_approves_the_version_beside_its_event(
    session: Session, add_version: Add, say: Say, policy: Policy
) -> None:
    version = add_version(session)
    approval, is_new = say(session, version, "review", REVIEWER)
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
        "policy": policy.digest(),
    }


def test_an_approval_binds_to_manifest_and_policy(
    session: Session, add_version: Add, say: Say, policy: Policy
) -> None:
    version = add_version(session)
    approval, _ = say(session, version, "review", REVIEWER)
    assert approval.manifest_digest == version.digest
    assert approval.policy_digest == policy.digest()
    session.expire_all()
    assert approval.digest() == digest_json(
        {
            "gate": "review",
            "decision": "approve",
            "approver": REVIEWER,
            "identity": "claimed",
            "comment": "read the evidence",
            "manifest": version.digest,
            "policy": policy.digest(),
            "recorded_at": approval.recorded_at.isoformat(),
        }
    )


def test_go_live_is_an_event_and_leaves_the_status(
    session: Session, add_version: Add, approve: Callable[..., None]
) -> None:
    version = add_version(session)
    approve(session, version)
    assert status_of(session, version) == "approved"
    kinds = [event.kind for event in list_events(session, version.model_id)]
    assert kinds == ["registered", "approved", "verified", "go-live approved"]


@pytest.mark.parametrize("author", ["author@example.org", "Author@Example.org"])
def test_the_author_cannot_approve_even_when_listed(
    session: Session, add_version: Add, policy: Policy, say: Say, author: str
) -> None:
    version = add_version(session)
    with pytest.raises(ApprovalError) as refused:
        say(session, version, "review", author)
    assert str(refused.value) == (
        f"Decision at gate 'review' of 'flight-delay' 1.0.0 refused: {author!r} is the author "
        "of this version. Ask somebody else on the list of approvers."
    )
    assert latest_decision(session, version, "review") is None


def test_somebody_who_is_not_listed_cannot_approve(
    session: Session, add_version: Add, say: Say
) -> None:
    version = add_version(session)
    with pytest.raises(ApprovalError) as refused:
        say(session, version, "go-live", "visitor@example.org")
    assert str(refused.value).endswith(
        "'visitor@example.org' is no approver here. "
        "The policy names: operations@example.org, reviewer@example.org."
    )
    assert status_of(session, version) == "registered"


def test_an_unknown_gate_is_refused(session: Session, add_version: Add, say: Say) -> None:
    version = add_version(session)
    with pytest.raises(ApprovalError, match=r"no decision at a gate.*'review', 'go-live'"):
        say(session, version, "canary", REVIEWER)


def test_an_unknown_decision_is_refused(session: Session, add_version: Add, say: Say) -> None:
    version = add_version(session)
    with pytest.raises(ApprovalError):
        say(session, version, "review", REVIEWER, "perhaps")


def test_an_unknown_version_cannot_be_decided_on(
    session: Session, add_version: Add, policy: Policy
) -> None:
    add_version(session)
    with pytest.raises(UnknownVersionError):
        decide(
            session, "flight-delay", "9.0.0", Decision("review", "approve", REVIEWER, ""), policy
        )


def test_the_same_person_cannot_approve_both_gates(
    session: Session, add_version: Add, say: Say, verify: Verify
) -> None:
    version = add_version(session)
    say(session, version, "review", REVIEWER)
    verify(session, version)
    with pytest.raises(ApprovalError) as refused:
        say(session, version, "go-live", REVIEWER)
    assert str(refused.value).endswith(
        "'reviewer@example.org' approved at gate 'review' already. Two gates need two people."
    )


def test_one_person_may_approve_both_gates_where_policy_says_so(
    session: Session, add_version: Add, say: Say, verify: Verify, policy: Policy
) -> None:
    alone = replace(policy, distinct_approvers=False)
    version = add_version(session)
    say(session, version, "review", REVIEWER, under=alone)
    verify(session, version)
    assert say(session, version, "go-live", REVIEWER, under=alone)[1]


def test_go_live_waits_for_the_review(
    session: Session, add_version: Add, say: Say, verify: Verify
) -> None:
    version = add_version(session)
    verify(session, version)
    with pytest.raises(ApprovalError) as refused:
        say(session, version, "go-live", OPERATIONS)
    assert str(refused.value).endswith(
        "the review has not approved it. "
        "Run 'pilotline release flight-delay 1.0.0' first; it says what is missing."
    )


@pytest.mark.parametrize("outcomes", [[], [False], [True, False]])
def test_go_live_waits_for_verification(
    session: Session, add_version: Add, say: Say, verify: Verify, outcomes: list[bool]
) -> None:
    version = add_version(session)
    say(session, version, "review", REVIEWER)
    for passed in outcomes:
        verify(session, version, passed)
    with pytest.raises(ApprovalError, match="deployment verification has not passed"):
        say(session, version, "go-live", OPERATIONS)


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_the_same_person_saying_the_same_again_changes_nothing(
    session: Session, add_version: Add, say: Say, decision: str
) -> None:
    version = add_version(session)
    first, _ = say(session, version, "review", REVIEWER, decision)
    events = len(list_events(session, version.model_id))
    again, is_new = say(session, version, "review", REVIEWER, decision)
    assert (again.id, is_new) == (first.id, False)
    assert len(list_events(session, version.model_id)) == events


def test_another_person_may_approve_the_same_gate(
    session: Session, add_version: Add, say: Say, policy: Policy
) -> None:
    version = add_version(session)
    say(session, version, "review", REVIEWER)
    second, is_new = say(session, version, "review", OPERATIONS)
    assert is_new
    assert live_approval(session, version, "review", policy) is second


def test_a_rejection_ends_the_version(
    session: Session, add_version: Add, say: Say, policy: Policy
) -> None:
    version = add_version(session)
    say(session, version, "review", REVIEWER)
    say(session, version, "go-live", OPERATIONS, "reject")
    assert status_of(session, version) == "rejected"
    assert list_events(session, version.model_id)[-1].kind == "rejected"
    assert live_approval(session, version, "go-live", policy) is None
    with pytest.raises(ApprovalError) as refused:
        say(session, version, "review", OPERATIONS)
    assert str(refused.value).endswith(
        "the version is rejected. Train a new one with 'pilotline train flight-delay'."
    )


def test_an_approval_that_expired_is_not_live(
    session: Session, add_version: Add, say: Say, policy: Policy, age: Age
) -> None:
    version = add_version(session)
    approval, _ = say(session, version, "review", REVIEWER)
    age(session, approval, timedelta(days=14) - timedelta(minutes=1))
    assert live_approval(session, version, "review", policy) is approval
    age(session, approval, timedelta(minutes=1))
    assert live_approval(session, version, "review", policy) is None
    assert latest_decision(session, version, "review") is approval


def test_an_approval_ends_as_many_days_later_as_policy_says(policy: Policy) -> None:
    given = Approval(recorded_at=datetime(2013, 1, 1, 12, tzinfo=UTC))
    assert expires_at(given, policy) == datetime(2013, 1, 15, 12, tzinfo=UTC)


def test_an_expired_approval_can_be_given_again(
    session: Session, add_version: Add, say: Say, policy: Policy, age: Age
) -> None:
    version = add_version(session)
    approval, _ = say(session, version, "review", REVIEWER)
    age(session, approval, timedelta(days=15))
    again, is_new = say(session, version, "review", REVIEWER)
    assert is_new
    assert live_approval(session, version, "review", policy) is again


def test_a_changed_policy_ends_approvals_given_before(
    session: Session, add_version: Add, say: Say, policy: Policy
) -> None:
    version = add_version(session)
    approval, _ = say(session, version, "review", REVIEWER)
    stricter = replace(policy, expires_days=13)
    assert is_live(session, approval, policy)
    assert not is_live(session, approval, stricter)
    assert say(session, version, "review", REVIEWER, under=stricter)[1]


def test_an_approver_who_left_the_list_no_longer_counts(
    session: Session, add_version: Add, say: Say, policy: Policy, tamper: Tamper
) -> None:
    version = add_version(session)
    approval, _ = say(session, version, "review", REVIEWER)
    left = replace(policy, approvers={**policy.approvers, "review": (OPERATIONS,)})
    tamper(session, update(Approval).values(policy_digest=left.digest()))
    assert not is_live(session, approval, left)


def test_the_champion_needs_no_further_decision(
    session: Session, add_version: Add, say: Say, release: Callable[..., Reign]
) -> None:
    version = add_version(session)
    release(session, version)
    with pytest.raises(ApprovalError) as refused:
        say(session, version, "review", REVIEWER, "reject")
    assert str(refused.value).endswith(
        "the version is champion already. Promote another version to take it out of service."
    )
    assert status_of(session, version) == "approved"


@pytest.mark.parametrize(
    "typed", [" Reviewer@Example.org", "reviewer@example.org ", "\uff52eviewer@example.org"]
)
def test_a_decision_is_kept_under_the_name_that_the_policy_writes(
    session: Session, add_version: Add, say: Say, policy: Policy, typed: str
) -> None:
    version = add_version(session)
    approval, _ = say(session, version, "review", typed)
    assert approval.approver == REVIEWER
    assert say(session, version, "review", REVIEWER) == (approval, False)
    assert is_live(session, approval, policy)


def test_the_author_typed_in_another_way_cannot_approve(
    session: Session,
    add_version: Add,
    say: Say,
    new_version: Callable[..., NewVersion],
    policy: Policy,
) -> None:
    new = replace(new_version(), author="ren\u00e9@example.org ")
    version, _ = enter_version(session, new)
    listed = replace(policy, approvers=dict.fromkeys(GATES, ("rene\u0301@example.org",)))
    with pytest.raises(ApprovalError, match="is the author of this version"):
        say(session, version, "review", "rene\u0301@example.org", under=listed)


def test_two_gates_need_two_people_however_one_types(
    session: Session, add_version: Add, say: Say, verify: Verify, policy: Policy
) -> None:
    twins = ("ren\u00e9@example.org", "rene\u0301@example.org")  # as a policy of before named both
    listed = replace(policy, approvers=dict.fromkeys(GATES, twins))
    version = add_version(session)
    say(session, version, "review", twins[0], under=listed)
    verify(session, version)
    with pytest.raises(ApprovalError, match="Two gates need two people"):
        say(session, version, "go-live", twins[1], under=listed)


def test_a_rejection_needs_a_reason(session: Session, add_version: Add, policy: Policy) -> None:
    version = add_version(session)
    said = Decision("review", "reject", REVIEWER, " ")
    with pytest.raises(ApprovalError, match=r"a rejection without a reason\. Say in the comment"):
        decide(session, "flight-delay", version.number, said, policy)
    assert status_of(session, version) == "registered"


def test_a_verification_in_weaker_isolation_than_asked_for_does_not_open_go_live(
    session: Session, add_version: Add, say: Say, verify: Verify, policy: Policy
) -> None:
    version = add_version(session)
    say(session, version, "review", REVIEWER)
    verify(session, version, isolation="C")
    with pytest.raises(ApprovalError, match="verified in isolation C, the policy asks for A"):
        say(session, version, "go-live", OPERATIONS)
    loose = replace(policy, minimum_isolation="C")
    assert say(session, version, "go-live", OPERATIONS, under=loose)[1]


def test_a_review_that_a_promotion_used_up_opens_no_go_live(
    session: Session,
    add_version: Add,
    say: Say,
    verify: Verify,
    release: Callable[..., Reign],
    policy: Policy,
) -> None:
    first, second = add_version(session, "first"), add_version(session, "second")
    release(session, first)
    release(session, second)
    verify(session, first)
    with pytest.raises(ApprovalError) as refused:
        say(session, first, "go-live", OPERATIONS)
    assert str(refused.value) == (
        "Decision at gate 'go-live' of 'flight-delay' 1.0.0 refused: an earlier promotion used up "
        "its approval at review. Run 'pilotline release flight-delay 1.0.0' first; it says what is "
        "missing."
    )
    say(session, first, "review", REVIEWER)
    say(session, first, "go-live", OPERATIONS)
    assert live_approval(session, first, "go-live", policy) is not None
