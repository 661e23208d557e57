"""Ingesting one day of a dataset: read, check, set broken rows aside, commit both tables."""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from registry import Registry
from registry.canonical import digest_json
from registry.ingests import Ingest, find_partition, record_ingest
from tasks import lake
from tasks.datasets import Dataset
from tasks.digests import partition_digest
from tasks.errors import LakeError, PartitionRefusedError
from tasks.partition_files import find_files
from tasks.sources import PartitionSource
from tasks.validation import Validator

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


def ingest_day(
    dataset: Dataset,
    source: PartitionSource,
    validator: Validator,
    day: date,
    registry: Registry,
    lake_path: Path,
) -> DayIngested:
    """Bring one day in, wholly or not at all; the same rows again change nothing.

    The quarantine is written first and the accepted rows second, both with the ingest's token,
    so quarantine rows whose token has no accepted commit count for nothing and are replaced by
    the next try.

    Raises:
        SourceError: the source does not answer.
        PartitionRefusedError: the rows are refused whole.
        LakeError: a table cannot be written.
    """
    rows = source.read(day)
    token = digest_json([dataset.rules_digest(), partition_digest(rows, dataset.key)])
    with registry.read() as session:
        known = find_partition(session, dataset.name, day)
    if known is not None and known.token == token and _is_shown(dataset, lake_path, known):
        return _report(known, changed=False)
    reasons = _judge(dataset, validator, rows, day)
    accepted = rows.take([i for i in range(rows.num_rows) if i not in reasons])
    digest = partition_digest(accepted, dataset.key)
    counts = {"accepted": str(accepted.num_rows), "quarantined": str(len(reasons))}
    try:
        # Commit and record under the registry's one writer's lock: of two ingests of a day, the one
        # whose rows the table shows must also be the one that is recorded last.
        with registry.write() as session:
            _write_quarantine(dataset, lake_path, rows, reasons, day, token, known)
            version = _write_accepted(dataset, lake_path, accepted, day, counts | {"token": token})
            ingest = record_ingest(
                session,
                Ingest(
                    dataset=dataset.name,
                    date=day,
                    token=token,
                    partition_digest=digest,
                    files_digest=_hash_files(dataset, lake_path, day, version),
                    table_version=version,
                    accepted=accepted.num_rows,
                    quarantined=len(reasons),
                ),
            )
    except DeltaError as err:
        raise LakeError(
            dataset.name,
            f"day {day} was not committed ({str(err).splitlines()[0][:200]})",
            "Somebody else may be ingesting it: run the command again.",
        ) from err
    return _report(ingest, changed=True)


def _judge(
    dataset: Dataset, validator: Validator, rows: pa.Table, day: date
) -> dict[int, list[str]]:
    verdict = validator.check(rows, day)
    if verdict.failures:
        raise PartitionRefusedError(
            dataset.name, day.isoformat(), "; ".join(verdict.failures), "Look at the source."
        )
    share = len(verdict.reasons) / rows.num_rows
    if share > dataset.max_share or len(verdict.reasons) == rows.num_rows:
        first = next(iter(verdict.reasons.values()))
        raise PartitionRefusedError(
            dataset.name,
            day.isoformat(),
            f"{len(verdict.reasons)} of {rows.num_rows} rows are broken ({share:.1%}, at most "
            f"{dataset.max_share:.1%}), such as: {'; '.join(first)}",
            "Mend the source, or raise max_share if this is how the data is.",
        )
    return verdict.reasons


def _write_quarantine(
    dataset: Dataset,
    lake_path: Path,
    rows: pa.Table,
    reasons: dict[int, list[str]],
    day: date,
    token: str,
    known: Ingest | None,
) -> None:
    path = lake.quarantine_path(lake_path, dataset.name)
    table = lake.ensure_table(path, QUARANTINE_SCHEMA, ["date"])
    if not reasons and table.version() == 0:
        return
    broken = rows.take(pa.array(list(reasons), pa.int64())).to_pylist()
    records = [
        {
            "date": day,
            "token": token,
            "row_number": index,
            "row": json.dumps(row, default=str),
            "reasons": json.dumps(said),
        }
        for row, (index, said) in zip(broken, reasons.items(), strict=True)
    ]
    # The rows of the ingest that counts now stay until the accepted rows are replaced too; a later
    # ingest of the day removes them.
    keep = f" and token <> '{known.token}'" if known else ""
    lake.replace_partition(
        table,
        pa.Table.from_pylist(records, schema=QUARANTINE_SCHEMA),
        lake.on_day("date", day) + keep,
        {"token": token},
    )


def _write_accepted(
    dataset: Dataset, lake_path: Path, accepted: pa.Table, day: date, metadata: dict[str, str]
) -> int:
    path = lake.accepted_path(lake_path, dataset.name)
    table = lake.ensure_table(path, dataset.schema, [dataset.date])
    # Sorted by key, a day's file is the same whatever order the source gave its rows in.
    rows = accepted.cast(dataset.schema).sort_by([(name, "ascending") for name in dataset.key])
    return lake.replace_partition(
        table,
        rows,
        lake.on_day(dataset.date, day),
        metadata,
        (day.isoformat(), table.version() + 1),
    )


def _hash_files(dataset: Dataset, lake_path: Path, day: date, version: int) -> str:
    table = lake.open_table(lake.accepted_path(lake_path, dataset.name), version)
    return find_files(table, dataset.name, dataset.date, day).digest()


def _is_shown(dataset: Dataset, lake_path: Path, ingest: Ingest) -> bool:
    """Tell whether the table's last commit of the day is the recorded one.

    A process may have died between a commit and its record; then the table shows other rows.
    """
    path = lake.accepted_path(lake_path, dataset.name)
    if not DeltaTable.is_deltatable(str(path)):
        return False
    shown = lake.open_table(path).transaction_version(ingest.date.isoformat())
    return shown == ingest.table_version


def _report(ingest: Ingest, changed: bool) -> DayIngested:
    return DayIngested(
        dataset=ingest.dataset,
        date=ingest.date,
        ingested=ingest.accepted + ingest.quarantined,
        accepted=ingest.accepted,
        quarantined=ingest.quarantined,
        partition_digest=ingest.partition_digest,
        table_version=ingest.table_version,
        changed=changed,
    )
