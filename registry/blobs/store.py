"""The content-addressed blob store: what any of its implementations must do."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from pilotline.registry.form import DigestMismatchError, MissingBlobError, digest_bytes

Item = TypeVar("Item")
Result = TypeVar("Result")

DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class StoredBlob:
    """One blob in a store, as its listing shows it."""

    digest: str
    size_bytes: int
    stored_at: datetime  # UTC; when it was last put


class BlobStore(Protocol):
    """Bytes under their own SHA-256. Adding what is there already changes nothing."""

    def put(self, data: bytes) -> str:
        """Store ``data`` wholly or not at all and return its SHA-256.

        What is there already counts as stored again (its time may lag by up to an hour, so
        garbage collection must wait longer); what is there but damaged is replaced.

        When this returns, a power cut takes nothing of it away.

        Raises:
            StoreError: the store cannot be written.
        """
        ...

    def put_all(self, blobs: Iterable[bytes]) -> list[str]:
        """Store each of ``blobs`` as ``put`` does, many at once, and return their SHA-256 in order.

        Where one fails, others may have been stored.

        Raises:
            StoreError: the store cannot be written.
        """
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

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Return those of ``digests`` under which nothing is stored; does not hash what is."""
        ...

    def list(self) -> Iterator[StoredBlob]:
        """Give every stored blob, in no order; foreign and unfinished files are passed over."""
        ...

    def delete(self, digest: str, before: datetime | None = None) -> bool:
        """Remove what is stored under ``digest`` and tell whether it did.

        Nothing there is no error.

        Args:
            digest: of the blob.
            before: where given, what was put then or later stays.
        """
        ...

    def check(self) -> None:
        """Prove that the store can be written and keeps its promises.

        Raises:
            StoreError: it cannot, or does not.
        """
        ...


def do_at_once(do: Callable[[Item], Result], items: Iterable[Item], threads: int) -> list[Result]:
    """Return what ``do`` makes of each item, in order, done by so many threads.

    It ends when each of them has ended, also where one raised.
    """
    waiting = list(items)
    if len(waiting) < 2:
        return [do(item) for item in waiting]
    from concurrent.futures import ThreadPoolExecutor  # not for those who only read

    with ThreadPoolExecutor(min(threads, len(waiting))) as pool:
        return list(pool.map(do, waiting))


def require_digest(digest: str) -> str:
    """Return ``digest`` if it can name a blob: 64 lower-case hex digits.

    Raises:
        MissingBlobError: it cannot; it must never become part of a path.
    """
    if not DIGEST.fullmatch(digest):
        raise MissingBlobError(digest)
    return digest


def checked(digest: str, data: bytes) -> bytes:
    """Return ``data`` if its SHA-256 is ``digest``.

    Raises:
        DigestMismatchError: it is not.
    """
    found = digest_bytes(data)
    if found != digest:
        raise DigestMismatchError(f"blob {digest[:12]}", digest, found)
    return data
