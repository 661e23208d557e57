"""A home on PostgreSQL and S3, as a team would share it: the demo ran in it, in two goes.

Each file of tests works on a copy of its own: database, objects and folder. The database's user
owns its database and nothing else.
"""

import hashlib
import json
import os
import shutil
import signal
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import Connection, create_engine, make_url, text

from tests.conftest import S3Address, made_database
from tests.support.commands import (
    NOTHING,
    Ran,
    processes_of,
    run_command,
    run_flow,
    start_process,
)
from tests.support.servers.once import Kept, made_once
from tests.support.waiting import stretched, wait_until

PREPARED = ("cache", "prefect")
ONLINE = "online.db"  # the example's source
INTERRUPTED_AFTER = 3  # nights of the demo
END_LIMIT_S = 30  # a server takes its time to stop
ASK_S = 0.5
PASSWORD = "Word:of/the PostgreSQL-tests"  # with what must be quoted in a URL
ROLE = "factory"


@dataclass(frozen=True)
class Interrupted:
    """What came of a demo that somebody ended with Ctrl-C."""

    status: int
    said: list[str]  # the lines on standard error
    left: list[str]  # processes that still named the home


@dataclass(frozen=True)
class Shared:
    """A home whose registry and lake are on servers."""

    home: Path
    s3: S3Address
    prefix: str  # in the bucket
    url: str  # of the registry
    progress: str = ""  # what the demo said on standard error as it ended
    interrupted: Interrupted | None = None  # what the demo came to at first

    @property
    def settings(self) -> dict[str, str]:
        """What the environment of each command names."""
        return self.s3.environment | {
            "PILOTLINE_REGISTRY_URL": self.url,
            "PILOTLINE_BLOBS": f"s3://{self.s3.bucket}/{self.prefix}/blobs",
            "PILOTLINE_LAKE": f"s3://{self.s3.bucket}/{self.prefix}/lake",
        }

    @property
    def secrets(self) -> list[str]:
        """What nobody may say or keep."""
        return [PASSWORD, quote(PASSWORD), self.s3.secret_key, self.s3.access_key]

    def run(self, *words: str, settings: Mapping[str, str] = NOTHING) -> Ran:
        """Run a command; one that runs a flow at the Prefect server that is named."""
        return self._check(run_command(self.home, *words, settings=self.settings | dict(settings)))

    def run_demo(self, server: str, limit_s: float) -> Ran:
        """Run the demo to its end, at a Prefect server that is there."""
        settings = self.settings | {"PREFECT_API_URL": server}
        return self._check(
            run_flow(self.home, "demo", "--json", settings=settings, limit_s=limit_s)
        )

    def interrupt_demo(self, limit_s: float) -> Interrupted:
        """Run the demo, at a server of its own, and end it as Ctrl-C does after some nights."""
        process = start_process(self.home, "demo", "--json", settings=self.settings)
        assert process.stderr is not None
        said: list[str] = []
        listener = threading.Thread(target=said.extend, args=(process.stderr,), daemon=True)
        listener.start()

        def scored() -> bool:
            log = f"lake/predictions/flight-delay/_delta_log/{INTERRUPTED_AFTER:020}.json"
            return process.poll() is not None or self.has_object(log)

        try:
            assert wait_until(scored, limit_s, ASK_S), said
            assert process.poll() is None, said
            os.killpg(process.pid, signal.SIGINT)
            status = process.wait(stretched(END_LIMIT_S))
            listener.join(stretched(END_LIMIT_S))
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        wait_until(lambda: not processes_of(self.home), END_LIMIT_S)
        return Interrupted(status, said, list(processes_of(self.home).values()))

    def ask(self, *words: str) -> Any:
        """Return the JSON that a command answers."""
        ran = self.run(*words, "--json")
        assert ran.status == 0, ran.err
        return ran.json

    def _check(self, ran: Ran) -> Ran:
        """Check that no secret was said."""
        assert [s for s in self.secrets if s in ran.out + ran.err] == []
        return ran

    def query(self, sql: str) -> list[Any]:
        """Return what the database holds."""
        with self.connected() as connection:
            return [(*row,) for row in connection.execute(text(sql))]

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """Give a connection of the database's owner."""
        engine = create_engine(make_url(self.url).set(drivername="postgresql+psycopg"))
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()

    def list_objects(self) -> list[str]:
        """Return the names of its objects, such as lake/..."""
        asked = {"Bucket": self.s3.bucket, "Prefix": f"{self.prefix}/"}
        pages = self.client.get_paginator("list_objects_v2").paginate(**asked)
        keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
        return [key.removeprefix(asked["Prefix"]) for key in keys]

    def has_object(self, name: str) -> bool:
        """Tell whether it has that object."""
        asked = {"Bucket": self.s3.bucket, "Prefix": f"{self.prefix}/{name}", "MaxKeys": 1}
        return bool(self.client.list_objects_v2(**asked)["KeyCount"])

    def get_object(self, name: str) -> bytes:
        """Return one of its objects."""
        asked = {"Bucket": self.s3.bucket, "Key": f"{self.prefix}/{name}"}
        data: bytes = self.client.get_object(**asked)["Body"].read()
        return data

    @cached_property
    def client(self) -> Any:
        """A client of the S3; making one takes longer than to ask it."""
        from boto3.session import Session

        session = Session(self.s3.access_key, self.s3.secret_key, region_name="us-east-1")
        return session.client("s3", endpoint_url=self.s3.endpoint)

    def find_secrets(self) -> list[tuple[str, str]]:
        """Return which secret lies where in the home, the bucket and the database."""
        return [
            (where, secret)
            for where, data in self._everything_kept()
            for secret in self.secrets
            if secret.encode() in data
        ]

    def _everything_kept(self) -> Iterator[tuple[str, bytes]]:
        for path in self.home.rglob("*"):
            if path.is_file():
                yield str(path), path.read_bytes()
        for key in self.list_objects():
            yield key, self.get_object(key)
        tables = self.query("select relname from pg_stat_user_tables")
        assert len(tables) > 20
        for (name,) in tables:
            yield name, repr(self.query(f'select * from "{name}"')).encode()


def run_shared_demo(
    postgresql: Kept, s3: S3Address, prefect: str, prepared: Path, limit_s: float
) -> Path:
    """Return the folder of the one home in which the demo ran, for ``shared_copy``.

    Args:
        postgresql: the database server.
        s3: where its objects go.
        prefect: the server at which the second go runs.
        prepared: a home of which is taken what any later command finds prepared.
        limit_s: for each of the two goes.
    """
    # In the server's folder: another server would know nothing of it. As little another S3.
    name = f"shared-demo-{hashlib.sha256(s3.endpoint.encode()).hexdigest()[:12]}"
    server = postgresql.facts["url"]

    def make(folder: Path) -> None:
        with _administering(server) as connection:
            known = text("select 1 from pg_roles where rolname = :role")
            if connection.scalar(known, {"role": ROLE}) is None:  # a server's, not a database's
                connection.execute(text(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'"))
            connection.execute(text(f"CREATE DATABASE {_database(name)} OWNER {ROLE}"))
        url = make_url(server).set(database=_database(name)).render_as_string(hide_password=False)
        original = Shared(folder / "home", s3, name, _own(server, url))
        for part in PREPARED:
            shutil.copytree(prepared / part, original.home / part)
        shutil.copy(prepared / ONLINE, original.home)
        with _own_account_only():
            interrupted = original.interrupt_demo(limit_s)
            ran = original.run_demo(prefect, limit_s)
        assert ran.status == 0, ran.err
        said = {"progress": ran.err, "bucket": s3.bucket, "interrupted": asdict(interrupted)}
        (folder / "said.json").write_text(json.dumps(said), "utf-8")

    return made_once(postgresql.folder, name, make)


@contextmanager
def shared_copy(made: Path, postgresql: Kept, s3: S3Address, folder: Path) -> Iterator[Shared]:
    """Give a copy of that home: in ``folder``, with a database and objects of its own."""
    server, name = postgresql.facts["url"], made.name
    said = json.loads((made / "said.json").read_text("utf-8"))
    with made_database(server, _database(name)) as url, _own_account_only():
        original = Shared(made / "home", replace(s3, bucket=said["bucket"]), name, "")
        own = _own(server, url)
        interrupted = Interrupted(**said["interrupted"])
        copy = Shared(folder / "home", s3, uuid.uuid4().hex, own, said["progress"], interrupted)
        _copy_objects(original, copy)
        shutil.copytree(original.home, copy.home)
        yield copy


@contextmanager
def _own_account_only() -> Iterator[None]:
    """Let no account of the user's lead to S3."""
    with pytest.MonkeyPatch.context() as unset:
        for variable in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            unset.delenv(variable, raising=False)
        yield


def _database(name: str) -> str:
    return name.replace("-", "_")


def _own(server: str, url: str) -> str:
    """Return the URL of a database as the role that owns it."""
    found = make_url(url)
    with _administering(server) as connection:
        connection.execute(text(f"ALTER DATABASE {found.database} OWNER TO {ROLE}"))
    owned = found.set(drivername="postgresql", username=ROLE, password=PASSWORD)
    return owned.render_as_string(hide_password=False)


@contextmanager
def _administering(server: str) -> Iterator[Connection]:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _copy_objects(original: Shared, copy: Shared) -> None:
    client = original.client
    for name in original.list_objects():
        source = {"Bucket": original.s3.bucket, "Key": f"{original.prefix}/{name}"}
        key = f"{copy.prefix}/{name}"
        client.copy_object(Bucket=copy.s3.bucket, Key=key, CopySource=source)
