"""A folder of the lake under s3://, with as much of a path's manners as the lake needs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pilotline.registry.blobs import S3Blobs, code_of, connect, status_of, worded
from pilotline.registry.form import StoreError
from pilotline.tasks.errors import LakeError

PATIENCE = {"connect_timeout": "5s", "timeout": "60s", "max_retries": "4", "retry_timeout": "60s"}


@dataclass(frozen=True)
class S3Folder:
    """What the keys of some objects begin with; server and keys come from the AWS_* variables."""

    bucket: str
    key: str  # without slashes around it; "" is the whole bucket
    scratch: Path = field(compare=False)  # where copies of its files are made to be read

    def __truediv__(self, name: str) -> "S3Folder":
        return S3Folder(self.bucket, f"{self.key}/{name}".strip("/"), self.scratch)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}".rstrip("/")

    @property
    def name(self) -> str:
        """The last part of its address."""
        return self.key.rpartition("/")[2] or self.bucket

    @property
    def options(self) -> dict[str, str]:
        """What deltalake is to be told of the server; boto3 knows the same."""
        return _options(_settings())

    def prove(self) -> None:
        """Do nothing if the server refuses to overwrite when asked to: a commit is such a put.

        A process asks once for each bucket.

        Raises:
            LakeError: it overwrites, or cannot be written.
        """
        with self._in_words():
            S3Blobs(self.bucket, self.key, self._client).prove_once()

    def list_folders(self) -> list[str]:
        """Return the names directly under it that hold something.

        Raises:
            LakeError: the bucket cannot be listed.
        """
        asked = {"Bucket": self.bucket, "Prefix": self._under(""), "Delimiter": "/"}
        with self._in_words():
            return sorted(
                found["Prefix"].rstrip("/").rpartition("/")[2]
                for page in self._client.get_paginator("list_objects_v2").paginate(**asked)
                for found in page.get("CommonPrefixes", ())
            )

    def fetch(self, name: str, path: Path) -> None:
        """Copy an object under it to ``path``.

        Raises:
            LakeError: it is gone, or cannot be read.
            OSError: ``path`` cannot be written.
        """
        from botocore.exceptions import ClientError

        with self._in_words():
            try:
                self._client.download_file(self.bucket, self._under(name), str(path))
            except ClientError as err:
                if status_of(err) != 404 or code_of(err) == "NoSuchBucket":
                    raise
                raise LakeError(
                    str(self), f"{name}: it is gone", "Restore the lake from a copy."
                ) from err

    def store(self, path: Path, name: str) -> None:
        """Copy ``path`` to an object under it.

        Raises:
            LakeError: it cannot be written.
        """
        from boto3.exceptions import S3UploadFailedError

        with self._in_words():
            try:
                self._client.upload_file(str(path), self.bucket, self._under(name))
            except S3UploadFailedError as err:  # boto3 wraps the error that is told in words
                raise err.__context__ or err from err

    def remove(self, *names: str) -> None:
        """Remove objects under it; those that are gone already are fine.

        Raises:
            LakeError: the bucket cannot be written.
        """
        with self._in_words():
            for name in names:
                self._client.delete_object(Bucket=self.bucket, Key=self._under(name))

    def list_files(self) -> dict[str, int]:
        """Return the names of all objects under it, at any depth, with their sizes in bytes.

        Raises:
            LakeError: the bucket cannot be listed.
        """
        prefix = self._under("")
        with self._in_words():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix
            )
            return {
                found["Key"].removeprefix(prefix): int(found["Size"])
                for page in pages
                for found in page.get("Contents", ())
            }

    @property
    def _client(self) -> Any:
        return _client(_settings())

    def _under(self, name: str) -> str:
        return f"{self.key}/{name}" if self.key else name

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            with worded(str(self)):
                yield
        except StoreError as err:
            raise LakeError(str(self), err.problem, err.remedy) from err


Folder = Path | S3Folder


def options_of(folder: Folder) -> dict[str, str] | None:
    """Return what deltalake is to be told of the server, None for a folder on this machine."""
    return folder.options if isinstance(folder, S3Folder) else None


def _settings() -> frozenset[tuple[str, str]]:
    return frozenset((k, v) for k, v in os.environ.items() if k.startswith("AWS_"))


@lru_cache(maxsize=4)
def _client(_settings: frozenset[tuple[str, str]]) -> Any:
    return connect()


@lru_cache(maxsize=4)
def _options(settings: frozenset[tuple[str, str]]) -> dict[str, str]:
    from boto3.session import Session
    from botocore.credentials import RefreshableCredentials

    meta, found = _client(settings).meta, Session().get_credentials()
    if found is None:
        raise LakeError(
            "s3://", "no keys were found", "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    options = PATIENCE | {"aws_region": meta.region_name or "us-east-1"}
    if ".amazonaws.com" not in meta.endpoint_url:
        plain = str(meta.endpoint_url.startswith("http://")).lower()
        options |= {"aws_endpoint": meta.endpoint_url, "aws_allow_http": plain}
    # Those that expire are fetched by deltalake itself, again and again.
    if not isinstance(found, RefreshableCredentials):
        options |= {"aws_access_key_id": found.access_key}
        options |= {"aws_secret_access_key": found.secret_key}
        options |= {"aws_session_token": found.token} if found.token else {}
    return options
