"""The command as a user runs it: a real process, a home the demo made, looks at both from outside.

The demo is run once for all workers: whoever comes first runs it, the others wait. Tests that
change a home get a copy; those that only read use the demo's own.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import S3Address
from tests.support.commands import (
    NOTHING,
    Ran,
    processes_of,
    run_flow,
    run_here,
    run_process,
)
from tests.support.flows.approvals import OwnServer
from tests.support.flows.factory import MODEL, Owing, make_owing
from tests.support.flows.shared_homes import Shared, run_shared_demo, shared_copy
from tests.support.places import ROOT
from tests.support.servers.once import Kept, made_once
from tests.support.servers.prefect_server import make_tables, prefect_server

LINKED = ("blobs", "cache")  # into copies of homes
DEMO_LIMIT_S = 400  # stretched; it takes 60 s on two idle cores

# Runs in a process of its own: what an outsider with nothing but the deltalake package reads.
OUTSIDER = """
import json, sys
from deltalake import DeltaTable, QueryBuilder
table = DeltaTable(sys.argv[1])
rows = QueryBuilder().register("t", table).execute(sys.argv[2]).read_all()
json.dump(rows.to_struct_array().to_pylist(), sys.stdout, default=str)
"""


@dataclass(frozen=True)
class Demo:
    """The home that ``pilotline demo --json`` made, and what the command said."""

    home: Path
    ran: Ran
    left: dict[str, str]  # processes that named the home when the command had ended

    @property
    def summary(self) -> Any:
        """The facts it printed."""
        return self.ran.json


Run = Callable[..., Ran]


def query_table(
    table: Path | str, sql: str, settings: Mapping[str, str] = NOTHING
) -> list[dict[str, Any]]:
    """Return the rows that ``sql`` finds in a Delta table, which it calls ``t``."""
    command = [sys.executable, "-c", OUTSIDER, str(table), sql]
    environment = os.environ | settings
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def query_sqlite(path: Path, sql: str, *values: object) -> list[Any]:
    """Return the rows that ``sql`` finds in a SQLite file, opened read-only."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return database.execute(sql, values).fetchall()


def predictions_of(home: Path, where: str = "true") -> list[tuple[Any, ...]]:
    """Return production's predictions sorted by key, each probability to its last bit."""
    return predictions_in(f"{home}/lake", where)


def predictions_in(
    lake: str, where: str = "true", settings: Mapping[str, str] = NOTHING
) -> list[tuple[Any, ...]]:
    """Return what ``predictions_of`` does, from a lake that may lie elsewhere."""
    rows = query_table(
        f"{lake}/predictions/flight-delay",
        "select flight_date, carrier, flight, origin, probability from t "
        f"where variant = 'production' and {where} order by 1, 2, 3, 4",
        settings,
    )
    return [(*row.values(),) for row in rows]


def contents_of(home: Path) -> dict[str, Any]:
    """Return what a home holds: rows by table of the registry, commits by Delta table, leftovers.

    Two equal answers mean that nothing was written in between.
    """
    registry = home / "registry.db"
    tables = query_sqlite(registry, "select name from sqlite_master where type = 'table'")
    counts = {t: query_sqlite(registry, f'select count(*) from "{t}"')[0][0] for (t,) in tables}
    commits = sorted(str(p.relative_to(home)) for p in (home / "lake").rglob("_delta_log/*.json"))
    return {"rows": counts, "commits": commits, "scratch": sorted(os.listdir(home / "scratch"))}


def copy_home(home: Path, target: Path) -> Path:
    """Copy a home; it works at its new place. Prefect's own files, which are not facts, stay.

    Wheels among the blobs and compiled bytecode are large, so their files are shared: pilotline
    replaces or removes them. A test that damages one replaces it too.
    """
    target.mkdir(parents=True)
    for path in home.iterdir():
        copy = os.link if path.name in LINKED else shutil.copy2
        if path.is_file():
            copy(path, target / path.name)
        elif path.name != "prefect":
            shutil.copytree(path, target / path.name, copy_function=copy)
    return target


def copy_record(home: Path, target: Path) -> Path:
    """Copy a home's registry, blobs and policy: enough to decide, to look up and to move.

    The blobs' files are shared, as those of ``copy_home`` are: replace one to change it.
    """
    target.mkdir()
    for name in ("registry.db", "policy.toml"):
        shutil.copy(home / name, target)
    shutil.copytree(home / "blobs", target / "blobs", copy_function=os.link)
    return target


def damaged_blobs(home: Path) -> list[str]:
    """Return the blobs of a home whose bytes are not those that their names say."""
    return [
        path.name
        for path in (home / "blobs").glob("??/*")
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.name
    ]


@pytest.fixture(scope="session")
def demo(shared: Path) -> Iterator[Demo]:
    """Return the home of one demo run that all workers share; only read it.

    At the end of the session its blobs are checked, which all copies of it share.
    """

    def make(folder: Path) -> None:
        home = folder / "home"
        ran = run_process(home, "demo", "--json", limit_s=DEMO_LIMIT_S)
        (folder / "said.json").write_text(json.dumps([vars(ran), processes_of(home)]), "utf-8")
        assert ran.status == 0, ran.err

    folder = made_once(shared, "demo", make)
    facts, left = json.loads((folder / "said.json").read_text("utf-8"))
    yield Demo(folder / "home", Ran(**facts), left)
    assert damaged_blobs(folder / "home") == [], "a test wrote into a blob of the demo's home"


@pytest.fixture(scope="session")
def owing(demo: Demo, server: str, shared: Path) -> Owing:
    """Return a home whose champion owes some nights; only read it."""

    def make(folder: Path) -> None:
        make_owing(folder, copy_home(demo.home, folder / "home"), server)

    folder = made_once(shared, "owing", make)
    since = json.loads((folder / "since").read_text("utf-8"))
    return Owing(folder / "home", datetime.fromisoformat(since))


@dataclass(frozen=True)
class Fortnight:
    """A home with two more weeks ingested, and what scoring them undisturbed gives."""

    unscored: Path
    predictions: list[tuple[Any, ...]]

    def of(self, first: str, last: str) -> list[tuple[Any, ...]]:
        """Return the predictions of some of its days."""
        return [row for row in self.predictions if first <= row[0] <= last]


@pytest.fixture(scope="session")
def fortnight(demo: Demo, server: str, shared: Path) -> Fortnight:
    """Return 15 February to 1 March, ingested, and the predictions of February; only read it."""
    days = ("--start", "2013-02-15", "--end", "2013-02-28")
    named = {"PREFECT_API_URL": server}

    def make(folder: Path) -> None:
        home = copy_home(demo.home, folder / "home")
        more = (*days[:-1], "2013-03-01")
        ingested = run_flow(home, "ingest", "flights", *more, settings=named)
        assert ingested.status == 0, ingested.err
        calm = copy_home(home, folder / "calm")
        words = ("backfill", MODEL, *days, "--using", "champion")
        scored = run_flow(calm, *words, settings=named)
        assert scored.status == 0, scored.err
        since = f"flight_date >= date '{days[1]}' and flight_date < date '2013-03-01'"
        found = predictions_of(calm, since)
        (folder / "predictions.json").write_text(json.dumps(found), "utf-8")
        shutil.rmtree(calm)

    folder = made_once(shared, "fortnight", make)
    found = json.loads((folder / "predictions.json").read_text("utf-8"))
    return Fortnight(folder / "home", [tuple(row) for row in found])


@pytest.fixture(scope="module")
def home(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a copy of the demo's home for one file of tests, which may change it."""
    folder = tmp_path_factory.mktemp("copy")
    yield copy_home(demo.home, folder / "home")
    shutil.rmtree(folder)  # 90 MB


@pytest.fixture
def record(demo: Demo, tmp_path: Path) -> Path:
    """Return a small home with the demo's record alone, which a test may change."""
    return copy_record(demo.home, tmp_path / "home")


@pytest.fixture(scope="session")
def shared_demo(demo: Demo, server: str, postgresql: Kept, s3_address: S3Address) -> Path:
    """Return the folder of one demo run on PostgreSQL and S3, which is only copied."""
    return run_shared_demo(postgresql, s3_address, server, demo.home, DEMO_LIMIT_S)


@pytest.fixture(scope="module")
def there(
    shared_demo: Path,
    postgresql: Kept,
    s3_address: S3Address,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shared]:
    """Return a home on PostgreSQL and S3 that one file of tests may change."""
    folder = tmp_path_factory.mktemp("there")
    with shared_copy(shared_demo, postgresql, s3_address, folder) as copy:
        yield copy


@pytest.fixture(scope="session")
def prefect_tables(shared: Path) -> Path:
    """Return an empty database of Prefect's."""
    return make_tables(shared)


@pytest.fixture(scope="session")
def prefect(shared: Path, prefect_tables: Path) -> Iterator[Kept]:
    """Return a running Prefect server, with the folder that holds its database and log."""
    with prefect_server(shared, prefect_tables, "prefect") as kept:
        yield kept


@pytest.fixture(scope="session")
def server(prefect: Kept) -> str:
    """Return the address of that server; naming it saves each command 4 s."""
    return prefect.facts["url"]


@pytest.fixture(scope="module")
def own_prefect(
    shared: Path, prefect_tables: Path, request: pytest.FixtureRequest
) -> Iterator[Kept]:
    """Return a server on which no other file's runs wait, wake or are counted."""
    name = f"prefect-of-{Path(request.path).stem}"
    with prefect_server(shared, prefect_tables, name) as kept:
        yield kept


@pytest.fixture(scope="module")
def own_server(own_prefect: Kept) -> OwnServer:
    """Return the address of that server."""
    return OwnServer(own_prefect.facts["url"])


@pytest.fixture
def read(demo: Demo) -> Run:
    """Return a function that runs a reading command in the demo's own home, in this process."""

    def run(*words: str, **settings: str) -> Ran:
        return run_here(demo.home, *words, settings=settings)

    return run


@pytest.fixture
def pilotline(home: Path, server: str) -> Run:
    """Return a function that runs a command in this file's copy, at the running server."""

    def run(*words: str, **settings: str) -> Ran:
        return run_flow(home, *words, settings={"PREFECT_API_URL": server} | settings)

    return run


def approve_challenger(home: Path) -> None:
    """Bring 1.0.1 through both gates, as two people would; the demo leaves it for them."""
    from pilotline.registry.gates.approvals import Decision
    from pilotline.registry.record.verifications import Verification, record_verification
    from pilotline.registry.record.versions import get_version
    from pilotline.tasks.decide.decisions import record_decision
    from pilotline.tasks.home import find_home
    from pilotline.tasks.verify.verification import platform

    where = find_home({"PILOTLINE_HOME": str(home), "PILOTLINE_LAB": str(ROOT / "lab")}, ROOT)
    model, number = "flight-delay", "1.0.1"
    said = Decision("review", "approve", "reviewer@example.org", "read it")
    record_decision(where, model, number, said)
    with where.open_registry() as registry:
        report = registry.blobs.put(b"{}")
        passed = Verification(
            passed=True, summary="parity", report_digest=report, platform=platform(), isolation="A"
        )
        with registry.write() as session:
            record_verification(session, get_version(session, model, number), passed)
    said = Decision("go-live", "approve", "operations@example.org", "ready")
    record_decision(where, model, number, said)
