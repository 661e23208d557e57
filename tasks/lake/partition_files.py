"""The data files of one day: checked whole by their hash, then streamed, never held in memory."""

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import repeat
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from pilotline.tasks.errors import LakeError
from pilotline.tasks.lake.handle import Table
from pilotline.tasks.lake.tables import on_day
from pilotline.tasks.s3_folder import Folder, S3Folder

Facts = list[tuple[int, int, int]]  # inode, size and time of change of every file


@dataclass(frozen=True)
class Piece:
    """Some row groups of one file of a day."""

    file: str  # its name within the table
    sha256: str
    groups: tuple[int, ...]
    rows: int


class Copies:
    """Copies of a table's files, made when they are first read; gone with whoever holds this."""

    def __init__(self, table: S3Folder, names: Mapping[str, str]) -> None:
        """Make the folder of the copies.

        Args:
            table: where the files lie.
            names: of each copy: what its file is called within the table.
        """
        table.scratch.mkdir(parents=True, exist_ok=True)
        # Named so that it is swept like any scratch folder of a process that died.
        self._room = tempfile.TemporaryDirectory(
            dir=table.scratch, prefix=f"run-{os.getpid()}-files-"
        )
        self._table, self._names = table, names

    @property
    def folder(self) -> Path:
        """Where the copies lie."""
        return Path(self._room.name)

    def make(self, path: Path) -> None:
        """Make the copy at ``path`` unless it is there.

        Raises:
            LakeError: the file is gone or cannot be read, or the copy cannot be written.
        """
        if path.exists():
            return
        half = path.with_suffix(".half")
        try:
            self._table.fetch(self._names[path.name], half)
            os.replace(half, path)
        except LakeError:
            raise
        except OSError as err:
            raise LakeError(
                str(self._table),
                f"a file cannot be copied to {str(self.folder)!r} ({err.strerror})",
                "Free space there.",
            ) from err


@dataclass(frozen=True)
class PartitionFiles:
    """The files that hold a day at one version of a table, in the order they were written."""

    dataset: str
    day: date
    date_column: str
    paths: tuple[Path, ...]
    groups: tuple[tuple[int, ...], ...] = ()  # of each file, where not all of it is meant
    copies: Copies | None = None  # where the table is elsewhere and ``paths`` are copies

    def digest(self) -> str:
        """Return one SHA-256 over the SHA-256 of every file.

        Raises:
            LakeError: a file is gone or cannot be read.
        """
        return hashlib.sha256(bytes.fromhex("".join(self.hash_each()))).hexdigest()

    def hash_each(self) -> list[str]:
        """Return the SHA-256 of every file.

        Raises:
            LakeError: a file is gone or cannot be read.
        """
        hashes = []
        for path in self.paths:
            self._bring(path)
            try:
                with open(path, "rb", opener=_open_file) as file:
                    hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
            except OSError as err:
                raise self._damaged(f"{path.name}: {err.strerror}") from err
        return hashes

    def pieces(self, digest: str) -> list[Piece]:
        """Return each row group as a piece, once the files are known to be what was ingested.

        Raises:
            LakeError: they are not, or cannot be read.
        """
        hashes = self.hash_each()
        self._compare(hashlib.sha256(bytes.fromhex("".join(hashes))).hexdigest(), digest)
        found = []
        for path, sha256 in zip(self.paths, hashes, strict=True):
            with pq.ParquetFile(path) as file:
                for group in range(file.metadata.num_row_groups):
                    rows = file.metadata.row_group(group).num_rows
                    found.append(Piece(path.name, sha256, (group,), rows))
        return found

    def pick(self, pieces: Sequence[Piece]) -> "PartitionFiles":
        """Return the row groups that ``pieces`` name, their files hashed again.

        Whoever reads them may be another machine than the one that cut them.

        Raises:
            LakeError: a file is gone, or is not what was cut.
        """
        by_name = {path.name: path for path in self.paths}
        groups: dict[str, tuple[int, ...]] = {}
        for piece in pieces:
            groups[piece.file] = groups.get(piece.file, ()) + piece.groups
        if missing := set(groups) - set(by_name):
            raise self._damaged(f"{min(missing)}: it is not here")
        mine = tuple(by_name[name] for name in groups)
        picked = replace(self, paths=mine, groups=tuple(groups.values()))
        wanted = {piece.file: piece.sha256 for piece in pieces}
        for path, found in zip(mine, picked.hash_each(), strict=True):
            if found != wanted[path.name]:
                raise self._damaged(f"{path.name} hashes to {found[:12]}...")
        return picked

    def require(self, digest: str) -> Facts:
        """Return what would show a change, if the files are what was ingested, to the byte.

        A flipped bit in a Parquet file reads as other values without an error in half the cases,
        and one in its schema can end the process that decodes it: so this comes first.

        Raises:
            LakeError: they are not.
        """
        before = self._facts()
        self._compare(self.digest(), digest)
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
        for path, groups in zip(self.paths, self.groups or repeat(None), strict=False):
            try:
                yield from self._stream_file(path, groups, schema, batch_rows)
            except (pa.ArrowException, OSError) as err:
                raise self._damaged(f"{path.name}: {str(err).splitlines()[0][:200]}") from err
        if self._facts() != before:
            raise self._damaged("they changed while they were read")

    def _stream_file(
        self, path: Path, groups: Sequence[int] | None, schema: pa.Schema, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        # The partition column stands in the path, not in the file.
        stored = [name for name in schema.names if name != self.date_column]
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_rows, groups, stored, use_threads=False):
                columns = [
                    pa.repeat(pa.scalar(self.day, pa.date32()), batch.num_rows)
                    if field.name == self.date_column
                    else batch.column(field.name).cast(field.type)
                    for field in schema
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _compare(self, found: str, digest: str) -> None:
        if found != digest:
            raise self._damaged(f"they hash to {found[:12]}..., ingested as {digest[:12]}...")

    def _bring(self, path: Path) -> None:
        if self.copies is not None:
            self.copies.make(path)

    def _facts(self) -> Facts:
        for path in self.paths:
            self._bring(path)
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


def find_files(
    table: Table,
    folder: Folder,
    dataset: str,
    date_column: str,
    day: date,
    predicate: str | None = None,
) -> PartitionFiles:
    """Return the files that hold ``day`` in ``table``, at the version it was opened at.

    Args:
        table: an open table.
        folder: where it was opened.
        dataset: what to call it in messages.
        date_column: by which it is partitioned.
        day: the day.
        predicate: names the day's partition, where the table has other columns to cut it by too.

    Raises:
        LakeError: a file lies outside the table.
    """
    uris = table.file_uris(predicate or on_day(date_column, day))
    if isinstance(folder, S3Folder):
        return _find_objects(folder, uris, dataset, date_column, day)
    root = folder.resolve()
    paths = [_local(uri) for uri in uris]
    for path in paths:
        if not path.resolve().is_relative_to(root):
            raise _outside(dataset, day)
    return PartitionFiles(dataset, day, date_column, tuple(sorted(paths)))


def _find_objects(
    folder: S3Folder, uris: Sequence[str], dataset: str, date_column: str, day: date
) -> PartitionFiles:
    names: dict[str, str] = {}
    for uri in sorted(uris):
        within = uri.removeprefix(f"{folder}/")  # the key itself, quoted no further
        name = within.rpartition("/")[2]
        if within == uri or ".." in within.split("/") or name in names:
            raise _outside(dataset, day)
        names[name] = within
    copies = Copies(folder, names)
    paths = tuple(copies.folder / name for name in names)
    return PartitionFiles(dataset, day, date_column, paths, copies=copies)


def _outside(dataset: str, day: date) -> LakeError:
    return LakeError(dataset, f"a data file of {day} lies outside it", "Mend its log.")


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
