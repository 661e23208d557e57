"""The data files of one day: checked whole by their hash, then streamed, never held in memory."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from tasks.errors import LakeError
from tasks.lake import on_day

Facts = list[tuple[int, int, int]]  # inode, size and time of change of every file


@dataclass(frozen=True)
class PartitionFiles:
    """The files that hold a day at one version of a table, in the order they were written."""

    dataset: str
    day: date
    date_column: str
    paths: tuple[Path, ...]

    def digest(self) -> str:
        """Return one SHA-256 over the SHA-256 of every file.

        Raises:
            LakeError: a file is gone or cannot be read.
        """
        whole = hashlib.sha256()
        for path in self.paths:
            try:
                with open(path, "rb", opener=_open_file) as file:
                    whole.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as err:
                raise self._damaged(f"{path.name}: {err.strerror}") from err
        return whole.hexdigest()

    def require(self, digest: str) -> Facts:
        """Return what would show a change, if the files are what was ingested, to the byte.

        A flipped bit in a Parquet file reads as other values without an error in half the cases,
        and one in its schema can end the process that decodes it: so this comes first.

        Raises:
            LakeError: they are not.
        """
        before = self._facts()
        found = self.digest()
        if found != digest:
            raise self._damaged(f"they hash to {found[:12]}..., ingested as {digest[:12]}...")
        return before

    def stream(
        self, schema: pa.Schema, batch_rows: int, before: Facts | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the day's rows in the columns and types of ``schema``, one row group at a time.

        Args:
            schema: the columns to read and their types.
            batch_rows: the most rows of a batch.
            before: what ``require`` gave, so that a change since then is noticed too.

        Raises:
            LakeError: a file cannot be read, or changed meanwhile.
        """
        before = before or self._facts()
        for path in self.paths:
            try:
                yield from self._stream_file(path, schema, batch_rows)
            except (pa.ArrowException, OSError) as err:
                raise self._damaged(f"{path.name}: {str(err).splitlines()[0][:200]}") from err
        if self._facts() != before:
            raise self._damaged("they changed while they were read")

    def _stream_file(
        self, path: Path, schema: pa.Schema, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        # The partition column stands in the path, not in the file.
        stored = [name for name in schema.names if name != self.date_column]
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_rows, columns=stored, use_threads=False):
                columns = [
                    pa.repeat(pa.scalar(self.day, pa.date32()), batch.num_rows)
                    if field.name == self.date_column
                    else batch.column(field.name).cast(field.type)
                    for field in schema
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _facts(self) -> Facts:
        try:
            return [(s.st_ino, s.st_size, s.st_mtime_ns) for s in (p.stat() for p in self.paths)]
        except OSError as err:
            raise self._damaged(str(err)) from err

    def _damaged(self, problem: str) -> LakeError:
        return LakeError(
            self.dataset,
            f"the data files of {self.day} are not what was ingested ({problem})",
            "Restore the lake from a copy, or ingest the day again.",
        )


def find_files(table: DeltaTable, dataset: str, date_column: str, day: date) -> PartitionFiles:
    """Return the files that hold ``day`` in ``table``, at the version it was opened at.

    Raises:
        LakeError: a file lies outside the table.
    """
    root = _local(table.table_uri).resolve()
    paths = [
        _local(uri) for uri in table.file_uris(file_pruning_predicate=on_day(date_column, day))
    ]
    for path in paths:
        if not path.resolve().is_relative_to(root):
            raise LakeError(dataset, f"a data file of {day} lies outside it", "Mend its log.")
    return PartitionFiles(dataset, day, date_column, tuple(sorted(paths)))


def _open_file(path: str, flags: int) -> int:
    """Open ``path`` only if it is a file: to open a pipe is to wait for who writes it.

    Raises:
        OSError: it cannot be opened, or is something else.
    """
    opened = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(errno.EINVAL, "no plain file", path)
    return opened


def _local(uri: str) -> Path:
    return Path(unquote(uri.removeprefix("file://")))
