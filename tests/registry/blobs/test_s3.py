"""Blobs in S3: what only a server far away can do wrong, and how it is said."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from threading import Thread
from typing import Any
from uuid import uuid4
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse

import pytest

from pilotline.registry.blobs.s3 import S3Blobs
from pilotline.registry.form.errors import DigestMismatchError, StoreError
from tests.conftest import S3Address

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4
ABC_PATH = f"/bucket/blobs/ba/{ABC}"


class OddS3:
    """A very small S3 that can be told to misbehave; its answers are after the S3 API reference."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self.puts: list[str] = []
        self.ignores_conditions = False
        self.spoils_bytes = False
        self.conflicts = 0  # how many puts still to answer with 409
        self.refusal: tuple[str, str] | None = None  # status and code for everything

    def __call__(self, request: dict[str, Any], start: StartResponse) -> list[bytes]:
        """Answer one request, as WSGI asks for it."""
        path = request["PATH_INFO"]
        method = request["REQUEST_METHOD"]
        data = request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
        if self.refusal:
            return refuse(start, *self.refusal)
        if method == "PUT":
            return self.put(path, data, "HTTP_IF_NONE_MATCH" in request, start)
        if method == "DELETE":
            self.objects.pop(path, None)
            start("204 No Content", [])
            return []
        if path not in self.objects:
            return refuse(start, "404 Not Found", "NoSuchKey")
        kept, stored_at = self.objects[path]
        start("200 OK", [("Last-Modified", format_datetime(stored_at, usegmt=True))])
        return [kept]

    def put(self, path: str, data: bytes, conditional: bool, start: StartResponse) -> list[bytes]:
        """Store, or refuse to."""
        self.puts.append(path)
        if self.conflicts:
            self.conflicts -= 1
            return refuse(start, "409 Conflict", "ConditionalRequestConflict")
        if conditional and path in self.objects and not self.ignores_conditions:
            return refuse(start, "412 Precondition Failed", "PreconditionFailed")
        kept = data[:-1] + b"?" if self.spoils_bytes else data
        self.objects[path] = (kept, datetime.now(UTC))
        start("200 OK", [])
        return [b""]


class Handler(WSGIRequestHandler):
    """A connection to it; 1.1, because boto3 sends bodies after '100 Continue' only."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def refuse(start: StartResponse, status: str, code: str) -> list[bytes]:
    start(status, [("Content-Type", "application/xml")])
    return [f"<Error><Code>{code}</Code></Error>".encode()]


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[OddS3]:
    """Return the odd server, running, with the variables set that lead there."""
    app = OddS3()
    with make_server("127.0.0.1", 0, app, handler_class=Handler) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        address = S3Address(f"http://127.0.0.1:{server.server_port}", "bucket", "key", "secret")
        for name, value in address.environment.items():
            monkeypatch.setenv(name, value)
        yield app
        server.shutdown()


def test_a_server_that_ignores_conditional_puts_gets_no_blob(odd: OddS3) -> None:
    odd.ignores_conditions = True
    for attempt in (
        S3Blobs("bucket", "blobs").check,
        lambda: S3Blobs("bucket", "blobs").put(b"abc"),
    ):
        with pytest.raises(StoreError) as refused:
            attempt()
        assert str(refused.value) == (
            "Registry at 's3://bucket/blobs': this S3 ignores conditional puts (If-None-Match), "
            "so two writers could overwrite each other. Use a server that honours them, such as "
            "AWS S3, Ceph or a newer release of yours."
        )
    assert odd.objects == {}
    assert all(path.startswith("/bucket/blobs/.probe-") for path in odd.puts)


def test_the_self_test_is_made_once_a_process(odd: OddS3) -> None:
    for data in (b"abc", b"def", b"ghi"):
        S3Blobs("bucket", "blobs").put(data)
    assert len([path for path in odd.puts if ".probe-" in path]) == 2
    assert len(odd.objects) == 3


def test_bytes_that_the_server_spoils_are_found_when_they_are_put(odd: OddS3) -> None:
    odd.spoils_bytes = True
    with pytest.raises(DigestMismatchError):
        S3Blobs("bucket", "blobs").put(b"abc")


def test_bytes_that_the_server_spoils_among_many_are_found(odd: OddS3) -> None:
    odd.spoils_bytes = True
    with pytest.raises(DigestMismatchError):
        S3Blobs("bucket", "blobs").put_all(b"%d" % n for n in range(20))


def test_many_puts_that_meet_others_are_tried_again(odd: OddS3) -> None:
    blobs = S3Blobs("bucket", "blobs")
    blobs.check()
    odd.conflicts = 2
    blobs.put_all([b"abc", b"def", b"ghi"])
    assert len(odd.objects) == 3


def test_keys_without_rights_are_told_once_for_many(odd: OddS3) -> None:
    blobs = S3Blobs("bucket")
    blobs.check()
    odd.refusal = ("403 Forbidden", "AccessDenied")
    with pytest.raises(StoreError, match="the keys have no right to do this"):
        blobs.put_all([b"a", b"b"])
    with pytest.raises(StoreError, match="the keys have no right to do this"):
        blobs.missing([ABC, "f" * 64])


def test_what_was_stored_long_ago_is_put_again(odd: OddS3) -> None:
    odd.objects[ABC_PATH] = (b"abc", datetime.now(UTC) - timedelta(days=30))
    S3Blobs("bucket", "blobs").put(b"abc")
    assert datetime.now(UTC) - odd.objects[ABC_PATH][1] < timedelta(minutes=30)


def test_what_was_stored_lately_is_left_alone(odd: OddS3) -> None:
    lately = datetime.now(UTC) - timedelta(minutes=10)
    odd.objects[ABC_PATH] = (b"abc", lately)
    S3Blobs("bucket", "blobs").put(b"abc")
    assert odd.objects[ABC_PATH] == (b"abc", lately)


def test_a_put_that_meets_another_one_is_tried_again(odd: OddS3) -> None:
    blobs = S3Blobs("bucket", "blobs")
    blobs.check()
    odd.conflicts = 2
    blobs.put(b"abc")
    assert odd.objects[ABC_PATH][0] == b"abc"


def test_keys_without_rights_are_told_without_the_keys(odd: OddS3) -> None:
    odd.refusal = ("403 Forbidden", "AccessDenied")
    for attempt in (lambda: S3Blobs("bucket").get(ABC), lambda: S3Blobs("bucket").put(b"abc")):
        with pytest.raises(StoreError) as refused:
            attempt()
        assert str(refused.value) == (
            "Registry at 's3://bucket': the keys have no right to do this (AccessDenied). "
            "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy."
        )


def test_an_answer_nobody_expects_is_quoted(odd: OddS3) -> None:
    odd.refusal = ("501 Not Implemented", "NotImplemented")
    with pytest.raises(StoreError) as refused:
        S3Blobs("bucket").check()
    assert "the server answered NotImplemented (501)" in str(refused.value)


def test_a_blob_is_an_object_under_the_prefix(s3_environment: S3Address) -> None:
    prefix = uuid4().hex
    blobs = S3Blobs(s3_environment.bucket, prefix)
    blobs.put(b"abc")
    whole_bucket = S3Blobs(s3_environment.bucket)
    assert not whole_bucket.has(ABC)
    found = blobs._client.list_objects_v2(Bucket=s3_environment.bucket, Prefix=prefix)
    assert [entry["Key"] for entry in found["Contents"]] == [f"{prefix}/ba/{ABC}"]


def test_a_prefix_that_begins_like_another_is_not_listed_with_it(s3_environment: S3Address) -> None:
    prefix = uuid4().hex
    S3Blobs(s3_environment.bucket, f"{prefix}-other").put(b"abc")
    assert list(S3Blobs(s3_environment.bucket, prefix).list()) == []


def test_a_listing_longer_than_one_page_is_whole(s3_environment: S3Address) -> None:
    blobs = S3Blobs(s3_environment.bucket, uuid4().hex)

    def store(n: int) -> None:
        key = f"{blobs.prefix}/00/{n:064x}"
        blobs._client.put_object(Bucket=blobs.bucket, Key=key, Body=b"")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(store, range(1001)))  # a page holds 1,000
    assert len({found.digest for found in blobs.list()}) == 1001


def test_a_missing_bucket_is_told(s3_environment: S3Address) -> None:
    blobs = S3Blobs(f"{s3_environment.bucket}-gone", "blobs")
    for attempt in (blobs.check, lambda: blobs.put(b"abc"), lambda: list(blobs.list())):
        with pytest.raises(StoreError) as refused:
            attempt()
        assert str(refused.value) == (
            f"Registry at 's3://{s3_environment.bucket}-gone/blobs': there is no such bucket. "
            "Create it, or correct the address."
        )


def test_a_server_that_is_not_there_is_told(odd: OddS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # discard: nobody listens
    with pytest.raises(StoreError) as refused:
        S3Blobs("bucket", "blobs").put(b"abc")
    assert str(refused.value) == (
        "Registry at 's3://bucket/blobs': cannot be reached (EndpointConnectionError). "
        "Check AWS_ENDPOINT_URL, the network and the server."
    )


def test_an_endpoint_that_is_no_address_is_told(
    odd: OddS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "somewhere")
    with pytest.raises(StoreError) as refused:
        S3Blobs("bucket", "blobs").put(b"abc")
    assert str(refused.value) == (
        "Registry at 'AWS_ENDPOINT_URL': is no address of a server. Write http://HOST:PORT."
    )


def test_missing_keys_are_told(odd: OddS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError) as refused:
        S3Blobs("bucket", "blobs").put(b"abc")
    assert str(refused.value) == (
        "Registry at 's3://bucket/blobs': no keys were found. "
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    )
