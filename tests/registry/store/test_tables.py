"""Moments: stored in UTC, and never without a zone."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import update
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from pilotline.registry.record.models import ModelFacts, RegisteredModel, put_model
from pilotline.registry.store.tables import now

FACTS = ModelFacts("flight-delay", "operations", "Late?")


def test_a_moment_in_another_zone_comes_back_in_utc(session: Session) -> None:
    model = put_model(session, FACTS)
    model.created_at = datetime(2013, 1, 1, 2, 30, tzinfo=timezone(timedelta(hours=2)))
    session.flush()
    session.expire_all()
    read = session.get_one(RegisteredModel, model.id).created_at
    assert read.isoformat() == "2013-01-01T00:30:00+00:00"


def test_a_moment_without_a_zone_is_refused(session: Session) -> None:
    model = put_model(session, FACTS)
    without = datetime.fromisoformat("2013-01-01")
    query = update(RegisteredModel).where(RegisteredModel.id == model.id)
    with pytest.raises(StatementError, match="a time zone, got '2013-01-01T00:00:00'"):
        session.execute(query.values(created_at=without))


def test_the_wall_clock_is_in_utc() -> None:
    assert now().tzinfo is UTC
