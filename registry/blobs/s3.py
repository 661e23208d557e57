"""Blobs in S3: ``prefix/ab/abcdef...``, created by conditional puts and read back."""

import random
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from pilotline.registry.blobs.s3_client import code_of, connect, status_of, worded
from pilotline.registry.blobs.store import DIGEST, StoredBlob, checked, do_at_once, require_digest
from pilotline.registry.form import MissingBlobError, StoreError, digest_bytes

FRESH = timedelta(hours=1)  # what was stored longer ago is put again, so that its time is renewed
THREADS = 8  # that wait for the server; boto3 keeps 10 connections
CONFLICT_TRIES = 6  # S3 answers 409 to one of two puts that meet, and asks for another try

_proven: set[tuple[str, str]] = set()  # (endpoint, bucket) that passed the self-test here
_proving = threading.Lock()


class S3Blobs:
    """A blob store under one prefix of a bucket; endpoint and keys come from AWS_* variables."""

    def __init__(self, bucket: str, prefix: str = "", client: Any = None) -> None:
        """Remember where the blobs are; the first request connects.

        Args:
            bucket: a bucket that exists.
            prefix: what every key begins with, without slashes around it; may be empty.
            client: a boto3 S3 client; by default one made from the environment.
        """
        self.bucket = bucket
        self.prefix = prefix
        self.address = f"s3://{bucket}/{prefix}".rstrip("/")
        self._given = client

    def put(self, data: bytes) -> str:
        """Store ``data`` wholly or not at all and return its SHA-256.

        Raises:
            StoreError: the bucket cannot be written, or ignores conditional puts.
            DigestMismatchError: the server did not store the bytes that were sent.
        """
        return self.put_all([data])[0]

    def put_all(self, blobs: Iterable[bytes]) -> list[str]:
        """Store each of ``blobs``, over a few connections, and return their SHA-256 in order.

        Raises:
            StoreError: the bucket cannot be written, or ignores conditional puts.
            DigestMismatchError: the server did not store the bytes that were sent.
        """
        with worded(self.address):
            self.prove_once()
            return do_at_once(self._store, blobs, THREADS)

    def get(self, digest: str) -> bytes:
        """Return the bytes of ``digest``, hashed again.

        Raises:
            MissingBlobError: nothing is stored under ``digest``.
            DigestMismatchError: the stored bytes are damaged.
            StoreError: the bucket cannot be read.
        """
        key = self._key(digest)
        with worded(self.address):
            return checked(digest, self._read(key, digest)[0])

    def has(self, digest: str) -> bool:
        """Tell whether something is stored under ``digest``.

        Raises:
            StoreError: the bucket cannot be read.
        """
        from botocore.exceptions import ClientError

        key = self._key(digest)
        with worded(self.address):
            try:
                self._client.head_object(Bucket=self.bucket, Key=key)
            except ClientError as err:
                if status_of(err) != 404:
                    raise
                return False
        return True

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Return those of ``digests`` under which nothing is stored; asks for several at once.

        Raises:
            StoreError: the bucket cannot be read.
        """
        asked = list(digests)
        found = do_at_once(self.has, asked, THREADS)
        return [digest for digest, there in zip(asked, found, strict=True) if not there]

    def list(self) -> Iterator[StoredBlob]:
        """Give every stored blob; objects that are none are passed over.

        Raises:
            StoreError: the bucket cannot be listed.
        """
        with worded(self.address):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=f"{self.prefix}/" if self.prefix else ""
            )
            for page in pages:
                for found in page.get("Contents", []):
                    digest = found["Key"].rpartition("/")[2]
                    if DIGEST.fullmatch(digest) and found["Key"] == self._key(digest):
                        stored_at = found["LastModified"].astimezone(UTC)
                        yield StoredBlob(digest, found["Size"], stored_at)

    def delete(self, digest: str, before: datetime | None = None) -> bool:
        """Remove what is stored under ``digest`` and tell whether it did.

        S3 has no deletion that asks for the time as well: what is put again in the moment between
        the look at its time and its deletion is lost.

        Args:
            digest: of the blob.
            before: where given, what was put then or later stays.

        Raises:
            StoreError: the bucket cannot be written.
        """
        from botocore.exceptions import ClientError

        key = self._key(digest)
        with worded(self.address):
            try:
                found = self._client.head_object(Bucket=self.bucket, Key=key)
            except ClientError as err:
                if status_of(err) != 404:
                    raise
                return False
            # A HEAD tells whole seconds, where the listing may tell parts of them.
            if before is not None and found["LastModified"] + timedelta(seconds=1) > before:
                return False
            self._client.delete_object(Bucket=self.bucket, Key=key)
        return True

    def check(self) -> None:
        """Prove that the bucket can be written and refuses to overwrite when asked to.

        Raises:
            StoreError: it cannot, or does not.
        """
        with worded(self.address):
            self._prove()

    def prove_once(self) -> None:
        """Do nothing if this process proved it already, else what ``check`` does.

        Raises:
            StoreError: the bucket cannot be written, or ignores conditional puts.
        """
        place = (self._client.meta.endpoint_url, self.bucket)
        with _proving, worded(self.address):
            if place not in _proven:
                self._prove()
                _proven.add(place)

    @cached_property
    def _client(self) -> Any:
        return self._given or connect()

    def _key(self, digest: str) -> str:
        return self._under(f"{require_digest(digest)[:2]}/{digest}")

    def _under(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def _store(self, data: bytes) -> str:
        digest = digest_bytes(data)
        key = self._key(digest)
        if not self._create(key, data):
            if self._is_sound_and_fresh(key, digest):
                return digest
            # Whoever else writes this key writes the same bytes: nobody's are lost.
            self._client.put_object(Bucket=self.bucket, Key=key, Body=data)
        # Servers store without looking at the client's SHA-256 (seen: moto 5.2, radosgw).
        checked(digest, self._read(key, digest)[0])
        return digest

    def _create(self, key: str, data: bytes) -> bool:
        """Store ``data`` if nothing is under ``key``, and tell whether it did."""
        from botocore.exceptions import ClientError

        for left in reversed(range(CONFLICT_TRIES)):
            try:
                self._client.put_object(Bucket=self.bucket, Key=key, Body=data, IfNoneMatch="*")
            except ClientError as err:
                if status_of(err) == 412:
                    return False
                if status_of(err) != 409 or not left:
                    raise
                time.sleep(random.uniform(0.02, 0.2))
            else:
                return True
        raise AssertionError("the last try returns or raises")

    def _read(self, key: str, digest: str) -> tuple[bytes, datetime]:
        """Return what is under ``key``, not yet checked, and when it was stored."""
        from botocore.exceptions import ClientError

        try:
            found = self._client.get_object(Bucket=self.bucket, Key=key)
            return found["Body"].read(), found["LastModified"]
        except ClientError as err:
            if code_of(err) != "NoSuchKey":
                raise
            raise MissingBlobError(digest) from err

    def _is_sound_and_fresh(self, key: str, digest: str) -> bool:
        try:
            data, stored_at = self._read(key, digest)
        except MissingBlobError:  # deleted since the server said that it is there
            return False
        return digest_bytes(data) == digest and datetime.now(UTC) - stored_at < FRESH

    def _prove(self) -> None:
        key = self._under(f".probe-{uuid.uuid4().hex}")
        try:
            self._create(key, b"first")
            overwritten = self._create(key, b"second")
        finally:
            self._client.delete_object(Bucket=self.bucket, Key=key)
        if overwritten:
            raise StoreError(
                self.address,
                "this S3 ignores conditional puts (If-None-Match), so two writers could "
                "overwrite each other",
                "Use a server that honours them, such as AWS S3, Ceph or a newer release of yours.",
            )
