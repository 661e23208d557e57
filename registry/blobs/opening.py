"""Which blob store an address means."""

import re
from pathlib import Path

from pilotline.registry.blobs.store import BlobStore
from pilotline.registry.form import StoreError

# One slash suffices: a Path made of an address has lost the other.
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
# Bucket names after the rules of S3; a prefix in characters that no server needs to escape.
S3_ADDRESS = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9_=.-]+)*)/?")


def open_blobs(address: str | Path) -> BlobStore:
    """Return the store at ``address``: a folder or ``s3://bucket/prefix``. Nothing is touched yet.

    Raises:
        StoreError: the address is neither.
    """
    if not SCHEME.match(str(address)):
        from pilotline.registry.blobs.folder import FolderBlobs  # only the one asked for is loaded

        return FolderBlobs(Path(address))
    from pilotline.registry.blobs.s3 import S3Blobs

    return S3Blobs(*split_s3("PILOTLINE_BLOBS", str(address)))


def split_s3(setting: str, address: str) -> tuple[str, str]:
    """Return the bucket and the prefix of ``s3://bucket/prefix``.

    Raises:
        StoreError: it is no such address; it may hold keys, so it is not shown.
    """
    found = S3_ADDRESS.fullmatch(address)
    parts = found[2].strip("/").split("/") if found else []
    if not found or {".", ".."} & set(parts):
        raise StoreError(
            setting,
            "expected a folder or s3://BUCKET/PREFIX, got another address",
            "Write the bucket in a-z, 0-9, '.' and '-', the prefix in letters, digits, "
            "'_', '=', '.' and '-'; keys and endpoint belong into the AWS_* variables.",
        )
    return found[1], "/".join(parts)
