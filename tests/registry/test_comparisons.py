"""Comparisons with a champion that came later, and the approvals that they end."""

from collections.abc import Callable

from sqlalchemy.orm import Session

from registry.approvals import Approval, live_approval
from registry.comparisons import last_comparison, record_comparison
from registry.policy import Policy
from registry.verifications import Verification
from registry.versions import ModelVersion

Add = Callable[..., ModelVersion]
Say = Callable[..., tuple[Approval, bool]]
FOUND = {"metrics": {"roc_auc": 0.61}, "checks": [], "rows": 842, "learned": 0}


def test_the_last_comparison_with_a_champion_is_found(session: Session, add_version: Add) -> None:
    first = add_version(session)
    second = add_version(session, "second", parent=first, part="minor")
    third = add_version(session, "third", parent=second, part="patch")
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
    session: Session,
    add_version: Add,
    say: Say,
    verify: Callable[..., Verification],
    policy: Policy,
) -> None:
    champion = add_version(session)
    version = add_version(session, "second", parent=champion, part="minor")
    say(session, version, "review", "reviewer@example.org")
    verify(session, version)
    record_comparison(session, version, champion, FOUND)
    say(session, version, "go-live", "operations@example.org")
    assert live_approval(session, version, "go-live", policy) is not None
    record_comparison(session, version, champion, FOUND)
    assert live_approval(session, version, "go-live", policy) is None
    assert live_approval(session, version, "review", policy) is not None
