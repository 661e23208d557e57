"""Delta tables: made so that pinned versions stay, replaced one partition at a time, streamed."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa
from deltalake import (
    CommitProperties,
    DeltaTable,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import AddAction

from tasks.errors import LakeError

# Without these the automatic checkpoint deletes log files after 30 days, and time travel to the
# versions that models were trained on with them (deltalake 1.6).
CONFIGURATION: dict[str, str | None] = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}


# Row groups are what a partition is cut by: many enough that shards come out alike.
ROWS_OF_A_GROUP = 131_072


def accepted_path(lake: Path, dataset: str) -> Path:
    """Return the table of a dataset's accepted rows."""
    return lake / "datasets" / dataset / "accepted"


def quarantine_path(lake: Path, dataset: str) -> Path:
    """Return the table of a dataset's broken rows."""
    return lake / "datasets" / dataset / "quarantine"


def predictions_path(lake: Path, model: str) -> Path:
    """Return the table of a model's predictions."""
    return lake / "predictions" / model


def open_table(path: Path, version: int | None = None) -> DeltaTable:
    """Return the table at ``path``, at ``version`` where given.

    Raises:
        LakeError: there is no table, or not that version.
    """
    try:
        return DeltaTable(str(path), version=version)
    except (TableNotFoundError, DeltaError, OSError) as err:
        at = "" if version is None else f" at version {version}"
        raise LakeError(
            path.name, f"cannot be opened{at} ({_short(err)})", "Check PILOTLINE_LAKE."
        ) from err


def ensure_table(path: Path, schema: pa.Schema, partition_by: Sequence[str]) -> DeltaTable:
    """Return the table at ``path``, made with ``schema`` if it is new.

    Raises:
        LakeError: it exists with other columns, or cannot be made.
    """
    try:
        if not DeltaTable.is_deltatable(str(path)):
            # "ignore": another process may have made it since.
            DeltaTable.create(
                str(path),
                schema=schema,
                mode="ignore",
                partition_by=list(partition_by),
                configuration=CONFIGURATION,
            )
    except (DeltaError, OSError) as err:
        raise LakeError(
            path.name, f"cannot be made ({_short(err)})", "Free space or fix rights."
        ) from err
    table = open_table(path)
    found = schema_of(table)
    if _columns(found) != _columns(schema):
        raise LakeError(
            path.name,
            f"has columns {_columns(found)}, expected {_columns(schema)}",
            "Its declared columns changed: give the dataset or model a new name.",
        )
    return table


def replace_partition(
    table: DeltaTable,
    rows: pa.RecordBatchReader | pa.Table,
    predicate: str,
    metadata: Mapping[str, str],
    transaction: tuple[str, int] | None = None,
) -> int:
    """Replace the rows that ``predicate`` names in one commit and return the table's version.

    The commit is made on this handle alone, without retries: whoever committed since makes it
    fail, and what a handle said before its commit is what the commit was decided on.

    Raises:
        DeltaError: the commit was refused, or its reply was lost; look before trying again.
    """
    transactions = [transaction] if transaction else []
    return replace_partitions(table, rows, predicate, metadata, transactions)


def replace_partitions(
    table: DeltaTable,
    rows: pa.RecordBatchReader | pa.Table,
    predicate: str,
    metadata: Mapping[str, str],
    transactions: Sequence[tuple[str, int]],
) -> int:
    """Replace rows as ``replace_partition`` does, with one transaction for each partition.

    Raises:
        DeltaError: the commit was refused, or its reply was lost; look before trying again.
    """
    before = table.version()
    write_deltalake(
        table,
        rows,
        mode="overwrite",
        predicate=predicate,
        writer_properties=WriterProperties(max_row_group_size=ROWS_OF_A_GROUP),
        commit_properties=CommitProperties(
            custom_metadata=dict(metadata),
            app_transactions=[Transaction(*each) for each in transactions] or None,
            max_commit_retries=0,
        ),
    )
    return before + 1


def replace_by_files(
    table: DeltaTable,
    files: Sequence[AddAction],
    partition: Mapping[str, str],
    schema: pa.Schema,
    metadata: Mapping[str, str],
    transaction: tuple[str, int],
) -> int:
    """Replace one partition by files that lie in the table's folder; return the new version.

    Many may have written them; the commit is one, on this handle alone, without retries. The
    transaction is what refuses the second of two who add the same new partition at once.

    Raises:
        DeltaError: the commit was refused, or its reply was lost; look before trying again.
    """
    before = table.version()
    table.create_write_transaction(
        list(files),
        mode="overwrite",
        schema=schema,
        partition_by=list(partition),
        partition_filters=[(name, "=", value) for name, value in partition.items()],
        commit_properties=CommitProperties(
            custom_metadata=dict(metadata),
            app_transactions=[Transaction(*transaction)],
            max_commit_retries=0,
        ),
    )
    return before + 1


def schema_of(table: DeltaTable) -> pa.Schema:
    """Return the table's columns, texts as plain strings."""
    found = pa.schema(table.schema().to_arrow())
    return pa.schema(
        [
            pa.field(f.name, pa.string() if pa.types.is_string_view(f.type) else f.type)
            for f in found
        ]
    )


def scan(table: DeltaTable, schema: pa.Schema, predicate: str | None) -> pa.RecordBatchReader:
    """Return the rows that ``predicate`` names as a stream, in the types of ``schema``.

    Args:
        table: an open table, at the version to read.
        schema: the columns to read and their types.
        predicate: SQL over the table's columns; None reads every row.
    """
    stream = pa.RecordBatchReader.from_stream(table.scan(list(schema.names), predicate))

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for batch in stream:
                # Texts come as string_view, which little outside Arrow reads.
                yield batch.select(schema.names).cast(schema)
        except (pa.ArrowException, OSError) as err:
            raise LakeError(
                Path(table.table_uri).name,
                f"a data file cannot be read ({_short(err)})",
                "Its files are damaged: restore the lake from a copy.",
            ) from err

    return pa.RecordBatchReader.from_batches(schema, batches())


def read(table: DeltaTable, schema: pa.Schema, predicate: str | None) -> pa.Table:
    """Return the rows that ``predicate`` names, all in memory."""
    return scan(table, schema, predicate).read_all()


def on_day(column: str, day: date) -> str:
    """Return the predicate for one day."""
    return f"{column} = '{day.isoformat()}'"


def on_days(column: str, days: Sequence[date]) -> str:
    """Return the predicate for several days."""
    listed = ", ".join(f"'{day.isoformat()}'" for day in days)
    return f"{column} in ({listed})"


def _columns(schema: pa.Schema) -> dict[str, str]:
    return {field.name: str(field.type) for field in schema}


def _short(err: Exception) -> str:
    return str(err).splitlines()[0][:200]
