"""Parquet files of a source, one row group after the other."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa

from pilotline.tasks.errors import PartitionRefusedError, SourceError
from pilotline.tasks.lab import Dataset
from pilotline.tasks.sources.contract import check_columns, found_in_arrow, to_declared

BATCH_ROWS = 65_536


def read_parquet(dataset: Dataset, day: date, shown: str, path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the file's rows in the declared columns.

    Args:
        shown: the file's name for messages.

    Raises:
        SourceError: the file is cut or damaged.
        PartitionRefusedError: columns or values are not the declared ones.
    """
    from pyarrow import parquet

    rows = 0
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            check_columns(dataset, day, found_in_arrow(file.schema_arrow))
            for batch in file.iter_batches(BATCH_ROWS, columns=dataset.schema.names):
                rows += batch.num_rows
                _require_text(dataset, day, shown, batch)
                yield to_declared(dataset, day, batch)
            promised = file.metadata.num_rows
    except (pa.ArrowException, OSError) as err:
        first = (str(err).splitlines() or [type(err).__name__])[0]
        raise _damaged(dataset, shown, first[:200]) from err
    if rows != promised:
        raise _damaged(dataset, shown, f"{promised} rows were promised and {rows} came")


def _require_text(dataset: Dataset, day: date, shown: str, batch: pa.RecordBatch) -> None:
    """Do nothing if all texts are UTF-8; Parquet promises it and nobody checks."""
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if not pa.types.is_string(field.type) and not pa.types.is_large_string(field.type):
            continue
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as err:
            raise PartitionRefusedError(
                dataset.name,
                day.isoformat(),
                f"{shown!r}, column {field.name!r} holds bytes that are no UTF-8",
                "Mend the file, or deliver it again.",
            ) from err


def _damaged(dataset: Dataset, shown: str, why: str) -> SourceError:
    return SourceError(
        dataset.name, f"{shown!r} is damaged or no Parquet file ({why})", "Deliver the file again."
    )
