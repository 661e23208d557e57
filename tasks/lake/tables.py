"""Delta tables: made so that pinned versions stay, replaced one partition at a time, streamed."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

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

from pilotline.tasks.errors import LakeError
from pilotline.tasks.lake.handle import Table, in_short, refusals
from pilotline.tasks.s3_folder import Folder, S3Folder, options_of

# Without these the automatic checkpoint deletes log files after 30 days, and time travel to the
# versions that models were trained on with them (deltalake 1.6).
CONFIGURATION: dict[str, str | None] = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}

# Row groups are what a partition is cut by: many enough that shards come out alike.
ROWS_OF_A_GROUP = 131_072


def accepted_path(lake: Folder, dataset: str) -> Folder:
    """Return the table of a dataset's accepted rows."""
    return lake / "datasets" / dataset / "accepted"


def quarantine_path(lake: Folder, dataset: str) -> Folder:
    """Return the table of a dataset's broken rows."""
    return lake / "datasets" / dataset / "quarantine"


def predictions_path(lake: Folder, model: str) -> Folder:
    """Return the table of a model's predictions."""
    return lake / "predictions" / model


def is_table(path: Folder) -> bool:
    """Tell whether there is a table at ``path``.

    Raises:
        LakeError: its place cannot be reached.
    """
    try:
        return DeltaTable.is_deltatable(str(path), options_of(path))
    except OSError as err:
        raise _unopened(path, "", err) from err


def open_table(path: Folder, version: int | None = None) -> Table:
    """Return the table at ``path``, at ``version`` where given.

    Raises:
        LakeError: there is no table, or not that version.
    """
    try:
        return Table(DeltaTable(str(path), version, options_of(path)))
    except (TableNotFoundError, DeltaError, OSError) as err:
        at = "" if version is None else f" at version {version}"
        raise _unopened(path, at, err) from err


def ensure_table(path: Folder, schema: pa.Schema, partition_by: Sequence[str]) -> Table:
    """Return the table at ``path``, made with ``schema`` if it is new.

    Raises:
        LakeError: it exists with other columns, or cannot be made.
    """
    if isinstance(path, S3Folder):
        path.prove()
    there = is_table(path)
    try:
        if not there:
            # "ignore": another process may have made it since.
            DeltaTable.create(
                str(path),
                schema=schema,
                mode="ignore",
                partition_by=list(partition_by),
                configuration=CONFIGURATION,
                storage_options=options_of(path),
            )
    except (DeltaError, OSError) as err:
        raise LakeError(
            path.name, f"cannot be made ({in_short(err)})", "Free space or fix rights."
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
    table: Table,
    rows: pa.RecordBatchReader | pa.Table,
    predicate: str,
    metadata: Mapping[str, str],
    transaction: tuple[str, int] | None = None,
) -> int:
    """Replace the rows that ``predicate`` names in one commit and return the table's version.

    The commit is made on this handle alone, without retries: whoever committed since makes it
    fail, and what a handle said before its commit is what the commit was decided on.

    Raises:
        TableRefusedError: the commit was refused, or its reply was lost; look before trying again.
    """
    transactions = [transaction] if transaction else []
    return replace_partitions(table, rows, predicate, metadata, transactions)


def replace_partitions(
    table: Table,
    rows: pa.RecordBatchReader | pa.Table,
    predicate: str,
    metadata: Mapping[str, str],
    transactions: Sequence[tuple[str, int]],
) -> int:
    """Replace rows as ``replace_partition`` does, with one transaction for each partition.

    Raises:
        TableRefusedError: the commit was refused, or its reply was lost; look before trying again.
    """
    before = table.version()
    with refusals():
        write_deltalake(
            table.delta,
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
    table: Table,
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
        TableRefusedError: the commit was refused, or its reply was lost; look before trying again.
    """
    only = {name: [value] for name, value in partition.items()}
    return replace_partitions_by_files(table, files, only, schema, metadata, [transaction])


def replace_partitions_by_files(
    table: Table,
    files: Sequence[AddAction],
    partitions: Mapping[str, Sequence[str]],
    schema: pa.Schema,
    metadata: Mapping[str, str],
    transactions: Sequence[tuple[str, int]],
) -> int:
    """Replace several as ``replace_by_files`` does one, with one transaction for each.

    Args:
        table: an open table.
        files: what they are replaced by.
        partitions: values of the partition columns; every combination of them is replaced.
        schema: the table's columns.
        metadata: what the commit says of itself.
        transactions: name and number of each partition.

    Raises:
        TableRefusedError: the commit was refused, or its reply was lost; look before trying again.
    """
    before = table.version()
    with refusals():
        table.delta.create_write_transaction(
            list(files),
            mode="overwrite",
            schema=schema,
            partition_by=list(partitions),
            partition_filters=[(name, "in", list(values)) for name, values in partitions.items()],
            commit_properties=CommitProperties(
                custom_metadata=dict(metadata),
                app_transactions=[Transaction(*each) for each in transactions],
                max_commit_retries=0,
            ),
        )
    return before + 1


def schema_of(table: Table) -> pa.Schema:
    """Return the table's columns, texts as plain strings."""
    found = pa.schema(table.delta.schema().to_arrow())
    return pa.schema(
        [
            pa.field(f.name, pa.string() if pa.types.is_string_view(f.type) else f.type)
            for f in found
        ]
    )


def scan(table: Table, schema: pa.Schema, predicate: str | None) -> pa.RecordBatchReader:
    """Return the rows that ``predicate`` names as a stream, in the types of ``schema``.

    Args:
        table: an open table, at the version to read.
        schema: the columns to read and their types.
        predicate: SQL over the table's columns; None reads every row.
    """
    with refusals():
        stream = pa.RecordBatchReader.from_stream(table.delta.scan(list(schema.names), predicate))

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for batch in stream:
                # Texts come as string_view, which little outside Arrow reads.
                yield batch.select(schema.names).cast(schema)
        except (pa.ArrowException, OSError) as err:
            raise LakeError(
                table.name,
                f"a data file cannot be read ({in_short(err)})",
                "Its files are damaged: restore the lake from a copy.",
            ) from err

    return pa.RecordBatchReader.from_batches(schema, batches())


def read(table: Table, schema: pa.Schema, predicate: str | None) -> pa.Table:
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


def _unopened(path: Folder, at: str, err: Exception) -> LakeError:
    return LakeError(path.name, f"cannot be opened{at} ({in_short(err)})", "Check PILOTLINE_LAKE.")
