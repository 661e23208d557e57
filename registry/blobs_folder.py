"""Blobs in a local folder: ``ab/abcdef...``, written under a temporary name, then renamed."""

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryFile

from registry.blobs import DIGEST, StoredBlob, checked, do_at_once, require_digest
from registry.canonical import digest_bytes
from registry.errors import MissingBlobError, StoreError

THREADS = 4  # that wait for the disk; measured: more gain nothing, and starting them takes time


class FolderBlobs:
    """A blob store in one folder, which is made on the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, data: bytes) -> str:
        """Store ``data`` wholly or not at all and return its SHA-256.

        Raises:
            StoreError: the folder cannot be written.
        """
        return self.put_all([data])[0]

    def put_all(self, blobs: Iterable[bytes]) -> list[str]:
        """Store each of ``blobs`` and return their SHA-256 in order.

        Threads, because most of the time is spent waiting for the disk, which makes several files
        durable in the time of one.

        Raises:
            StoreError: the folder cannot be written.
        """
        try:
            _make_folder(self.root)
            digests = do_at_once(self._store, blobs, THREADS)
            _sync(self.root)
        except OSError as err:
            raise self._refusal("cannot write a blob", err) from err
        return digests

    def get(self, digest: str) -> bytes:
        """Return the bytes of ``digest``, hashed again.

        Raises:
            MissingBlobError: nothing is stored under ``digest``.
            DigestMismatchError: the stored bytes are damaged.
        """
        try:
            return checked(digest, self._path(digest).read_bytes())
        except FileNotFoundError as err:
            raise MissingBlobError(digest) from err

    def has(self, digest: str) -> bool:
        """Tell whether something is stored under ``digest``."""
        return self._path(digest).is_file()

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Return those of ``digests`` under which nothing is stored."""
        return [digest for digest in digests if not self.has(digest)]

    def list(self) -> Iterator[StoredBlob]:
        """Give every stored blob; files that no ``put`` finished here are passed over."""
        for path in self.root.glob("??/*"):
            if not DIGEST.fullmatch(path.name) or path.parent.name != path.name[:2]:
                continue
            try:
                facts = path.lstat()
            except FileNotFoundError:  # deleted since the folder was read
                continue
            stored_at = datetime.fromtimestamp(facts.st_mtime, UTC)
            yield StoredBlob(path.name, facts.st_size, stored_at)

    def delete(self, digest: str) -> None:
        """Remove what is stored under ``digest``; nothing there is no error.

        Raises:
            StoreError: the folder cannot be written.
        """
        try:
            self._path(digest).unlink(missing_ok=True)
        except OSError as err:
            raise self._refusal("cannot delete a blob", err) from err

    def check(self) -> None:
        """Prove that the folder can be written, and leave nothing behind in it.

        Raises:
            StoreError: it cannot.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.root, prefix=".put-") as file:
                file.write(b"pilotline")
                file.flush()
                os.fsync(file.fileno())
        except OSError as err:
            raise self._refusal("cannot be written", err) from err

    def _store(self, data: bytes) -> str:
        """Store ``data`` and return its SHA-256; only the name of its folder is not yet synced."""
        digest = digest_bytes(data)
        path = self._path(digest)
        if not _refresh(path, digest):
            path.parent.mkdir(exist_ok=True)
            _write(path, data)
        _sync(path.parent)  # also where it was there: whoever put it may not have come to this yet
        return digest

    def _path(self, digest: str) -> Path:
        return self.root / require_digest(digest)[:2] / digest

    def _refusal(self, problem: str, err: OSError) -> StoreError:
        return StoreError(
            str(self.root), f"{problem} ({err.strerror})", "Free space or fix rights."
        )


def _refresh(path: Path, digest: str) -> bool:
    """Tell whether ``path`` holds sound bytes, and make it young for garbage collection."""
    try:
        if digest_bytes(path.read_bytes()) != digest:
            return False
        os.utime(path)
    except (FileNotFoundError, PermissionError):  # deleted meanwhile, or another user's file
        return False
    return True


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".put-{token_hex(8)}")
    with temporary.open("xb") as file:
        try:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o444)
            os.fsync(file.fileno())  # the name must never outlive a power cut without the bytes
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _make_folder(folder: Path) -> None:
    """Make ``folder`` and what is above it, safe from a power cut; there already is no error."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    """Make the names in ``folder`` durable; syncing a file does nothing for its name."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
