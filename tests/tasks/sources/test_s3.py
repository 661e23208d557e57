"""Files under s3:// as a source, on an S3 server."""

import hashlib
from io import BytesIO
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from pilotline.registry.blobs.s3_client import connect
from pilotline.tasks.errors import PartitionRefusedError, SourceError
from pilotline.tasks.lab.datasets import Dataset, Source
from pilotline.tasks.sources.contract import nullable
from pilotline.tasks.sources.files import FileSource
from tests.conftest import S3Address
from tests.support.tasks.facts import DAY, facts_from, facts_table


@pytest.fixture
def prefix(s3_environment: S3Address, request: pytest.FixtureRequest) -> str:
    """Return a place of the test's own in the bucket."""
    return f"s3://{s3_environment.bucket}/{request.node.name.replace('[', '-').strip(']')}"


@pytest.fixture
def client(s3_environment: S3Address) -> Any:
    """Return a client for the server."""
    return connect()


def put(client: Any, address: str, data: bytes | pa.Table) -> None:
    """Write an object: bytes, or a table as Parquet."""
    if isinstance(data, pa.Table):
        buffer = BytesIO()
        parquet.write_table(data, buffer)
        data = buffer.getvalue()
    bucket, _, key = address.removeprefix("s3://").partition("/")
    client.put_object(Bucket=bucket, Key=key, Body=data)


def facts_in(path: str) -> Dataset:
    """Return the facts' dataset over files."""
    return facts_from(Source("files", path=path, timeout_s=60))


def source(path: str, tmp_path: Any) -> FileSource:
    """Return the source over a path."""
    return FileSource(facts_in(path), tmp_path)


def test_a_day_s_objects_together_are_the_day(client: Any, prefix: str, tmp_path: Any) -> None:
    whole = facts_table()
    for place in range(3):
        put(client, f"{prefix}/2013-01-01/part-{place}.parquet", whole.slice(place, 1))
    put(client, f"{prefix}/2013-01-02/part-0.parquet", whole)
    put(client, f"{prefix}/2013-01-01/deeper/part-0.parquet", whole)
    put(client, f"{prefix}/2013-01-01/_SUCCESS", b"")
    for path in ("{date}", "{date}/*.parquet", "{date}/part-?.parquet"):
        rows = source(f"{prefix}/{path}", tmp_path).read(DAY)
        assert rows.combine_chunks() == whole.cast(nullable(facts_in(path))).combine_chunks()


def test_a_day_without_objects_is_refused(client: Any, prefix: str, tmp_path: Any) -> None:
    with pytest.raises(PartitionRefusedError, match=r"there is no file 's3://.*/2013-01-01/\*'"):
        source(f"{prefix}/{{date}}", tmp_path).read(DAY)


def test_a_bucket_that_is_not_there_is_named(s3_environment: S3Address, tmp_path: Any) -> None:
    with pytest.raises(
        SourceError, match=r"'s3://no-such-bucket-x/2013-01-01/\*' cannot be read \(NoSuchBucket\)"
    ):
        source("s3://no-such-bucket-x/{date}", tmp_path).read(DAY)


def test_a_server_that_is_gone_is_said_without_keys(
    s3_environment: S3Address, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(SourceError, match=r"cannot be read \(EndpointConnectionError\)") as caught:
        source("s3://bucket/{date}", tmp_path).read(DAY)
    assert s3_environment.secret_key not in str(caught.value)
    assert s3_environment.access_key not in str(caught.value)


def test_an_endpoint_that_is_no_address_is_said(
    s3_environment: S3Address, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(SourceError, match=r"AWS_ENDPOINT_URL is no address of a server\. Write"):
        source("s3://bucket/{date}", tmp_path).read(DAY)


def test_a_checksum_beside_an_object_is_held_against_it(
    client: Any, prefix: str, tmp_path: Any
) -> None:
    put(client, f"{prefix}/2013-01-01/facts.parquet", facts_table())
    put(client, f"{prefix}/2013-01-01/facts.parquet.sha256", hashlib.sha256(b"").digest())
    with pytest.raises(SourceError, match=r"facts\.parquet' is damaged: its SHA-256 is"):
        source(f"{prefix}/{{date}}", tmp_path).read(DAY)


def test_an_object_replaced_between_finding_and_reading_is_refused(
    client: Any, prefix: str, tmp_path: Any
) -> None:
    for part in range(2):
        put(client, f"{prefix}/2013-01-01/part-{part}.parquet", facts_table())
    batches = source(f"{prefix}/{{date}}", tmp_path).stream(DAY)
    next(batches)
    put(client, f"{prefix}/2013-01-01/part-1.parquet", facts_table().slice(0, 1))
    with pytest.raises(SourceError, match=r"part-1\.parquet' changed while it was read"):
        list(batches)


def test_an_object_that_is_cut_is_refused(client: Any, prefix: str, tmp_path: Any) -> None:
    put(client, f"{prefix}/2013-01-01/facts.parquet", b"PAR1 and no more")
    with pytest.raises(SourceError, match=r"'s3://.*facts\.parquet' is damaged or no Parquet file"):
        source(f"{prefix}/{{date}}", tmp_path).read(DAY)
