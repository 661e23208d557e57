"""Aliases move by compare-and-swap, beside an event."""

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from registry.aliases import aliases_of, get_alias, move_alias, set_challenger
from registry.errors import ConflictError
from registry.events import append_event, list_events
from registry.versions import ModelVersion

Add = Callable[..., ModelVersion]


def test_an_alias_that_was_never_set_is_none(session: Session, add_version: Add) -> None:
    version = add_version(session)
    assert get_alias(session, version.model_id, "challenger") is None
    assert aliases_of(session, version) == []


def test_an_alias_points_where_it_was_moved_last(session: Session, add_version: Add) -> None:
    first, second = add_version(session, "first"), add_version(session, "second")
    event = append_event(session, first.model_id, "noted", {})
    move_alias(session, event, "canary", first, None)
    move_alias(session, event, "canary", second, first.id)
    session.expire_all()
    assert (aliases_of(session, first), aliases_of(session, second)) == ([], ["canary"])


def test_an_alias_that_moved_meanwhile_is_a_conflict(session: Session, add_version: Add) -> None:
    first, second = add_version(session, "first"), add_version(session, "second")
    event = append_event(session, first.model_id, "noted", {})
    move_alias(session, event, "canary", second, None)
    with pytest.raises(ConflictError, match="Alias 'canary' changed meanwhile: expected version"):
        move_alias(session, event, "canary", first, first.id)
    assert aliases_of(session, second) == ["canary"]


def test_an_alias_that_was_set_meanwhile_is_a_conflict(session: Session, add_version: Add) -> None:
    version = add_version(session)
    event = append_event(session, version.model_id, "noted", {})
    move_alias(session, event, "canary", version, None)
    with pytest.raises(ConflictError, match="expected none yet, found one set meanwhile"):
        move_alias(session, event, "canary", version, None)


def test_setting_the_same_challenger_again_changes_nothing(
    session: Session, add_version: Add
) -> None:
    first, second = add_version(session, "first"), add_version(session, "second")
    for version in (first, first, second):
        set_challenger(session, version, "retrained")
    events = list_events(session, first.model_id, "challenger set")
    assert [event.facts()["version"] for event in events] == ["1.0.0", "2.0.0"]
    assert aliases_of(session, second) == ["challenger"]
