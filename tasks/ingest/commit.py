"""Committing judged days: both tables and the record, several days in one commit."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from pilotline.registry import Registry
from pilotline.registry.form import ConflictError, canonical_json, reach
from pilotline.registry.runs import (
    Ingest,
    last_day,
    list_partitions,
    record_ingest,
    record_release,
    source_token,
    span_of,
)
from pilotline.registry.store import Session
from pilotline.tasks import lake
from pilotline.tasks.errors import LakeError
from pilotline.tasks.lab import Dataset
from pilotline.tasks.lake import Table, TableRefusedError, find_files
from pilotline.tasks.s3_folder import Folder
from pilotline.tasks.stats import store_profile

BATCH_ROWS = 65_536  # written at once: a table given whole is in memory twice

QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("date", pa.date32(), nullable=False),
        pa.field("token", pa.string(), nullable=False),  # of the ingest it belongs to
        pa.field("row_number", pa.int64(), nullable=False),  # in the order the source gave
        pa.field("row", pa.string(), nullable=False),  # the row as JSON
        pa.field("reasons", pa.string(), nullable=False),  # JSON list
    ]
)


@dataclass(frozen=True)
class Admitted:
    """What is to become of the rows of a day; each is in exactly one of the two."""

    date: date
    token: str
    digest: str  # of the accepted rows
    accepted: pa.Table  # in canonical order: a day's file is the same however its rows came
    quarantined: pa.Table  # of QUARANTINE_SCHEMA
    base: str | None = None  # token of what the day must still hold; None: the source decides
    released: tuple[int, ...] = ()  # numbers of the rows that left the quarantine
    by: str = ""  # who released them


@dataclass(frozen=True)
class Committed:
    """What a day holds now."""

    ingest: Ingest
    changed: bool  # False: somebody else brought the same rows in first
    undone: bool = False  # rows that were released from quarantine are the source's again


def commit_days(
    dataset: Dataset, days: Sequence[Admitted], registry: Registry, lake_path: Folder
) -> list[Committed]:
    """Bring judged days in, all of them or none, and return what they hold, in their order.

    The quarantine is written first and the accepted rows second, both with the ingest's token,
    so quarantine rows whose token has no recorded ingest count for nothing and are replaced by
    the next try. All of it happens under the registry's one writer's lock: of two ingests of a
    day, the one whose rows the table shows must also be the one that is recorded last.

    Raises:
        ConflictError: a day does not hold any more what the decision was based on.
        LakeError: a table cannot be written.
    """
    reach("ingest: judged")
    # Blobs first, as they need no lock: what nobody names in the end is collected as garbage.
    profiles = {day.date: store_profile(registry.blobs, day.accepted) for day in days}
    with _in_words(dataset, days), registry.write() as session:
        known = _list_known(session, dataset, [day.date for day in days])
        table = open_accepted(session, dataset, lake_path)
        done: dict[date, Committed] = {}
        for day in days:
            before = known.get(day.date)
            _require_base(dataset, day, before)
            if (
                before
                and not day.base
                and is_current(session, dataset, lake_path, table, before, day.token)
            ):
                done[day.date] = Committed(before, changed=False)
        left = [day for day in days if day.date not in done]
        ingests = _write(session, dataset, lake_path, left, known, profiles)
        for day, ingest in zip(left, ingests, strict=True):
            before = known.get(day.date)
            if before and day.released:
                record_release(session, before, ingest, len(day.released), day.by)
            rested = before is None or source_token(session, before) == before.token
            done[day.date] = Committed(ingest, changed=True, undone=not (day.base or rested))
    reach("ingest: recorded")
    return [done[day.date] for day in days]


def open_accepted(session: Session, dataset: Dataset, lake_path: Folder) -> Table | None:
    """Return the table of the dataset's accepted rows, None where nothing was ever ingested.

    Raises:
        LakeError: days of it are on record, and it is gone.
    """
    path = lake.accepted_path(lake_path, dataset.name)
    if lake.is_table(path):
        return lake.open_table(path)
    if last_day(session, dataset.name, date.max) is not None:
        raise LakeError(
            dataset.name,
            f"there is none at {str(path)!r}, on record are {span_of(session, dataset.name)}",
            "Check PILOTLINE_LAKE, or restore the lake from a copy.",
        )
    return None


def is_current(
    session: Session,
    dataset: Dataset,
    lake_path: Folder,
    table: Table | None,
    known: Ingest,
    token: str,
) -> bool:
    """Tell whether a day holds what the source's rows with ``token`` made of it.

    A process may have died between a commit and its record: then the table shows other rows than
    the recorded ones. And a file may have been damaged since, which ingesting again mends.
    """
    if table is None or source_token(session, known) != token:
        return False
    if table.transaction_version(known.date.isoformat()) != known.table_version:
        return False
    path = lake.accepted_path(lake_path, dataset.name)
    try:
        found = find_files(table, path, dataset.name, dataset.date, known.date).digest()
    except LakeError:
        return False
    return known.files_digest in (None, found)


def _require_base(dataset: Dataset, day: Admitted, known: Ingest | None) -> None:
    if day.base is not None and (known is None or known.token != day.base):
        found = known.token[:12] if known else "nothing"
        raise ConflictError(f"{dataset.name} {day.date}", day.base[:12], found)


def _list_known(session: Session, dataset: Dataset, days: Sequence[date]) -> dict[date, Ingest]:
    if not days:
        return {}
    partitions = list_partitions(session, dataset.name, min(days), max(days))
    return {partition.date: partition for partition in partitions}


def _write(
    session: Session,
    dataset: Dataset,
    lake_path: Folder,
    days: Sequence[Admitted],
    known: Mapping[date, Ingest],
    profiles: Mapping[date, str],
) -> list[Ingest]:
    if not days:
        return []
    _write_quarantine(dataset, lake_path, days, known)
    reach("ingest: quarantined")
    version = _write_accepted(dataset, lake_path, days)
    reach("ingest: accepted")
    path = lake.accepted_path(lake_path, dataset.name)
    table = lake.open_table(path, version)
    return [
        record_ingest(
            session,
            Ingest(
                dataset=dataset.name,
                date=day.date,
                token=day.token,
                partition_digest=day.digest,
                files_digest=find_files(table, path, dataset.name, dataset.date, day.date).digest(),
                profile_digest=profiles[day.date],
                table_version=version,
                accepted=day.accepted.num_rows,
                quarantined=day.quarantined.num_rows,
            ),
        )
        for day in days
    ]


def _write_quarantine(
    dataset: Dataset, lake_path: Folder, days: Sequence[Admitted], known: Mapping[date, Ingest]
) -> None:
    path = lake.quarantine_path(lake_path, dataset.name)
    table = lake.ensure_table(path, QUARANTINE_SCHEMA, ["date"])
    rows = pa.concat_tables([day.quarantined for day in days])
    if rows.num_rows == 0 and table.version() == 0:
        return
    # The rows of the ingests that count now stay until the accepted rows are replaced too; a later
    # ingest of the day removes them. An ingest that comes back replaces its own.
    kept = [
        known[day.date].token
        for day in days
        if day.date in known and known[day.date].token != day.token
    ]
    listed = ", ".join(f"'{token}'" for token in kept)
    keep = f" and token not in ({listed})" if kept else ""
    predicate = lake.on_days("date", [day.date for day in days]) + keep
    lake.replace_partition(table, rows, predicate, _facts(days))


def _write_accepted(dataset: Dataset, lake_path: Folder, days: Sequence[Admitted]) -> int:
    path = lake.accepted_path(lake_path, dataset.name)
    table = lake.ensure_table(path, dataset.schema, [dataset.date])
    batches = (
        batch.cast(dataset.schema)
        for day in days
        for batch in day.accepted.to_batches(max_chunksize=BATCH_ROWS)
    )
    version = table.version() + 1
    return lake.replace_partitions(
        table,
        pa.RecordBatchReader.from_batches(dataset.schema, batches),
        lake.on_days(dataset.date, [day.date for day in days]),
        _facts(days),
        [(day.date.isoformat(), version) for day in days],
    )


def _facts(days: Sequence[Admitted]) -> dict[str, str]:
    """Return what a commit says of itself: both counts, and of which ingest each day is."""
    facts = {
        "accepted": str(sum(day.accepted.num_rows for day in days)),
        "quarantined": str(sum(day.quarantined.num_rows for day in days)),
        "tokens": canonical_json({day.date.isoformat(): day.token for day in days}).decode(),
    }
    released = {day.date.isoformat(): list(day.released) for day in days if day.released}
    if released:
        facts |= {"released": canonical_json(released).decode(), "by": days[0].by}
    return facts


@contextmanager
def _in_words(dataset: Dataset, days: Sequence[Admitted]) -> Iterator[None]:
    try:
        yield
    except TableRefusedError as err:
        named = str(days[0].date) if len(days) == 1 else f"{days[0].date} to {days[-1].date}"
        raise LakeError(
            dataset.name,
            f"{named} was not committed ({err.problem})",
            "Somebody else may be ingesting it: run the command again.",
        ) from err
