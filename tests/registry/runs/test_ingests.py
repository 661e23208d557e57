"""Ingested partitions: what each day holds now."""

from datetime import date

import pytest
from sqlalchemy.orm import Session

from pilotline.registry.form.errors import UnknownPartitionError
from pilotline.registry.runs.ingests import (
    Ingest,
    files_digest_of,
    find_partition,
    get_partition,
    last_day,
    list_partitions,
    record_ingest,
    release_token,
    source_token,
    span_of,
)


def ingest(
    session: Session,
    day: int,
    dataset: str = "flights",
    accepted: int = 90,
    files_digest: str | None = None,
) -> Ingest:
    return record_ingest(
        session,
        Ingest(
            dataset=dataset,
            date=date(2013, 1, day),
            token="a" * 64,
            partition_digest="b" * 64,
            files_digest=files_digest,
            table_version=day,
            accepted=accepted,
            quarantined=10,
        ),
    )


def test_a_day_holds_what_was_ingested_last(session: Session) -> None:
    ingest(session, 1, accepted=90)
    last = ingest(session, 1, accepted=95)
    assert get_partition(session, "flights", date(2013, 1, 1)) is last
    assert list_partitions(session, "flights") == [last]


def test_days_are_listed_in_order_between_two_bounds(session: Session) -> None:
    for day in (3, 1, 2, 4):
        ingest(session, day)
    ingest(session, 2, dataset="arrivals")

    def days(start: int | None, end: int | None) -> list[int]:
        bounds = [None if day is None else date(2013, 1, day) for day in (start, end)]
        return [row.date.day for row in list_partitions(session, "flights", *bounds)]

    assert days(None, None) == [1, 2, 3, 4]
    assert days(2, 3) == [2, 3]
    assert days(4, None) == [4]
    assert days(None, 1) == [1]
    assert days(3, 2) == []


def test_a_day_that_was_never_ingested_is_told_what_there_is(session: Session) -> None:
    ingest(session, 1)
    ingest(session, 3)
    ingest(session, 3)
    assert find_partition(session, "flights", date(2013, 1, 2)) is None
    with pytest.raises(UnknownPartitionError) as unknown:
        get_partition(session, "flights", date(2013, 1, 2))
    assert str(unknown.value) == (
        "Dataset 'flights' has no partition 2013-01-02; "
        "ingested: 2013-01-01 to 2013-01-03, 2 days. "
        "Bring it in with 'pilotline ingest flights --date 2013-01-02'."
    )


def test_a_dataset_without_days_says_so(session: Session) -> None:
    assert span_of(session, "flights") == "nothing yet"


def test_the_source_s_token_is_found_through_any_number_of_releases(session: Session) -> None:
    def add(token: str, digest: str) -> Ingest:
        row = Ingest(
            dataset="flights",
            date=date(2013, 1, 1),
            token=token,
            partition_digest=digest,
            table_version=1,
            accepted=1,
            quarantined=0,
        )
        return record_ingest(session, row)

    add("other", "d0")
    source = add("source", "d1")
    assert source_token(session, source) == "source"
    first = add(release_token("source", "d2"), "d2")
    second = add(release_token(first.token, "d3"), "d3")
    assert source_token(session, first) == source_token(session, second) == "source"
    assert source_token(session, add("newer", "d4")) == "newer"
    assert source_token(session, second) == "source"


def test_the_last_day_is_the_latest_one_and_not_the_last_one_ingested(session: Session) -> None:
    assert last_day(session, "flights", date(2013, 12, 31)) is None
    for day in (3, 1):
        row = Ingest(
            dataset="flights",
            date=date(2013, 1, day),
            token="t",
            partition_digest="d",
            table_version=1,
            accepted=1,
            quarantined=0,
        )
        record_ingest(session, row)
    assert last_day(session, "flights", date(2013, 12, 31)) == date(2013, 1, 3)
    assert last_day(session, "flights", date(2013, 1, 2)) == date(2013, 1, 1)


def test_the_digest_of_an_ingest_s_files_is_found_by_all_that_names_it(session: Session) -> None:
    hashed, unhashed = ingest(session, 1, files_digest="f" * 64), ingest(session, 2)

    def digest(of: Ingest, table_version: int) -> str | None:
        return files_digest_of(session, "flights", of.date, of.partition_digest, table_version)

    assert [digest(hashed, 1), digest(hashed, 2), digest(unhashed, 2)] == ["f" * 64, None, None]
