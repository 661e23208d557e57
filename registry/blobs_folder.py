"""Blobs in a local folder: ``ab/abcdef...``, written under a temporary name, then renamed."""

import os
import re
from pathlib import Path
from tempfile import NamedTemporaryFile

from registry.blobs import checked
from registry.canonical import digest_bytes
from registry.errors import MissingBlobError, StoreError

DIGEST = re.compile(r"[0-9a-f]{64}")


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
        if path.exists() and digest_bytes(path.read_bytes()) == digest:
            return digest
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write(path, data)
        except OSError as err:
            raise StoreError(
                str(self.root), f"cannot write a blob ({err.strerror})", "Free space or fix rights."
            ) from err
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

    def _path(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise MissingBlobError(digest)
        return self.root / digest[:2] / digest

    def _write(self, path: Path, data: bytes) -> None:
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
