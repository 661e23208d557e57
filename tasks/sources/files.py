"""Parquet and CSV files as a source: a day's folder or pattern, on disk or under s3://."""

import glob
import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Protocol

import pyarrow as pa

from pilotline.tasks.errors import PartitionRefusedError, SourceError
from pilotline.tasks.lab import Dataset
from pilotline.tasks.sources.contract import collect
from pilotline.tasks.sources.csv import read_csv
from pilotline.tasks.sources.deadline import Deadline
from pilotline.tasks.sources.parquet import read_parquet
from pilotline.tasks.sources.s3 import S3Place

READERS: dict[str, Callable[[Dataset, date, str, Path], Iterator[pa.RecordBatch]]] = {
    "parquet": read_parquet,
    "csv": read_csv,
}
CHECKSUM = ".sha256"  # FILE.sha256 beside FILE, as sha256sum writes it


class Place(Protocol):
    """Where files lie."""

    def find(self, pattern: str) -> list[str]:
        """Return the addresses that match, ``*`` within a folder's name, sorted."""
        ...

    def fetch(self, address: str) -> AbstractContextManager[Path]:
        """Give a file to read, the same from the first byte to the last."""
        ...


class FileSource:
    """A day's files; all of them together are the day."""

    def __init__(self, dataset: Dataset, home: Path) -> None:
        self.dataset = dataset
        self.home = home

    def read(self, day: date) -> pa.Table:
        """Return the rows of the day's files in the declared columns.

        Raises:
            SourceError: a file cannot be read, is damaged or changes meanwhile, or it takes too
                long.
            PartitionRefusedError: there is no file, or columns or values are not the declared ones.
        """
        return collect(self.dataset, self.stream(day))

    def stream(self, day: date) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one file after the other; raises what ``read`` does."""
        deadline = Deadline(self.dataset.name, self.dataset.source.timeout_s)
        pattern = self._pattern(day)
        place: Place
        if pattern.startswith("s3://"):
            place = S3Place(self.dataset.name, deadline)
        else:
            place = LocalPlace(self.dataset.name)
        addresses = place.find(pattern)
        found = [address for address in addresses if _holds_rows(address)]
        if not found:
            raise PartitionRefusedError(
                self.dataset.name,
                day.isoformat(),
                f"there is no file {pattern!r}",
                "Check the date and the path, or wait until the files are there.",
            )
        read_format = READERS[self._format(found)]
        for address in found:
            with place.fetch(address) as path:
                if address + CHECKSUM in place.find(glob.escape(address) + CHECKSUM):
                    self._check_sum(place, address, path)
                for batch in read_format(self.dataset, day, address, path):
                    yield batch
                    deadline.check()

    def _pattern(self, day: date) -> str:
        path = self.dataset.source.path.replace("{date}", day.isoformat())
        path = path.replace("{home}", glob.escape(str(self.home)))
        last = PurePosixPath(path).name
        return path if "." in last or "*" in last else f"{path.rstrip('/')}/*"

    def _format(self, addresses: list[str]) -> str:
        if self.dataset.source.format:
            return self.dataset.source.format
        kinds = {PurePosixPath(address).suffix.removeprefix(".") for address in addresses}
        if len(kinds) == 1 and kinds <= set(READERS):
            return kinds.pop()
        raise SourceError(
            self.dataset.name,
            f"{addresses[0]!r} and others end in {', '.join(sorted(kinds)) or 'nothing'}",
            "Expected either .parquet or .csv: narrow the path, or declare the format.",
        )

    def _check_sum(self, place: Place, address: str, path: Path) -> None:
        with place.fetch(address + CHECKSUM) as beside:
            written = beside.read_text("ascii", "replace").split()[:1]
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if written != [digest]:
            raise SourceError(
                self.dataset.name,
                f"{address!r} is damaged: its SHA-256 is {digest[:12]}..., and {CHECKSUM} beside "
                f"it says {''.join(written)[:12] or 'nothing'}...",
                "Deliver the file again.",
            )


class LocalPlace:
    """Files in a folder."""

    def __init__(self, dataset: str) -> None:
        self.dataset = dataset

    def find(self, pattern: str) -> list[str]:
        """Return the files that match."""
        return sorted(path for path in glob.glob(pattern) if Path(path).is_file())

    @contextmanager
    def fetch(self, address: str) -> Iterator[Path]:
        """Give the file itself; it must not change while it is read."""
        before = _look(Path(address))
        yield Path(address)
        if _look(Path(address)) != before:
            raise SourceError(
                self.dataset,
                f"{address!r} changed while it was read",
                "Write files under another name and rename them when they are whole.",
            )


def _look(path: Path) -> tuple[int, int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _holds_rows(address: str) -> bool:
    # _SUCCESS, ._x.crc and the like are left by writers such as Spark.
    return not PurePosixPath(address).name.startswith(("_", ".")) and not address.endswith(CHECKSUM)
