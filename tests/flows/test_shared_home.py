"""The demo and every command of the record on PostgreSQL and S3, as a team would share them.

The database's user owns its database and nothing else. What is expected is counted in the database
and the bucket themselves.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, make_url, text

from tests.conftest import S3Address, made_database
from tests.flows.conftest import DEMO_LIMIT_S, Demo, predictions_in, predictions_of
from tests.flows.listener import Listener
from tests.support.commands import COMMAND_LIMIT_S, NOTHING, ROOT, Ran, run_process

MODEL = "flight-delay"
DAY = "2013-02-01"
UNSCORED = "2013-01-10"  # ingested by the demo, and not scored
KEY = "carrier=UA,flight=1018,origin=EWR"
REVIEWER, OPERATIONS = "reviewer@example.org", "operations@example.org"
PASSWORD = "Word:of/the PostgreSQL-tests"  # with what must be quoted in a URL
VERIFY = ROOT / "docs" / "reference" / "verify_chain.py"


@dataclass(frozen=True)
class Shared:
    """A home whose registry is on servers, and all that commands said of it."""

    home: Path
    s3: S3Address
    settings: dict[str, str]
    said: list[str] = field(default_factory=list)

    def run(
        self,
        *words: str,
        settings: Mapping[str, str] = NOTHING,
        limit_s: float = COMMAND_LIMIT_S,
    ) -> Ran:
        """Run a command there."""
        settings = self.settings | dict(settings)
        ran = run_process(self.home, *words, settings=settings, limit_s=limit_s)
        self.said.extend((ran.out, ran.err))
        return ran

    def ask(self, *words: str) -> Any:
        """Return the JSON that a command answers."""
        ran = self.run(*words, "--json")
        assert ran.status == 0, ran.err
        return ran.json

    def query(self, sql: str) -> list[Any]:
        """Return what the database holds."""
        with self.connected() as connection:
            return [(*row,) for row in connection.execute(text(sql))]

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """Give a connection of the database's owner."""
        url = make_url(self.settings["PILOTLINE_REGISTRY_URL"])
        engine = create_engine(url.set(drivername="postgresql+psycopg"))
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()

    def predictions(self, where: str = "true") -> list[tuple[Any, ...]]:
        """Return production's predictions as somebody with nothing but deltalake reads them."""
        return predictions_in(self.settings["PILOTLINE_LAKE"], where, self.s3.environment)

    def list_objects(self) -> list[str]:
        """Return the names of the bucket's objects."""
        pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=self.s3.bucket)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def get_object(self, key: str) -> bytes:
        """Return an object of the bucket."""
        data: bytes = self._client().get_object(Bucket=self.s3.bucket, Key=key)["Body"].read()
        return data

    def _client(self) -> Any:
        from boto3.session import Session

        session = Session(self.s3.access_key, self.s3.secret_key, region_name="us-east-1")
        return session.client("s3", endpoint_url=self.s3.endpoint)


@pytest.fixture(scope="module")
def shared(
    postgres_url: str, s3_address: S3Address, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shared]:
    """Return the home of one demo run on PostgreSQL and S3."""
    with made_database(postgres_url, "template1") as url, pytest.MonkeyPatch.context() as own_only:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):  # no account of the user's
            own_only.delenv(name, raising=False)
        owner = own(postgres_url, url)
        settings = s3_address.environment | {
            "PILOTLINE_REGISTRY_URL": owner,
            "PILOTLINE_BLOBS": f"s3://{s3_address.bucket}/factory/blobs",
            "PILOTLINE_LAKE": f"s3://{s3_address.bucket}/factory/lake",
        }
        shared = Shared(tmp_path_factory.mktemp("shared") / "home", s3_address, settings)
        ran = shared.run("demo", "--json", limit_s=DEMO_LIMIT_S)
        assert ran.status == 0, ran.err
        yield shared


def own(server_url: str, url: str) -> str:
    """Return the URL of a database as a user of its own, who owns it."""
    found = make_url(url)
    engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE ROLE factory LOGIN PASSWORD '{PASSWORD}'"))
            connection.execute(text(f"ALTER DATABASE {found.database} OWNER TO factory"))
    finally:
        engine.dispose()
    owned = found.set(drivername="postgresql", username="factory", password=PASSWORD)
    return owned.render_as_string(hide_password=False)


def test_the_demo_ends_as_on_a_home_of_its_own(shared: Shared) -> None:
    found = shared.ask("show", MODEL)
    versions = [(v["version"], v["status"], v["aliases"]) for v in found["versions"]]
    assert versions == [
        ("1.0.0", "approved", ["champion"]),
        ("1.0.1", "registered", ["challenger"]),
    ]
    assert shared.query("select count(*) from run_outcome where state = 'succeeded'") == [(35,)]
    warned = "the demo's approvals are names only, and go into the shared registry postgresql"
    assert warned in shared.said[1]  # its progress


def test_nothing_of_the_registry_and_the_lake_lies_in_the_home(shared: Shared) -> None:
    left = {path.name for path in shared.home.iterdir()}
    assert not left & {"registry.db", "blobs", "lake"}
    assert list((shared.home / "scratch").iterdir()) == []
    blobs = [key for key in shared.list_objects() if key.startswith("factory/blobs/")]
    assert len(blobs) > 20


def test_the_predictions_are_those_of_a_lake_in_a_folder(shared: Shared, demo: Demo) -> None:
    here = predictions_of(demo.home)
    assert len(here) > 20_000
    assert shared.predictions() == here


def test_a_day_in_parts_comes_into_the_bucket_whole(shared: Shared, server: str) -> None:
    policy = shared.home / "policy.toml"
    before = policy.read_text("utf-8")
    policy.write_text(f"{before}\n[scoring]\nshard_rows = 100\nworkers = 2\n", "utf-8")
    try:
        done = shared.run(
            "score", MODEL, "--date", UNSCORED, "--json", settings={"PREFECT_API_URL": server}
        )
    finally:
        policy.write_text(before, "utf-8")
    assert done.status == 0, done.err
    assert done.json["resources"]["shards"] >= 1
    parts = [key for key in shared.list_objects() if "/parts/" in key]
    assert len(parts) == len(set(parts)) >= 1
    ((accepted,),) = shared.query(
        f"select accepted from ingest where date = '{UNSCORED}' and dataset = 'flights'"
    )
    assert len(shared.predictions(f"flight_date = date '{UNSCORED}'")) == accepted
    assert list((shared.home / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("models",), [MODEL, "1.0.0", "2013-07-21"]),
        (("show", f"{MODEL}@champion"), ["1.0.0", "approved", REVIEWER, OPERATIONS, "claimed"]),
        (("history", MODEL), ["1.0.0", REVIEWER, OPERATIONS]),
        (("search", "late", "--feature", "dest"), ["Models found: 1", MODEL, "1.0.0"]),
        (("search", "--metric", "roc_auc>=0.5", "--sort", "usage"), ["Models found: 1", MODEL]),
        (("diff", MODEL, "1.0.0", "1.0.1"), ["1.0.0 -> 1.0.1", "only data", "roc_auc"]),
        (("lineage", f"{MODEL}@1.0.0"), ["learned from flights 2013-01-01", "flight-delay 1.0.1"]),
        (("lineage", "flights", "--date", DAY), ["scored it, production by flight-delay 1.0.0"]),
        (("lineage", MODEL, "--date", DAY, "--key", KEY), ["probability 0.", "ingested"]),
        (("trace", MODEL, "--date", DAY, "--key", KEY), ["1.0.0", "probability", REVIEWER]),
        (("audit", "verify"), ["every chain verifies"]),
        (("audit", "head"), [f"{MODEL} "]),
        (("gc", "--plan"), ["would remove 0 blobs"]),
        (("approvers", "list"), [REVIEWER, "review", OPERATIONS, "go-live"]),
        (("consumers", "list", MODEL), [f"No consumer of {MODEL} is registered"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_reading_commands_say_it_to_people_and_to_programs(
    words: tuple[str, ...], needed: list[str], shared: Shared
) -> None:
    before = shared.query("select count(*), max(id) from event")
    shown = shared.run(*words)
    assert shown.status == 0, shown.err
    for part in needed:
        assert part in shown.out
    assert shared.ask(*words) is not None
    assert shared.query("select count(*), max(id) from event") == before


def test_a_prediction_is_traced_to_the_run_that_the_database_names(shared: Shared) -> None:
    ((run, lock),) = shared.query(
        "select run.id, lock_digest from run join scored_partition s on s.visible_run = run.id "
        f"where s.date = '{DAY}'"
    )
    found = shared.ask("trace", MODEL, "--date", DAY, "--key", KEY)
    assert (found["run"]["id"], found["environment"]["lock"]) == (run, lock)
    locks = (ROOT / "lab" / "models" / MODEL / "requirements.lock").read_bytes()
    assert shared.get_object(f"factory/blobs/{lock[:2]}/{lock}") == locks


def test_the_audit_counts_what_database_and_bucket_hold(shared: Shared) -> None:
    found = shared.ask("audit", "verify")
    ((events, chains),) = shared.query("select count(*), count(distinct chain) from event")
    assert (found["sound"], found["events"], found["chains"]) == (True, events, chains)
    stored = [
        key for key in shared.list_objects() if re.fullmatch(r"factory/blobs/../[0-9a-f]{64}", key)
    ]
    plan = shared.ask("gc", "--plan")
    assert plan["kept"] + plan["young"] + len(plan["removed"]) == len(stored)


def test_the_exported_chain_is_verified_without_pilotline(shared: Shared, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text(shared.run("audit", "export").out, "utf-8")
    heads = {head["chain"]: head for head in shared.ask("audit", "head")}
    command = [sys.executable, VERIFY, events, *(head["hash"] for head in heads.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for chain, head in heads.items():
        assert f"{chain}: {head['seq']} events, head {head['hash']}" in done.stdout
    assert shared.run("audit", "verify", "--head", heads[MODEL]["hash"]).status == 0
    lost = shared.run("audit", "verify", "--head", "0" * 64)
    assert lost.status == 1
    assert "0" * 12 in lost.err


def test_a_row_changed_by_an_administrator_is_found_and_not_scored(shared: Shared) -> None:
    def change(author: str) -> None:
        with shared.connected() as connection:
            connection.execute(text("ALTER TABLE model_version DISABLE TRIGGER USER"))
            connection.execute(text("update model_version set author = :a"), {"a": author})
            connection.execute(text("ALTER TABLE model_version ENABLE TRIGGER USER"))

    ((author,),) = shared.query("select distinct author from model_version")
    change("mallory@example.org")
    try:
        found = shared.run("audit", "verify", "--json")
        assert (found.status, found.json["sound"]) == (1, False)
        assert "mallory@example.org" in found.json["problem"]
    finally:
        change(author)
    assert shared.run("audit", "verify").status == 0


def test_a_model_moves_to_a_home_of_its_own_with_its_history(
    shared: Shared, tmp_path: Path
) -> None:
    archive, own_home = tmp_path / "model.tar.gz", tmp_path / "own"
    own_home.mkdir()
    shutil.copy(ROOT / "deployments" / "policy-demo.toml", own_home / "policy.toml")
    written = shared.ask("export", MODEL, "--out", str(archive))
    ((events,),) = shared.query(f"select count(*) from event where chain = '{MODEL}'")
    assert (written["versions"], written["events"]) == (2, events)
    again = shared.run("export", MODEL, "--out", str(archive))
    assert (again.status, "exists already" in again.err) == (1, True)

    imported = run_process(own_home, "import", str(archive), "--json")
    assert imported.status == 0, imported.err
    assert (imported.json["new"], imported.json["head"]) == (True, written["head"])
    assert "nothing to do" in run_process(own_home, "import", str(archive)).out
    assert run_process(own_home, "history", MODEL, "--json").json == shared.ask("history", MODEL)
    assert run_process(own_home, "audit", "verify", "--head", written["head"]).status == 0
    back = shared.run("import", str(archive))
    assert (back.status, "nothing to do" in back.out) == (0, True)


def test_a_recorded_run_is_replayed_equal(shared: Shared, server: str) -> None:
    ((run, rows),) = shared.query(
        "select r.id, o.rows from run r join run_outcome o on o.run_id = r.id "
        f"where r.date = '{DAY}'"
    )
    done = shared.run("replay", run, "--json", settings={"PREFECT_API_URL": server})
    assert (done.status, done.json["equal"]) == (0, True), done.err
    assert done.json["figures"]["replayed"] == rows


def test_a_challenger_lives_its_whole_life(shared: Shared, server: str) -> None:
    def run(*words: str) -> str:
        ran = shared.run(*words, settings={"PREFECT_API_URL": server})
        assert ran.status == 0, f"{words}: {ran.out}{ran.err}"
        return ran.out

    def decide(verb: str, gate: str, by: str, version: str = "1.0.1") -> str:
        words = (verb, MODEL, version, "--gate", gate, "--by", by, "--comment", "read it")
        return run(*words)

    with Listener() as listener:
        contact = f"json://127.0.0.1:{listener.port}/told"
        run("consumers", "add", MODEL, "pricing", "--contact", contact, "--needs", "~=1.0")
        run("consumers", "add", MODEL, "planning", "--contact", "env:NOT_SET_ANYWHERE")
        names = [c["consumer"] for c in shared.ask("consumers", "list", MODEL)]
        assert names == ["planning", "pricing"]

        assert "approved at review" in decide("approve", "review", REVIEWER)
        assert "waiting for go-live" in run("release", MODEL, "1.0.1")
        assert "approved at go-live" in decide("approve", "go-live", OPERATIONS)
        assert "now champion" in run("release", MODEL, "1.0.1")
        assert "1.0.0 is champion again, no longer 1.0.1" in run(
            "rollback", MODEL, "--reason", "July was an exception"
        )
        first = shared.run("rollback", MODEL, "--reason", "once more")
        assert (first.status, "1.0.0" in first.err) == (1, True)  # nobody was champion before it
        reigns = [r["version"] for r in shared.ask("history", MODEL)]
        assert reigns == ["1.0.0", "1.0.1", "1.0.0"]
        assert "1.0.1 is deprecated" in run("deprecate", MODEL, "1.0.1", "--reason", "moved on")
        told = run("revoke", MODEL, "1.0.1", "--reason", "trained on a wrong calendar")
        assert "1.0.1 is revoked" in told
        assert "Told: pricing\nTo be told: planning" in told
    titles = [message["title"] for message in listener.heard]
    assert titles == [
        *("flight-delay 1.0.1 is champion", "flight-delay is rolled back to 1.0.0"),
        *("flight-delay 1.0.1 is deprecated", "flight-delay 1.0.1 is revoked"),
    ]
    late = shared.run("notify", "--now")
    assert (late.status, "NOT_SET_ANYWHERE is not set here" in late.err) == (1, True)
    assert "planning is no consumer" in run("consumers", "remove", MODEL, "planning")

    words = ("approve", MODEL, "1.0.1", "--gate", "review", "--by", REVIEWER)
    refused = shared.run(*words, "--comment", "again")
    assert (refused.status, "revoked" in refused.err) == (1, True)
    run("alias", MODEL, "kept", "1.0.0")
    assert shared.ask("show", f"{MODEL}@kept")["version"] == "1.0.0"
    run("alias", MODEL, "kept", "--remove")

    trained = json.loads(
        run("train", MODEL, "--until", "2013-02-14", "--notes", "\x1b[2JMore days.", "--json")
    )
    third = trained["number"]
    assert "\\x1b[2JMore days." in run("show", f"{MODEL}@{third}")
    assert "rejected at review" in decide("reject", "review", REVIEWER, third)
    assert f"{third} is archived" in run("archive", MODEL, third, "--reason", "not needed")
    removed = shared.ask("gc")
    assert removed["removed"] == []  # all that is stored is named, or younger than a day
    assert shared.ask("audit", "verify")["sound"] is True


def test_the_doctor_tries_both_servers(shared: Shared, server: str) -> None:
    done = shared.run("doctor", settings={"PREFECT_API_URL": server})
    assert done.status == 0, done.out
    for needed in ("postgresql, schema up to date", "written and read back in s3://"):
        assert needed in done.out


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        ("PILOTLINE_REGISTRY_URL", "postgresql://factory:{}@127.0.0.1:1/none", "127.0.0.1:1"),
        ("PILOTLINE_REGISTRY_URL", "mysql://factory:{}@127.0.0.1:1/none", "PILOTLINE_REGISTRY_URL"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1", "s3://"),
    ],
    ids=["no database", "no kind of database", "no S3"],
)
def test_a_server_that_is_not_there_is_told_without_its_password(
    setting: str, value: str, named: str, shared: Shared
) -> None:
    done = shared.run(
        "show", f"{MODEL}@champion", settings={setting: value.format("Quoted-Secret")}
    )
    assert done.status == 1, done.out
    assert done.err.startswith("Error: ")
    assert named in done.err
    assert "Quoted-Secret" not in done.err
    assert "Traceback" not in done.err


def test_no_credential_was_said_or_kept_anywhere(shared: Shared) -> None:
    url = shared.settings["PILOTLINE_REGISTRY_URL"]
    quoted = url.split("@")[0].rpartition(":")[2]
    secrets = [PASSWORD, quoted, shared.s3.secret_key, shared.s3.access_key]
    found = [
        (where, secret)
        for where, data in everything_kept(shared)
        for secret in secrets
        if secret.encode() in data
    ]
    assert found == []


def everything_kept(shared: Shared) -> Iterator[tuple[str, bytes]]:
    """Give all that was said, and all that lies in the home, the bucket and the database."""
    for said in shared.said:
        yield "output", said.encode()
    for path in shared.home.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()
    for key in shared.list_objects():
        yield key, shared.get_object(key)
    tables = shared.query("select relname from pg_stat_user_tables")
    assert len(tables) > 20
    for (name,) in tables:
        yield name, repr(shared.query(f'select * from "{name}"')).encode()
