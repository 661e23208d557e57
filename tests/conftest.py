"""What tests of several folders share: the sandbox, an S3 and a PostgreSQL server."""

import os
import signal
import sys
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pytest
from sqlalchemy import Connection, create_engine, make_url, text

from pilotline.registry import Registry
from pilotline.tasks.s3_folder import Folder
from pilotline.tasks.sandbox.walls import Tier, probe_isolation
from tests.support.servers.once import Kept, kept_server, made_once, shared_folder
from tests.support.servers.programs import lack
from tests.support.suite.metering import Metering
from tests.support.suite.selection import Selection, add_options

# Takes back what a test does to rows, sequences and triggers. Deleting is much cheaper than making
# a database anew, or than TRUNCATE: both make several files a table.
EMPTY = """
DO $$ DECLARE found regclass; BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    FOR found IN SELECT DISTINCT tgrelid FROM pg_trigger WHERE tgenabled <> 'O' LOOP
        EXECUTE format('ALTER TABLE %s ENABLE TRIGGER ALL', found);
    END LOOP;
    FOR found IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace
        AND relkind = 'r' AND relname NOT IN ('alembic_version', 'registry_info') LOOP
        EXECUTE format('DELETE FROM %s', found);
    END LOOP;
    PERFORM setval(seqrelid, seqstart, false) FROM pg_sequence;
END $$
"""
TEMPLATE = "migrated"
# What is left after that: a hash over columns, triggers, constraints, functions, seeded rows.
SHAPE = """
SELECT md5(string_agg(fact, ' ' ORDER BY fact)) FROM (
    SELECT concat_ws('|', relname, relkind, attname, atttypid, atttypmod, attnotnull) AS fact
        FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE relnamespace = 'public'::regnamespace AND attnum > 0
    UNION ALL SELECT concat_ws('|', tgrelid, tgname, tgenabled) FROM pg_trigger
    UNION ALL SELECT concat_ws('|', conrelid, conname) FROM pg_constraint
    UNION ALL SELECT concat_ws('|', proname, prosrc) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT version_num FROM alembic_version
    UNION ALL SELECT concat_ws('|', key, value) FROM registry_info
) AS facts
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what a tier of the suite is run with."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Pick, order and measure the tests, and end what they started when somebody ends them."""
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a script's background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what tests start obeys Ctrl-C
    config.pluginmanager.register(Selection(config))
    config.pluginmanager.register(Metering())


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # fixtures then end their servers


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


def local(folder: Folder) -> Path:
    """Return a folder of the lake that is on this machine, as a path."""
    assert isinstance(folder, Path)
    return folder


@pytest.fixture(scope="session")
def bubblewrap() -> Tier:
    """Return tier A; skip where bubblewrap does not work, fail where CI promised it."""
    tier = probe_isolation()
    if tier.name != "A":
        lack(tier.why)
    return tier


@pytest.fixture(scope="session")
def s3_address(shared: Path) -> Iterator[S3Address]:
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
    with kept_server(shared, "moto", _moto, _address_of_moto) as kept:
        address = S3Address(
            kept.facts["endpoint"], bucket, "AKIAPILOTLINETESTS", "secret+of/the-S3-tests"
        )
        _make_bucket(address)
        yield address


def _moto(folder: Path) -> list[str]:
    """Return what starts moto, which in this process hung (5.2), at a port that it takes itself."""
    return [sys.executable, "-m", "tests.support.servers.moto_server", str(folder / "endpoint")]


def _address_of_moto(folder: Path) -> dict[str, str] | None:
    said = folder / "endpoint"
    return {"endpoint": said.read_text("utf-8")} if said.exists() else None


@pytest.fixture
def s3_environment(s3_address: S3Address, monkeypatch: pytest.MonkeyPatch) -> S3Address:
    """Return the S3, with the variables that lead there set for one test."""
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in s3_address.environment.items():
        monkeypatch.setenv(name, value)
    return s3_address


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all workers of a run see."""
    return shared_folder(tmp_path_factory)


@pytest.fixture(scope="session")
def postgresql(shared: Path) -> Iterator[Kept]:
    """Return a real PostgreSQL server that all workers share."""
    with kept_server(shared, "postgresql", _postgresql, _url_of_postgresql) as kept:
        yield kept


def _postgresql(folder: Path) -> list[str]:
    return [sys.executable, "-m", "tests.support.servers.postgresql_server", str(folder / "url")]


def _url_of_postgresql(folder: Path) -> dict[str, str] | None:
    said = folder / "url"
    return {"url": said.read_text("utf-8")} if said.exists() else None


@pytest.fixture(scope="session")
def postgres_url(postgresql: Kept) -> str:
    """Return the URL of the server's own database; tests make theirs beside it."""
    return postgresql.facts["url"]


@pytest.fixture
def new_database(postgres_url: str) -> Iterator[str]:
    """Return the URL of a fresh, empty database on PostgreSQL."""
    with made_database(postgres_url, "template1") as url:
        yield url


@pytest.fixture(scope="session")
def migrated_template(postgresql: Kept) -> str:
    """Return the name of a database with the registry's tables, to be copied."""

    def make(folder: Path) -> None:
        with _connected(postgresql.facts["url"]) as connection:
            connection.execute(text(f"CREATE DATABASE {TEMPLATE}"))
        Registry(_url_of(postgresql.facts["url"], TEMPLATE), folder / "never-written").close()

    made_once(postgresql.folder, "template", make)
    return TEMPLATE


@pytest.fixture(scope="session")
def registry_databases(postgres_url: str, migrated_template: str) -> Iterator[Iterator[str]]:
    """Return what gives databases with the registry's empty tables, by turns the same one."""
    databases = _empty_databases(postgres_url, migrated_template)
    yield databases
    databases.close()


@pytest.fixture
def new_registry_database(registry_databases: Iterator[str]) -> str:
    """Return the URL of a PostgreSQL database that has the registry's empty tables."""
    return next(registry_databases)


@contextmanager
def made_database(server_url: str, template: str) -> Iterator[str]:
    """Give the URL of a copy of ``template``, there for the length of the block."""
    name = f"test_{uuid.uuid4().hex}"
    with _connected(server_url) as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    try:
        yield _url_of(server_url, name)
    finally:
        with _connected(server_url) as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def _empty_databases(server_url: str, template: str) -> Generator[str]:
    """Give one database again and again, emptied in between; another after a change of its shape.

    The one before must not be in use any more.
    """
    while True:
        with made_database(server_url, template) as url, _connected(url) as connection:
            made = connection.scalar(text(SHAPE))
            # For the owner of the server: neither triggers nor foreign keys stop the deleting.
            connection.execute(text("SET session_replication_role = replica"))
            while connection.scalar(text(SHAPE)) == made:
                yield url
                connection.execute(text(EMPTY))


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _url_of(server_url: str, name: str) -> str:
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def _make_bucket(address: S3Address) -> None:
    from boto3.session import Session

    session = Session(address.access_key, address.secret_key, region_name="us-east-1")
    session.client("s3", endpoint_url=address.endpoint).create_bucket(Bucket=address.bucket)
