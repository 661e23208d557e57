"""A factory whose Prefect server keeps its facts in PostgreSQL: Debian's, with its contrib modules.

The PostgreSQL of the other tests has no contrib modules, which Prefect needs one of.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pilotline.flows.server.database import prepare_database
from pilotline.tasks.errors import SettingsError
from tests.flows.conftest import Demo, copy_home
from tests.support.flows.running import END_LIMIT_S, ENDS, RUN_LIMIT_S, running
from tests.support.servers.ports import next_port
from tests.support.servers.programs import require
from tests.support.waiting import stretched, wait_until

PROGRAMS = Path("/usr/lib/postgresql")  # where Debian puts each version's
PASSWORD = "canary-5d20b6e1"
START_LIMIT_S = 60


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server of the tests' own, with a role that owns one database."""

    port: int

    def address(self, role: str = "owner", database: str = "prefect", scheme: str = "") -> str:
        """Return the address of a database."""
        there = f"127.0.0.1:{self.port}/{database}"
        return f"postgresql{scheme}://{role}:{PASSWORD}@{there}"

    def ask(self, query: str, database: str = "prefect") -> list[Any]:
        """Return what its administrator reads."""
        with psycopg.connect(self.address("postgres", database), autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []


def programs() -> Path:
    """Return the folder of PostgreSQL's programs; skip without, fail where CI promised them."""
    debian = sorted(PROGRAMS.glob("*/bin"), key=lambda folder: float(folder.parent.name))
    return require("initdb", also=debian[::-1]).parent


@pytest.fixture(scope="module")
def database(shared: Path) -> Iterator[Server]:
    """Return a server in a folder of its own; as root another user runs it, who may enter there."""
    bin_folder = programs()
    folder = Path(tempfile.mkdtemp(prefix="pilotline-debian-pg-"))
    other: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        other = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data, secret, port = folder / "data", folder / "password", next_port(shared)
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    made: list[str | Path] = [
        bin_folder / "initdb",
        "--pgdata",
        data,
        "--username",
        "postgres",
        "--no-sync",
    ]
    made += ["--auth", "scram-sha-256", "--pwfile", secret]
    settings = (f"port={port}", f"unix_socket_directories={folder}", "fsync=off")
    command: list[str | Path] = [bin_folder / "postgres", "-D", data]
    command += [word for setting in settings for word in ("-c", setting)]
    subprocess.run(made, cwd=folder, check=True, capture_output=True, **other)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **other)
    server = Server(port)
    try:
        ready = [str(bin_folder / "pg_isready"), "--host", "127.0.0.1", "--port", str(port)]
        assert wait_until(
            lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0,
            START_LIMIT_S,
        ), (folder / "log").read_text()
        for role in ("owner", "guest"):
            server.ask(f"create role {role} login password '{PASSWORD}'", "postgres")
        server.ask("create database prefect owner owner", "postgres")
        yield server
    finally:
        process.send_signal(signal.SIGINT)  # fast: it waits for nobody's connection
        process.wait(stretched(END_LIMIT_S))
        shutil.rmtree(folder)


def test_a_user_that_may_not_make_the_extension_is_told_what_to_type(database: Server) -> None:
    with pytest.raises(
        SettingsError,
        match=r"its user may not make the extension pg_trgm, which Prefect needs\. "
        r"Let an administrator of that database type: CREATE EXTENSION pg_trgm;$",
    ):
        prepare_database(database.address("guest", scheme="+asyncpg"))


def test_a_password_that_is_wrong_is_told_without_it(database: Server) -> None:
    address = database.address("owner", scheme="+asyncpg").replace(PASSWORD, f"not-{PASSWORD}")
    with pytest.raises(SettingsError, match='password authentication failed for user "owner"') as e:
        prepare_database(address)
    assert PASSWORD not in str(e.value)


def test_a_server_without_the_contrib_modules_is_told(postgres_url: str) -> None:
    with pytest.raises(
        SettingsError, match=r"its server has not the extension pg_trgm, which Prefect needs"
    ):
        prepare_database(postgres_url.replace("+psycopg", "+asyncpg"))


def test_a_factory_runs_a_deployment_with_its_facts_in_postgresql(
    demo: Demo, database: Server, shared: Path, tmp_path: Path
) -> None:
    home = copy_home(demo.home, tmp_path / "home")
    settings = {"PILOTLINE_PREFECT_DB": database.address()}
    with running(home, next_port(shared), settings) as factory:
        (worker,) = factory.children("pilotline.flows.server.worker")
        assert PASSWORD.encode() not in Path(f"/proc/{worker}/environ").read_bytes()
        day = "2013-02-20"
        run = factory.begin("ingest", dataset="arrivals", start=day, end=day)
        query = f"select state_type::text, name from flow_run where id = '{run}'"
        assert wait_until(lambda: database.ask(query)[0][0] in ENDS, RUN_LIMIT_S)
        assert database.ask(query) == [("COMPLETED", f"ingest-arrivals-{day}-{day}")]
        ended = factory.end()
        assert ended.status == 0, ended.err
    assert not (home / "prefect" / "prefect.db").exists()
    kept = [path for path in (home / "prefect").rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if PASSWORD.encode() in path.read_bytes()]
