from .commit import CommitUnsettledError, Mark, Place, commit_once, find_commit, find_fence
from .digests import canonical_order, check_day, digest_sorted
from .garbage import vacuum_lake
from .handle import Table, TableRefusedError
from .partition_files import PartitionFiles, Piece, find_files
from .parts import PartFile, as_action, remove_part, write_part
from .tables import (
    accepted_path,
    ensure_table,
    is_table,
    on_day,
    on_days,
    open_table,
    predictions_path,
    quarantine_path,
    read,
    replace_by_files,
    replace_partition,
    replace_partitions,
    replace_partitions_by_files,
    schema_of,
)

__all__ = [
    "CommitUnsettledError",
    "Mark",
    "PartFile",
    "PartitionFiles",
    "Piece",
    "Place",
    "Table",
    "TableRefusedError",
    "accepted_path",
    "as_action",
    "canonical_order",
    "check_day",
    "commit_once",
    "digest_sorted",
    "ensure_table",
    "find_commit",
    "find_fence",
    "find_files",
    "is_table",
    "on_day",
    "on_days",
    "open_table",
    "predictions_path",
    "quarantine_path",
    "read",
    "remove_part",
    "replace_by_files",
    "replace_partition",
    "replace_partitions",
    "replace_partitions_by_files",
    "schema_of",
    "vacuum_lake",
    "write_part",
]
