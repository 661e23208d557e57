"""What a chain may say: what the registry writes passes, what it never would does not."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session

from registry.errors import AuditError
from registry.events import append_event, list_events
from registry.grammar import check_grammar
from registry.promotions import rollback
from registry.reigns import Reign
from registry.versions import ModelVersion

NAME = "flight-delay"
Add = Callable[..., ModelVersion]
Release = Callable[[Session, ModelVersion], Reign]


@pytest.fixture
def released(session: Session, add_version: Add, release: Release) -> ModelVersion:
    """Return a champion that came back by rollback."""
    first, second = add_version(session, "first"), add_version(session, "second")
    release(session, first)
    release(session, second)
    rollback(session, NAME, "wrong by a factor", "operations", "claimed")
    return first


def check(session: Session, version: ModelVersion) -> None:
    check_grammar(NAME, list_events(session, version.model_id))


def test_what_the_registry_wrote_passes(session: Session, released: ModelVersion) -> None:
    check(session, released)


@pytest.mark.parametrize(
    ("kind", "facts", "told"),
    [
        ("\x1b[31m", {}, "a kind in small letters"),
        ("registered", {"version": "1.0.0"}, "expected a new version number, got '1.0.0'"),
        ("registered", {"version": "1.0"}, "expected a new version number, got '1.0'"),
        ("registered", {"version": "3.0.0", "digest": "x"}, "expected a digest, got 'x'"),
        ("revoked", {"version": "9.0.0"}, "expected a registered version, got '9.0.0'"),
        ("alias set", {"version": "1.0.0", "alias": "all"}, "Name 'all'"),
        ("alias set", {"version": "1.0.0"}, "no 'alias'"),
        ("promoted", {"version": "1.0.0", "digest": "x"}, r"expected the digest of 1\.0\.0"),
    ],
)
def test_what_it_never_writes_is_named(
    session: Session, released: ModelVersion, kind: str, facts: dict[str, Any], told: str
) -> None:
    event = append_event(session, released.model_id, kind, facts)
    with pytest.raises(AuditError, match=rf"^Event {event.seq} of 'flight-delay': .*{told}"):
        check(session, released)


def test_an_approval_is_not_good_for_a_version_it_was_not_given_for(
    session: Session, released: ModelVersion
) -> None:
    promotions = list_events(session, released.model_id, "promoted")
    first, second = promotions[0].facts(), promotions[1].facts()
    swapped = {**second, "previous": "1.0.0", "approvals": first["approvals"]}
    append_event(session, released.model_id, "promoted", swapped)
    with pytest.raises(AuditError, match=r"'review' of 2\.0\.0 was not approved by 'reviewer@"):
        check(session, released)


def test_a_rollback_stands_on_the_evidence_of_the_promotion(
    session: Session, released: ModelVersion
) -> None:
    last = list_events(session, released.model_id, "rolled back")[-1].facts()
    forged = {**last, "previous": "1.0.0", "approvals": []}
    append_event(session, released.model_id, "rolled back", forged)
    with pytest.raises(AuditError, match=r"evidence on which 1\.0\.0 was promoted"):
        check(session, released)
