"""The content-addressed blob store: what any of its implementations must do."""

from typing import Protocol

from registry.canonical import digest_bytes
from registry.errors import DigestMismatchError


class BlobStore(Protocol):
    """Bytes under their own SHA-256. Adding what is there already changes nothing."""

    def put(self, data: bytes) -> str:
        """Store ``data`` wholly or not at all and return its SHA-256."""
        ...

    def get(self, digest: str) -> bytes:
        """Return the bytes of ``digest``, hashed again before they are handed out.

        Raises:
            MissingBlobError: nothing is stored under ``digest``.
            DigestMismatchError: the stored bytes are damaged.
        """
        ...

    def has(self, digest: str) -> bool:
        """Tell whether something is stored under ``digest``; does not hash it."""
        ...


def checked(digest: str, data: bytes) -> bytes:
    """Return ``data`` if its SHA-256 is ``digest``.

    Raises:
        DigestMismatchError: it is not.
    """
    found = digest_bytes(data)
    if found != digest:
        raise DigestMismatchError(f"blob {digest[:12]}", digest, found)
    return data
