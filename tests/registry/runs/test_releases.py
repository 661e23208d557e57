"""Releases from quarantine are events, and what they say must be on record."""

from datetime import date

import pytest
from sqlalchemy import delete

from pilotline.registry import Registry
from pilotline.registry.audit.auditing import audit, list_heads
from pilotline.registry.form.errors import AuditError
from pilotline.registry.record.events import FACTORY, list_events
from pilotline.registry.runs.ingests import Ingest, record_ingest
from pilotline.registry.runs.releases import KIND, record_release
from tests.support.registry.meddling import unguarded

DAY = date(2013, 1, 1)


def ingest(token: str, digest: str, dataset: str = "flights") -> Ingest:
    """Return the record of a day."""
    return Ingest(
        dataset=dataset,
        date=DAY,
        token=token * 64,
        partition_digest=digest * 64,
        table_version=1,
        accepted=90,
        quarantined=10,
    )


@pytest.fixture
def released(registry: Registry) -> Registry:
    """Return a registry in which three rows were released into a day."""
    with registry.write() as session:
        before = record_ingest(session, ingest("a", "b"))
        after = record_ingest(session, ingest("c", "d"))
        record_release(session, before, after, 3, "operations")
    return registry


def test_a_release_says_who_let_how_many_rows_into_which_day(released: Registry) -> None:
    with released.read() as session:
        (event,) = list_events(session, None, KIND)
        assert [head.chain for head in list_heads(session)] == [FACTORY]
    assert (event.chain, event.kind) == (FACTORY, "rows released")
    assert event.facts() == {
        "dataset": "flights",
        "date": "2013-01-01",
        "rows": 3,
        "by": "operations",
        "before": "b" * 64,
        "after": "d" * 64,
        "token": "c" * 64,
    }
    assert audit(released).events == 1


def test_a_release_whose_ingest_is_gone_is_named(released: Registry) -> None:
    with unguarded(released) as connection:
        connection.execute(delete(Ingest).where(Ingest.token == "c" * 64))
    with pytest.raises(
        AuditError, match=r"Release of event 1 of '@factory': no ingest of flights 2013-01-01 is"
    ):
        audit(released)
