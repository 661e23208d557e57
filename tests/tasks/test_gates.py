"""Decisions at the gates."""

import pytest

from registry import Registry
from registry.approvals import Decision
from registry.errors import ApprovalError, UnknownVersionError
from registry.models import ModelFacts
from registry.versions import NewVersion, enter_version, get_version, status_of
from tasks.gates import record_decision
from tasks.home import Home

SAID = Decision("review", "approve", "reviewer@example.org", "read the evidence")


@pytest.fixture
def number(registry: Registry) -> str:
    """Return the number of a second version, waiting for review."""
    facts = ModelFacts("flight-delay", "operations", "", ())
    new = NewVersion(facts, "author@example.org", "9" * 64, "8" * 64, None, None, (), {})
    with registry.write() as session:
        return enter_version(session, new)[0].number


def test_a_decision_is_recorded_once_under_the_home_s_policy(
    home: Home, registry: Registry, number: str
) -> None:
    first = record_decision(home, "flight-delay", number, SAID)
    assert (first.gate, first.by, first.identity) == ("review", SAID.approver, "claimed")
    again = record_decision(home, "flight-delay", number, SAID)
    assert (first.new, again.new) == (True, False)
    assert again.approval == first.approval
    with registry.read() as session:
        assert status_of(session, get_version(session, "flight-delay", number)) == "approved"


def test_somebody_the_policy_does_not_name_is_refused(home: Home, number: str) -> None:
    said = Decision("review", "approve", "visitor@example.org", "why not")
    with pytest.raises(ApprovalError, match=r"'visitor@example\.org' is no approver here"):
        record_decision(home, "flight-delay", number, said)


def test_a_decision_on_no_version_is_refused(home: Home) -> None:
    with pytest.raises(UnknownVersionError):
        record_decision(home, "flight-delay", "9.9.9", SAID)
