"""One commit to a table of the lake: fenced by its epoch, settled by looking it up, made once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pilotline.tasks.errors import LakeError
from pilotline.tasks.lake.handle import Table, TableRefusedError
from pilotline.tasks.lake.tables import ensure_table, open_table
from pilotline.tasks.s3_folder import Folder

COMMIT_TRIES = 3  # when another partition of the same table was committed meanwhile


class CommitUnsettledError(LakeError):
    """A commit failed, and whether it landed all the same cannot be looked up."""


@dataclass(frozen=True)
class Place:
    """Where a table is, and how it is made where there is none."""

    path: Folder
    schema: pa.Schema
    partition_by: tuple[str, ...]

    def ensure(self) -> Table:
        """Return the table.

        Raises:
            LakeError: it exists with other columns, or cannot be made.
        """
        return ensure_table(self.path, self.schema, self.partition_by)


@dataclass(frozen=True)
class Mark:
    """What the log keeps of a partition's last commit, by which that commit is found again."""

    partition: str  # the name under which the epoch is kept
    epoch: int
    writer: str  # as the commit's metadata name it, under "run" or "runs"

    @property
    def transaction(self) -> tuple[str, int]:
        """What the commit sets."""
        return self.partition, self.epoch


def commit_once(
    place: Place,
    choose: Callable[[Table], Sequence[Mark]],
    write: Callable[[Table, Sequence[Mark]], int],
) -> int | None:
    """Return the version in which ``write`` put the partitions, once; None if none is wanted.

    Args:
        place: the table, made if it is new.
        choose: looks at the handle that will commit, and returns what is still wanted.
        write: commits that on the same handle; called again, on a new one, where another
            partition of the table was committed meanwhile.

    Raises:
        CommitUnsettledError: the commit failed, and the table cannot be opened to look for it.
        LakeError: nothing was committed: the table cannot be made, or every try failed.
    """
    for attempt in range(1, COMMIT_TRIES + 1):
        table = place.ensure()
        marks = choose(table)
        if not marks:
            return None
        try:
            return write(table, marks)
        except TableRefusedError as err:
            landed = _look_up(place.path, marks[0])  # of one commit, so of one all
            if landed is not None:
                return landed
            if attempt == COMMIT_TRIES:
                problem = f"the commit failed ({err.problem})"
                raise LakeError(place.path.name, problem, "Run the command again.") from err
    raise AssertionError("unreachable: the loop returns or raises")


def find_commit(table: Table, mark: Mark) -> int | None:
    """Return the version in which the mark's writer committed, None where it never did."""
    if table.transaction_version(mark.partition) != mark.epoch:
        return None
    for entry in table.history():
        if mark.writer in (entry.get("runs") or entry.get("run") or "").split():
            return int(entry["version"])
    return None


def find_fence(table: Table, mark: Mark) -> int | None:
    """Return the epoch that is in the table and keeps the mark's out, None where none does.

    Delta does not fence: a refreshed handle may commit an older epoch over a newer one. So look
    first, then commit on this very handle, which fails if anybody committed since.
    """
    committed = table.transaction_version(mark.partition)
    if committed is not None and committed >= mark.epoch:
        return committed
    return None


def _look_up(path: Folder, mark: Mark) -> int | None:
    try:
        table = open_table(path)
    except LakeError as err:
        raise CommitUnsettledError(err.table, err.problem, err.remedy) from err
    return find_commit(table, mark)
