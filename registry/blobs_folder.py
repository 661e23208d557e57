"""Blobs in a local folder: ``ab/abcdef...``, written under a temporary name, then renamed."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile

from registry.blobs import DIGEST, StoredBlob, checked, require_digest
from registry.canonical import digest_bytes
from registry.errors import MissingBlobError, StoreError


class FolderBlobs:
    """A blob store in one folder, which is made on the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, data: bytes) -> str:
        """Store ``data`` wholly or not at all and return its SHA-256.

        Raises:
            StoreError: the folder cannot be written.
        """
        digest = digest_bytes(data)
        path = self._path(digest)
        try:
            if not _refresh(path, digest):
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(path, data)
        except OSError as err:
            raise self._refusal("cannot write a blob", err) from err
        return digest

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
    with NamedTemporaryFile(dir=path.parent, prefix=".put-", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # the name must never outlive a power cut without the bytes
            temporary.chmod(0o444)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
