"""No secret is said, logged or kept: a day and a release of a factory on PostgreSQL and S3.

Everything happens once, at a real Prefect server; then all that anybody said or kept is searched.
"""

import base64
import re
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from pilotline.flows.server.choice import FOR_PREFECT
from tests.conftest import S3Address, made_database
from tests.flows.conftest import Demo, query_sqlite
from tests.support.commands import Ran, processes_of, run_here, run_process
from tests.support.flows.approvals import KEY, OPERATOR, REVIEWER, Desk, OwnServer
from tests.support.flows.factory import CHALLENGER, MODEL
from tests.support.flows.listener import Listener
from tests.support.places import ROOT
from tests.support.servers.once import Kept

DAY = "2013-02-01"
CANARIES = {
    "registry's password": "canary-of-the-registry",
    "source's password": "canary-of-the-source",
    "address of who is told": "canary-of-the-hook",
    "approvals' key": KEY,
    "approvals' key, as bytes": base64.b64decode(KEY).decode(),
}
SOURCE = '''[source]
kind = "postgresql"
url = "env:FLIGHTS_DB_URL"
query = """
select *, extract(dow from flight_date)::bigint as weekday from flights where flight_date = :date
"""

[schema]'''
TABLE = """
create table flights (
    flight_date date, carrier text, flight bigint, origin text, dest text, tailnum text,
    hour bigint, minute bigint, distance bigint, dep_delay double precision
)
"""


@dataclass(frozen=True, kw_only=True)
class Told(Desk):
    """A home on servers, whose environment holds the secrets, and all that was said in it."""

    secrets: dict[str, str]
    lab: Path
    said: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        """What the environment of each command and run names."""
        return super().settings | FOR_PREFECT | {"PILOTLINE_LAB": str(self.lab)}

    def command(self, *words: str, **settings: str) -> Ran:
        """Run a command in the home, at the server, and keep what it says."""
        ran = run_process(self.home, *words, settings=self.settings | settings)
        self.said.extend((ran.out, ran.err))
        return ran

    def must(self, *words: str) -> Ran:
        """Run a command that succeeds."""
        ran = self.command(*words)
        assert ran.status == 0, f"{words}: {ran.out}{ran.err}"
        return ran


def fill(address: str, online: Path) -> None:
    """Write the day's flights into PostgreSQL."""
    rows = query_sqlite(online, "select * from flights where flight_date = ?", DAY)
    with psycopg.connect(address) as connection:
        connection.execute(TABLE)
        marks = ", ".join(["%s"] * 10)
        connection.cursor().executemany(f"insert into flights values ({marks})", rows)


def make_lab(folder: Path) -> Path:
    """Return a lab whose flights lie in PostgreSQL."""
    shutil.copytree(ROOT / "lab", folder / "lab")
    file = folder / "lab" / "datasets" / "flights" / "dataset.toml"
    before, _, rest = file.read_text().partition("[source]")
    file.write_text(before + SOURCE + rest.partition("[schema]")[2])
    return folder / "lab"


def with_password(url: str, password: str) -> str:
    """Return the address with a password, which the tests' server does not look at."""
    return make_url(url).set(password=password).render_as_string(hide_password=False)


@contextmanager
def watched_processes(home: Path) -> Iterator[dict[str, str]]:
    """Give what processes of the home show while the block runs: to all, and models within."""
    seen: dict[str, str] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            for pid, command in processes_of(home).items():
                seen[f"command line of {pid}"] = command
                if "harness.py" in command:
                    try:
                        shown = Path(f"/proc/{pid}/environ").read_bytes()
                    except OSError:
                        continue
                    seen[f"environment of the model's process {pid}"] = shown.decode()

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


@pytest.fixture(scope="module")
def told(
    demo: Demo,
    own_server: OwnServer,
    postgres_url: str,
    s3_address: S3Address,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Told, dict[str, str]]]:
    """Return a home in which a day was scored and a version released, and its processes."""
    folder = tmp_path_factory.mktemp("secrets")
    archive = folder / "model.tar.gz"
    exported = run_here(demo.home, "export", MODEL, "--out", str(archive))
    assert exported.status == 0, exported.err
    (folder / "home").mkdir()
    shutil.copy(ROOT / "deployments" / "policy-demo.toml", folder / "home" / "policy.toml")
    with (
        made_database(postgres_url, "template1") as registry,
        made_database(postgres_url, "template1") as source,
        Listener() as listener,
        pytest.MonkeyPatch.context() as own_only,
    ):
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):  # no account of the user's
            own_only.delenv(name, raising=False)
        plain = source.replace("+psycopg", "")
        fill(plain, demo.home / "online.db")
        more = s3_address.environment | {
            "PILOTLINE_REGISTRY_URL": with_password(registry, CANARIES["registry's password"]),
            "PILOTLINE_BLOBS": f"s3://{s3_address.bucket}/secrets/blobs",
            "FLIGHTS_DB_URL": with_password(plain, CANARIES["source's password"]),
            "PILOTLINE_NOTIFY": (
                f"json://127.0.0.1:{listener.port}/{CANARIES['address of who is told']}"
            ),
            "PILOTLINE_LOG": "json",
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
        }
        secrets = CANARIES | {
            "S3 secret": s3_address.secret_key,
            "S3 name": s3_address.access_key,
        }
        lab = make_lab(folder)
        told = Told(home=folder / "home", url=own_server, secrets=secrets, lab=lab, more=more)
        told.must("import", str(archive))
        with watched_processes(told.home) as seen:
            live(told)
        assert listener.heard  # by an address with a secret in it
        yield told, seen


def live(told: Told) -> None:
    """Ingest and score a day, fail to, and release a version with codes by form and by command."""
    told.must("ingest", "flights", "--date", DAY)
    told.must("score", MODEL, "--date", DAY)
    empty = told.command("ingest", "flights", "--date", "2014-01-01")
    assert (empty.status, "no rows" in empty.err) == (1, True)
    nowhere = "http://127.0.0.1:1"
    shadow = ("--date", DAY, "--shadow", CHALLENGER)
    lost = told.command("score", MODEL, *shadow, AWS_ENDPOINT_URL=nowhere)
    assert lost.status == 1
    before = len(told.said)
    phones = told.ask_for_codes()
    told.secrets["device of the reviewer"] = phones[REVIEWER].secret
    told.secrets["device of operations"] = phones[OPERATOR].secret
    del told.said[before:]  # what enrols a device is shown once, to whoever holds it
    run = told.start()
    code = phones[REVIEWER].at(datetime.now(UTC) + timedelta(seconds=30))  # the present one vouched
    told.codes.append(code)
    assert told.answer(run, code=code) == "ACCEPT"
    told.execute(run)
    assert told.state(run)["state_details"]["pause_key"].startswith("go-live-1-")
    code = phones[OPERATOR].now()
    told.codes.append(code)
    assert told.answer(run, approver=OPERATOR, code=code) == "ACCEPT"  # the command is quicker
    words = ("--gate", "go-live", "--by", OPERATOR, "--code", code, "--comment", "go")
    told.must("approve", MODEL, CHALLENGER, *words)
    told.execute(run)
    assert "now champion" in told.state(run)["message"]


def everything_kept(told: Told, prefect: Kept) -> Iterator[tuple[str, bytes]]:
    """Give all that was said, and all that lies in the home and at the Prefect server."""
    for said in (*told.said, *told.printed):
        yield "output", said.encode()
    for path in told.home.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()
    for path in prefect.folder.iterdir():
        if path.is_file():  # the database, what is not yet in it, the server's log
            yield str(path), path.read_bytes()


def find(kept: Iterator[tuple[str, bytes]], told: Told) -> list[tuple[str, str]]:
    """Return where which secret is."""
    return [
        (where, name)
        for where, data in kept
        for name, secret in told.secrets.items()
        if secret.encode() in data
    ]


def test_no_secret_is_in_what_is_said_logged_or_kept(
    told: tuple[Told, dict[str, str]], own_prefect: Kept
) -> None:
    kept = everything_kept(told[0], own_prefect)
    assert find(kept, told[0]) == []


def test_no_secret_is_in_a_command_line_or_with_a_model(
    told: tuple[Told, dict[str, str]],
) -> None:
    desk, seen = told
    assert [where for where in seen if where.startswith("environment")]
    kept = ((where, shown.encode()) for where, shown in seen.items())
    assert find(kept, desk) == []


def test_a_code_that_was_typed_into_the_form_is_gone_from_the_server(
    told: tuple[Told, dict[str, str]], own_prefect: Kept
) -> None:
    database = own_prefect.folder / "prefect.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as server:
        named = server.execute("select name from sqlite_master where type = 'table'").fetchall()
        rows = {n: repr(server.execute(f'select * from "{n}"').fetchall()) for (n,) in named}
    for code in told[0].codes:
        # Six digits stand in a time or a digest by chance; a code stands alone.
        alone = re.compile(rf"(?<![0-9a-f.-]){code}(?![0-9a-f])")
        assert [name for name, text in rows.items() if alone.search(text)] == []
        assert not [said for said in (*told[0].said, *told[0].printed) if alone.search(said)]
