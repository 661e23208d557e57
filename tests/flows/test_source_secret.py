"""A source whose address is a Prefect secret: read by the flow, and written nowhere else."""

import shutil
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.flows.conftest import query_table
from tests.support.commands import environment_of, run_process
from tests.support.places import ROOT

CANARY = "canary-of-the-secret-test"
SAVE = """
import sys
from prefect.blocks.system import Secret
Secret(value=sys.argv[2]).save(sys.argv[1], overwrite=True)
"""
SOURCE = '''[source]
kind = "postgresql"
url = "block:secret/arrivals-url"
query = """
select *, (arr_delay >= 15)::int as late from arrivals where flight_date = :date
"""

[schema]'''
TABLE = """
create table arrivals (
    flight_date date, carrier text, flight int, origin text, arr_delay double precision
)
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Return a lab whose arrivals lie in PostgreSQL, behind a secret."""
    shutil.copytree(ROOT / "lab", tmp_path / "lab")
    file = tmp_path / "lab" / "datasets" / "arrivals" / "dataset.toml"
    before, _, rest = file.read_text().partition("[source]")
    file.write_text(before + SOURCE + rest.partition("[schema]")[2])
    return tmp_path / "lab"


def save_secret(server: str, home: Path, value: str) -> None:
    """Put the address into the Prefect server."""
    settings = {"PREFECT_API_URL": server, "PREFECT_HOME": str(home / "prefect")}
    command = [sys.executable, "-c", SAVE, "arrivals-url", value]
    subprocess.run(command, env=environment_of(home, settings), check=True, capture_output=True)


def fill(address: str) -> None:
    """Write two arrivals."""
    with psycopg.connect(address) as connection:
        connection.execute(TABLE)
        connection.execute("insert into arrivals values ('2013-01-01', 'UA', 1, 'EWR', 5)")
        connection.execute("insert into arrivals values ('2013-01-01', 'UA', 2, 'EWR', -5)")


def holding(folder: Path, sign: str) -> list[str]:
    """Return the files below ``folder`` that hold a text."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if sign.encode() in path.read_bytes()]


def ask_server(server: str, kind: str) -> str:
    """Return all the server has recorded of one kind, as JSON."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server}/{kind}/filter", b"{}", headers)
    with urllib.request.urlopen(request) as reply:
        return str(reply.read().decode())


def test_a_secret_opens_the_source_and_is_written_nowhere(
    server: str, lab: Path, tmp_path: Path, new_database: str
) -> None:
    address = new_database.replace("postgresql+psycopg://", "postgresql://")
    fill(address)
    home = tmp_path / "home"
    # The test's server lets the user in with any password.
    save_secret(server, home, address.replace("postgres:@", f"postgres:{CANARY}@"))
    settings = {"PREFECT_API_URL": server, "PILOTLINE_LAB": str(lab)}
    done = run_process(home, "ingest", "arrivals", "--date", "2013-01-01", settings=settings)
    assert done.status == 0, done.err
    accepted = home / "lake" / "datasets" / "arrivals" / "accepted"
    assert query_table(accepted, "select count(*) as n from t") == [{"n": 2}]
    failed = run_process(home, "ingest", "arrivals", "--date", "2013-01-02", settings=settings)
    assert "the source has no rows for this day" in failed.err
    assert CANARY not in done.out + done.err + failed.out + failed.err
    assert holding(home, CANARY) == []
    for kind in ("logs", "artifacts", "flow_runs", "task_runs", "events"):
        assert CANARY not in ask_server(server, kind)


def test_an_unknown_secret_is_named(server: str, lab: Path, tmp_path: Path) -> None:
    save_secret(server, tmp_path / "home", "postgresql://h/d")
    file = lab / "datasets" / "arrivals" / "dataset.toml"
    file.write_text(file.read_text().replace("secret/arrivals-url", "secret/nobody-s"))
    settings = {"PREFECT_API_URL": server, "PILOTLINE_LAB": str(lab)}
    done = run_process(
        tmp_path / "home", "ingest", "arrivals", "--date", "2013-01-01", settings=settings
    )
    assert done.status != 0
    assert "the Prefect secret 'nobody-s' cannot be read (ValueError). Check its name" in done.err


def test_a_secret_can_be_read_in_a_program_without_a_flow(server: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")):
        save_secret(server, tmp_path, f"sqlite:///{tmp_path}/x.db")
    read = (
        "from pilotline.tasks.sources.credentials import resolve_url; "
        "print(resolve_url('x', 'block:secret/arrivals-url'))"
    )
    settings = {"PREFECT_API_URL": server, "PREFECT_HOME": str(tmp_path / "prefect")}
    done = subprocess.run(
        [sys.executable, "-c", read],
        env=environment_of(tmp_path, settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"sqlite:///{tmp_path}/x.db\n"
