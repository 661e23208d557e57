"""Files under s3:// as a place of a source: one at a time as a whole copy, then gone."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pilotline.registry.blobs import code_of, connect
from pilotline.registry.form import StoreError
from pilotline.tasks.errors import SourceError
from pilotline.tasks.sources.deadline import Deadline

CHUNK_BYTES = 1 << 20
WILD = re.compile(r"[*?\[]")


class S3Place:
    """Objects of a bucket; server and keys come from the AWS_* variables."""

    def __init__(self, dataset: str, deadline: Deadline) -> None:
        self.dataset = dataset
        self.deadline = deadline
        self._seen: dict[str, str] = {}  # address -> ETag when it was found
        try:
            self._client = connect()
        except StoreError as err:
            raise SourceError(
                dataset, "AWS_ENDPOINT_URL is no address of a server", "Write http://HOST:PORT."
            ) from err

    def find(self, pattern: str) -> list[str]:
        """Return the objects that match."""
        bucket, _, key = pattern.removeprefix("s3://").partition("/")
        prefix = WILD.split(key, maxsplit=1)[0]
        found = []
        with self._worded(pattern):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                self.deadline.check()
                for item in page.get("Contents", ()):
                    if _matches(item["Key"], key):
                        address = f"s3://{bucket}/{item['Key']}"
                        self._seen[address] = item["ETag"]
                        found.append(address)
        return sorted(found)

    @contextmanager
    def fetch(self, address: str) -> Iterator[Path]:
        """Give a copy of the object as it was when it was found."""
        bucket, _, key = address.removeprefix("s3://").partition("/")
        with tempfile.TemporaryDirectory(prefix="pilotline-source-") as folder:
            path = Path(folder) / "object"
            with self._worded(address):
                answer = self._client.get_object(Bucket=bucket, Key=key)
                self._copy(answer, path)
            if answer["ETag"] != self._seen[address]:
                raise SourceError(
                    self.dataset, f"{address!r} changed while it was read", "Run it again."
                )
            yield path

    def _copy(self, answer: Any, path: Path) -> None:
        with path.open("wb") as file:
            # boto3 raises when the body is shorter than it was said to be.
            for chunk in answer["Body"].iter_chunks(CHUNK_BYTES):
                file.write(chunk)
                self.deadline.check()

    @contextmanager
    def _worded(self, address: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as err:
            raise self._error(address, code_of(err)) from err
        except BotoCoreError as err:
            raise self._error(address, type(err).__name__) from err

    def _error(self, address: str, why: str) -> SourceError:
        return SourceError(
            self.dataset,
            f"{address!r} cannot be read ({why})",
            "Check the bucket, the rights, the server and the AWS_* variables.",
        )


def _matches(key: str, pattern: str) -> bool:
    """Tell whether a key matches; ``*`` stays within one folder, as it does on disk."""
    parts, wanted = key.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
