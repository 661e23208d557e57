from .opening import open_blobs, split_s3
from .s3 import S3Blobs
from .s3_client import code_of, connect, status_of, worded
from .store import DIGEST, BlobStore, StoredBlob

__all__ = [
    "DIGEST",
    "BlobStore",
    "S3Blobs",
    "StoredBlob",
    "code_of",
    "connect",
    "open_blobs",
    "split_s3",
    "status_of",
    "worded",
]
