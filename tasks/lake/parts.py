"""The Parquet file of one part: written beside its table, described as Delta's log wants it."""

import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from pilotline.tasks.errors import LakeError
from pilotline.tasks.s3_folder import Folder, S3Folder

FOLDER = "parts"  # within the table's folder; Delta finds its files by the log, not by their place
COMPARABLE = (bool, int, float, str, date)  # what Delta's log holds smallest and largest values of


@dataclass(frozen=True)
class PartFile:
    """A file of predictions that lies in its table's folder, and perhaps in no commit."""

    path: str  # within the table's folder
    size: int  # bytes
    rows: int
    statistics: str  # JSON, as Delta's log holds it


def write_part(
    table: Folder,
    name: str,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    left_out: set[str],
) -> PartFile:
    """Write ``batches`` to a file of the table's that no commit names yet.

    Args:
        table: the table's folder.
        name: of the file, without its ending.
        schema: of the batches.
        batches: rows.
        left_out: the columns that stand in the log, not in the file: the table's partitions.

    Raises:
        LakeError: it cannot be written.
    """
    within = f"{FOLDER}/{name}.parquet"
    stored = [column for column in schema.names if column not in left_out]
    kept = pa.schema([schema.field(column) for column in stored])
    try:
        with _written_at(table, within) as path:
            with pq.ParquetWriter(path, kept, compression="snappy") as writer:
                for batch in batches:  # a row group each: gathering them costs 30 MiB
                    writer.write_batch(batch.select(stored))
            metadata, size = pq.read_metadata(path), path.stat().st_size
    except BaseException as err:
        remove_part(table, within)
        if isinstance(err, LakeError) or not isinstance(err, OSError):
            raise
        raise LakeError(
            table.name, f"its predictions cannot be written ({err.strerror})", "Free space."
        ) from err
    return PartFile(within, size, metadata.num_rows, describe(metadata, stored))


@contextmanager
def _written_at(table: Folder, within: str) -> Iterator[Path]:
    """Give the path to write to; what is there at the end is the table's file ``within``."""
    if not isinstance(table, S3Folder):
        (table / FOLDER).mkdir(exist_ok=True)
        yield table / within
        return
    table.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=table.scratch, prefix=f"run-{os.getpid()}-part-"
    ) as folder:
        path = Path(folder) / "part.parquet"
        yield path
        table.store(path, within)


def remove_part(table: Folder, file: str) -> None:
    """Remove a file that no commit names; one that is gone already is fine."""
    with suppress(OSError):
        if isinstance(table, S3Folder):
            table.remove(file)
        else:
            (table / file).unlink(missing_ok=True)


def as_action(file: PartFile, partition: Mapping[str, str]) -> AddAction:
    """Return how a commit adds ``file`` to its table."""
    return AddAction(
        path=file.path,
        size=file.size,
        partition_values=dict(partition),
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=file.statistics,
    )


def describe(metadata: pq.FileMetaData, columns: Sequence[str]) -> str:
    """Return a file's statistics as the JSON of Delta's log.

    Without them a reader counts no rows and skips no file.

    Source:
        Delta transaction log protocol, "Per-file Statistics".
    """
    lowest: dict[str, Any] = {}
    highest: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for index, name in enumerate(columns):
        groups = [metadata.row_group(g).column(index) for g in range(metadata.num_row_groups)]
        found = [group.statistics for group in groups]
        if not all(found):
            continue
        nulls[name] = sum(one.null_count for one in found)
        known = [one for one in found if one.has_min_max]
        if len(known) == len(found) and known and isinstance(known[0].min, COMPARABLE):
            lowest[name] = _plain(min(one.min for one in known))
            highest[name] = _plain(max(one.max for one in known))
    return json.dumps(
        {
            "numRecords": metadata.num_rows,
            "minValues": lowest,
            "maxValues": highest,
            "nullCount": nulls,
        }
    )


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value
