"""Where a version stands at a gate, as its record says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotline.registry import Registry
from pilotline.registry.store import Session
from pilotline.tasks.decide.gate import Gate, find_gate
from tests.support.registry.world import OPERATIONS, REVIEWER, World

WORLD = World()
WAITING = Gate("review", "waiting", approvers=WORLD.policy.approvers["review"], identity="claimed")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """Return a writing session of a fresh registry."""
    with (
        Registry(f"sqlite:///{tmp_path / 'registry.db'}", tmp_path / "blobs") as registry,
        registry.write() as writing,
    ):
        yield writing


def test_it_waits_for_those_who_may_decide(session: Session) -> None:
    version = WORLD.enter(session)
    assert find_gate(session, version, "review", WORLD.policy) == WAITING


def test_it_is_approved_by_who_said_so(session: Session) -> None:
    version = WORLD.enter(session)
    WORLD.say(session, version, "review", REVIEWER)
    found = find_gate(session, version, "review", WORLD.policy)
    assert found == Gate("review", "approved", REVIEWER, "read the evidence")
    assert find_gate(session, version, "go-live", WORLD.policy).state == "waiting"


def test_the_last_word_counts(session: Session) -> None:
    version = WORLD.enter(session)
    WORLD.say(session, version, "review", REVIEWER)
    WORLD.say(session, version, "review", OPERATIONS, "reject")
    found = find_gate(session, version, "review", WORLD.policy)
    assert found == Gate("review", "rejected", OPERATIONS, "read the evidence")


def test_an_approval_that_a_promotion_used_up_counts_no_more(session: Session) -> None:
    version = WORLD.enter(session)
    WORLD.release(session, version)
    assert find_gate(session, version, "review", WORLD.policy) == WAITING
