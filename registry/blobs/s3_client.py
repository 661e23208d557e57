"""A boto3 client for S3 with bounded patience, and its errors in words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pilotline.registry.form import StoreError

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 60
TRIES = 4  # by boto3 itself, for what another try can cure

NO_RIGHTS = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "403"}


def connect() -> Any:
    """Return a client whose endpoint and keys come from the AWS_* variables or AWS profile.

    Raises:
        StoreError: the endpoint is no address.
    """
    from boto3.session import Session  # the default session is not for several threads
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"total_max_attempts": TRIES, "mode": "standard"},
        # Other servers stumble over the CRC trailers sent by default; blobs are hashed anyway.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        session = Session()
        client = session.client("s3", config=config)
        if ".amazonaws.com" not in client.meta.endpoint_url:
            # Few other servers have a name in DNS for every bucket.
            path_style = config.merge(Config(s3={"addressing_style": "path"}))
            client = session.client("s3", config=path_style)
    except ValueError as err:
        raise StoreError(
            "AWS_ENDPOINT_URL", "is no address of a server", "Write http://HOST:PORT."
        ) from err
    return client


@contextmanager
def worded(address: str) -> Iterator[None]:
    """Turn what boto3 raises into a StoreError about ``address``, without keys in it.

    Raises:
        StoreError: a request failed.
    """
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )

    try:
        yield
    except ClientError as err:
        raise StoreError(address, *_refusal(code_of(err), status_of(err))) from err
    except (NoCredentialsError, PartialCredentialsError) as err:
        raise StoreError(
            address, "no keys were found", "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ) from err
    except BotoCoreError as err:
        raise StoreError(
            address,
            f"cannot be reached ({type(err).__name__})",
            "Check AWS_ENDPOINT_URL, the network and the server.",
        ) from err


def status_of(err: Any) -> int:
    """Return the HTTP status of a ClientError; 0 where none came."""
    return int(err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(err: Any) -> str:
    """Return the code that S3 gives the error, such as ``NoSuchKey``."""
    return str(err.response.get("Error", {}).get("Code", "unknown"))


def _refusal(code: str, status: int) -> tuple[str, str]:
    if code == "NoSuchBucket":
        return "there is no such bucket", "Create it, or correct the address."
    if code in NO_RIGHTS or status == 403:
        return (
            f"the keys have no right to do this ({code})",
            "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy.",
        )
    return f"the server answered {code} ({status})", "Try again, or ask whoever runs the server."
