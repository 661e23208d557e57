"""Ingesting days of a dataset: read, compare, check, set broken rows aside, commit in chunks."""

import json
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import takewhile
from typing import Any

import numpy as np
import pyarrow as pa

from pilotline.registry import Registry
from pilotline.registry.form import digest_json
from pilotline.registry.runs import list_partitions, source_token
from pilotline.tasks.errors import PartitionRefusedError, SourceError
from pilotline.tasks.ingest.commit import (
    QUARANTINE_SCHEMA,
    Admitted,
    Committed,
    commit_days,
    is_current,
    open_accepted,
)
from pilotline.tasks.ingest.validation import Validator, Verdict, require_rows
from pilotline.tasks.lab import Dataset
from pilotline.tasks.lake import canonical_order, digest_sorted
from pilotline.tasks.s3_folder import Folder
from pilotline.tasks.sources import PartitionSource, check_columns, found_in_arrow, nullable

# What is checked and committed together. A run of the suite and a commit cost as much for one small
# day as for a month; what is not committed is done again after a kill.
CHUNK_ROWS = 100_000
CHUNK_DAYS = 31
KEPT = "rows released from quarantine are kept"
UNDONE = "the source's rows or the rules changed: rows released from quarantine are undone"


@dataclass(frozen=True)
class DayIngested:
    """What became of one day."""

    dataset: str
    date: date
    ingested: int  # rows the source gave; accepted + quarantined
    accepted: int
    quarantined: int
    partition_digest: str
    table_version: int
    changed: bool  # False: the day was there already, from the same rows under the same rules
    note: str = ""  # what became of rows that were released from quarantine before


@dataclass(frozen=True)
class _Read:
    day: date
    rows: pa.Table  # in canonical order: sorted once, they are digested, kept and written so
    numbers: pa.UInt64Array  # which place each had in the order the source gave
    digest: str
    token: str


def ingest_day(
    dataset: Dataset,
    source: PartitionSource,
    validator: Validator,
    day: date,
    registry: Registry,
    lake_path: Folder,
) -> DayIngested:
    """Bring one day in, wholly or not at all; the same rows again change nothing.

    Raises:
        SourceError: the source does not answer.
        PartitionRefusedError: the rows are refused whole.
        LakeError: a table cannot be written.
    """
    return next(ingest_days(dataset, source, validator, [day], registry, lake_path))


def ingest_days(
    dataset: Dataset,
    source: PartitionSource,
    validator: Validator,
    days: Iterable[date],
    registry: Registry,
    lake_path: Folder,
) -> Iterator[DayIngested]:
    """Yield what became of each day, in order, once it is committed.

    Each day is as if it had been brought in alone: refused whole, or in, its rows either accepted
    or in quarantine. Days before one that is refused are in; those after it were not looked at.

    Raises:
        SourceError: the source does not answer.
        PartitionRefusedError: a day is refused whole.
        LakeError: a table cannot be written.
    """
    for chunk, stop in _read_chunks(dataset, source, days):
        yield from _ingest_chunk(dataset, validator, chunk, registry, lake_path)
        if stop is not None:
            raise stop


def _read_chunks(
    dataset: Dataset, source: PartitionSource, days: Iterable[date]
) -> Iterator[tuple[list[_Read], Exception | None]]:
    """Yield days to be dealt with together, and why there are no more where there is a reason."""
    chunk: list[_Read] = []
    for day in days:
        try:
            rows = source.read(day)
            _require_contract(dataset, rows.schema, day)
            require_rows(dataset.name, day, rows)
        except (SourceError, PartitionRefusedError) as err:
            yield chunk, err
            return
        chunk.append(_sort(dataset, day, rows))
        del rows  # a large day is in memory as few times as can be
        if len(chunk) == CHUNK_DAYS or sum(read.rows.num_rows for read in chunk) >= CHUNK_ROWS:
            yield chunk, None
            chunk = []
    if chunk:
        yield chunk, None


def _sort(dataset: Dataset, day: date, rows: pa.Table) -> _Read:
    order = canonical_order(rows, dataset.key)
    rows = rows.take(order)
    digest = digest_sorted(rows)
    return _Read(day, rows, order, digest, digest_json([dataset.rules_digest(), digest]))


def _require_contract(dataset: Dataset, found: pa.Schema, day: date) -> None:
    """Do nothing if a source gave exactly the declared columns, types and order.

    The table would cast silently: 1.7 becomes 1, "1.5" a number, a time without a zone one in UTC
    (deltalake 1.6). A source that is true to its protocol never gets here with anything else.

    Raises:
        PartitionRefusedError: it gave others; with a table of expected and found.
    """
    expected = nullable(dataset)
    if found.equals(expected):
        return
    check_columns(dataset, day, found_in_arrow(found))
    came = ", ".join(f"{field.name} {field.type}" for field in found)
    declared = ", ".join(f"{field.name} {field.type}" for field in expected)
    raise PartitionRefusedError(
        dataset.name,
        day.isoformat(),
        f"its columns are in another order or another representation: expected {declared}; found "
        f"{came}",
        "Give them as declared; nothing is cast silently.",
    )


def _ingest_chunk(
    dataset: Dataset,
    validator: Validator,
    chunk: list[_Read],
    registry: Registry,
    lake_path: Folder,
) -> Iterator[DayIngested]:
    """Yield what became of the days of a chunk, which is empty afterwards."""
    days = [read.day for read in chunk]
    there = _list_unchanged(dataset, chunk, registry, lake_path)
    fresh = deque(read for read in chunk if read.day not in there)
    chunk.clear()
    verdicts = validator.check_days([(read.day, read.rows) for read in fresh]) if fresh else []
    admitted: list[Admitted] = []
    refusal: PartitionRefusedError | None = None
    for verdict in verdicts:
        try:
            admitted.append(_admit(dataset, fresh.popleft(), verdict))
        except PartitionRefusedError as err:
            refusal = err
            break
    fresh.clear()
    committed = commit_days(dataset, admitted, registry, lake_path) if admitted else []
    there |= {done.ingest.date: _report(done) for done in committed}
    for day in takewhile(there.__contains__, days):
        yield there[day]
    if refusal is not None:
        raise refusal


def _list_unchanged(
    dataset: Dataset, chunk: Sequence[_Read], registry: Registry, lake_path: Folder
) -> dict[date, DayIngested]:
    """Return the days that hold these very rows already, under these rules."""
    tokens = {read.day: read.token for read in chunk}
    if not tokens:
        return {}
    with registry.read() as session:
        table = open_accepted(session, dataset, lake_path)
        known = list_partitions(session, dataset.name, min(tokens), max(tokens))
        return {
            ingest.date: _report(
                Committed(ingest, changed=False),
                KEPT if source_token(session, ingest) != ingest.token else "",
            )
            for ingest in known
            if ingest.date in tokens
            and is_current(session, dataset, lake_path, table, ingest, tokens[ingest.date])
        }


def _admit(dataset: Dataset, read: _Read, verdict: Verdict) -> Admitted:
    """Return what is to become of a day's rows.

    Raises:
        PartitionRefusedError: too many are broken, or the day is as a whole.
    """
    day, rows, broken = read.day.isoformat(), read.rows, verdict.broken
    if verdict.failures:
        raise PartitionRefusedError(
            dataset.name, day, "; ".join(verdict.failures), "Look at the source."
        )
    share = broken.size / rows.num_rows
    if share > dataset.max_share or broken.size == rows.num_rows:
        first = [said for said, numbers in verdict.marks.items() if numbers[0] == broken[0]]
        raise PartitionRefusedError(
            dataset.name,
            day,
            f"{broken.size} of {rows.num_rows} rows are broken ({share:.1%}, at most "
            f"{dataset.max_share:.1%}), such as: {'; '.join(first)}",
            "Mend the source, or raise max_share if this is how the data is.",
        )
    accepted, digest = rows, read.digest
    if broken.size:
        keep = np.ones(rows.num_rows, dtype=bool)
        keep[broken] = False
        accepted = rows.filter(pa.array(keep))
        digest = digest_sorted(accepted)
    return Admitted(read.day, read.token, digest, accepted, set_aside(read, verdict))


def set_aside(read: _Read, verdict: Verdict) -> pa.Table:
    """Return the broken rows of a day as the quarantine keeps them, in the source's order."""
    rows = read.rows.take(pa.array(verdict.broken, pa.int64())).to_pylist()
    records = [
        {
            "date": read.day,
            "token": read.token,
            "row_number": read.numbers[place].as_py(),
            "row": write_row(row),
            "reasons": json.dumps(said),
        }
        for row, (place, said) in zip(rows, verdict.reasons.items(), strict=True)
    ]
    return pa.Table.from_pylist(records, QUARANTINE_SCHEMA).sort_by("row_number")


def write_row(row: dict[str, Any]) -> str:
    """Return a row as JSON: dates and times in ISO form, and no number as its name."""
    values = {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }
    return json.dumps(values, default=str)


def _report(done: Committed, note: str = "") -> DayIngested:
    ingest = done.ingest
    return DayIngested(
        dataset=ingest.dataset,
        date=ingest.date,
        ingested=ingest.accepted + ingest.quarantined,
        accepted=ingest.accepted,
        quarantined=ingest.quarantined,
        partition_digest=ingest.partition_digest,
        table_version=ingest.table_version,
        changed=done.changed,
        note=UNDONE if done.undone else note,
    )
