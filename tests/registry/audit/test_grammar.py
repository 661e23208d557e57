"""What a chain may say: what the registry writes passes, what it never would does not."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from pilotline.registry import Registry
from pilotline.registry.audit.grammar import check_grammar
from pilotline.registry.form.errors import AuditError
from pilotline.registry.gates.promotions import rollback
from pilotline.registry.gates.splits import Said, parse_share, set_split, stop_split
from pilotline.registry.record.events import append_event, list_events
from pilotline.registry.record.versions import ModelVersion, get_version
from tests.support.registry.databases import on_sqlite
from tests.support.registry.lived import relive
from tests.support.registry.world import World

# The grammar is checked in Python, over events as they were read.
pytestmark = on_sqlite
NAME = "flight-delay"


def come_back(registry: Registry) -> None:
    """Let a champion come back by rollback."""
    world = World()
    with registry.write() as session:
        first, second = world.enter(session, "first"), world.enter(session, "second")
        world.release(session, first)
        world.release(session, second)
        rollback(session, NAME, "wrong by a factor", "operations", "claimed")


@pytest.fixture
def registry(registry: Registry, shared: Path) -> Registry:
    """Return a registry with a champion that came back by rollback."""
    return relive(registry, shared, come_back)


@pytest.fixture
def released(session: Session) -> ModelVersion:
    """Return the champion."""
    return get_version(session, NAME, "1.0.0")


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


@pytest.fixture
def was_split(session: Session, released: ModelVersion, world: World) -> dict[str, Any]:
    """Return what the event of a split says that gave 3.0.0 rows, until it was stopped."""
    world.approve(session, world.enter(session, "third"))
    said = Said("operations@example.org", "claimed", "a look")
    set_split(session, NAME, "3.0.0", parse_share("0.1"), world.policy, "linux x86_64", said)
    stop_split(session, NAME, said)
    return list_events(session, released.model_id, "split set")[-1].facts()


def test_a_split_that_was_set_and_stopped_passes(
    session: Session, released: ModelVersion, was_split: dict[str, Any]
) -> None:
    check(session, released)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"champion": "2.0.0"}, r"expected champion 1\.0\.0, got '2\.0\.0'"),
        ({"version": "1.0.0"}, r"expected champion 1\.0\.0"),
        ({"version": "9.0.0"}, r"a registered version, got '9\.0\.0'"),
        ({"digest": "0" * 64}, r"expected the digest of 3\.0\.0"),
        ({"share": "1.5"}, r"Share '1\.5'"),
        ({"share": 0.1}, "strip"),
        ({"approvals": []}, "one approval at each of review and go-live"),
    ],
)
def test_a_split_that_the_registry_never_sets_is_named(
    session: Session,
    released: ModelVersion,
    was_split: dict[str, Any],
    changes: dict[str, Any],
    told: str,
) -> None:
    event = append_event(session, released.model_id, "split set", was_split | changes)
    with pytest.raises(AuditError, match=rf"^Event {event.seq} of 'flight-delay': .*{told}"):
        check(session, released)


def test_no_split_stands_on_another_version_s_approvals(
    session: Session, released: ModelVersion, was_split: dict[str, Any]
) -> None:
    theirs = list_events(session, released.model_id, "promoted")[0].facts()["approvals"]
    append_event(session, released.model_id, "split set", {**was_split, "approvals": theirs})
    with pytest.raises(AuditError, match=r"'review' of 3\.0\.0 was not approved by 'reviewer@"):
        check(session, released)


def test_no_split_is_set_for_a_version_out_of_use(
    session: Session, released: ModelVersion, was_split: dict[str, Any]
) -> None:
    facts = {"version": "3.0.0", "reason": "wrong", "by": "x", "identity": "claimed"}
    append_event(session, released.model_id, "revoked", {**facts, "partitions": []})
    append_event(session, released.model_id, "split set", was_split)
    with pytest.raises(AuditError, match=r"expected an approved version, 3\.0\.0 is revoked"):
        check(session, released)
