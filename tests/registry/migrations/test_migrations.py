"""Migrations end at the tables that the code declares, and keep every row on the way."""

import hashlib
import json
import shutil
import sqlite3
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, create_engine, func, inspect, make_url, select, text
from sqlalchemy.exc import DBAPIError

from pilotline.registry import Registry
from pilotline.registry.form.errors import StoreError
from pilotline.registry.gates.resolution import champion
from pilotline.registry.migrations import __path__ as migrations
from pilotline.registry.migrations.schema import metadata
from pilotline.registry.migrations.upgrade import upgrade
from pilotline.registry.migrations.versions.second import FACTS
from pilotline.registry.record.events import Event, append_event, first_broken_event, list_events
from pilotline.registry.record.models import ModelFacts, RegisteredModel, get_model, put_model
from pilotline.registry.record.versions import get_version, status_of
from pilotline.registry.store.store import SCHEMA

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DIGEST = "a" * 64


def is_declared(name: str | None, kind: str, parents: object) -> bool:
    """Tell whether the code declares it; a database's own full-text index it does not."""
    return not (kind in ("table", "index") and "search_text" in str(name))


def test_a_migrated_database_is_what_the_models_declare(registry: Registry) -> None:
    with registry.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_name": is_declared}
        )
        assert compare_metadata(context, metadata) == []


def test_every_table_is_made(registry: Registry) -> None:
    made = {
        name
        for name in inspect(registry.engine).get_table_names()
        if is_declared(name, "table", None)
    }
    assert made == {*metadata.tables, "alembic_version"}


def test_the_code_knows_the_last_migration() -> None:
    assert ScriptDirectory(migrations[0]).get_heads() == [SCHEMA]


def test_migrating_again_changes_nothing(registry: Registry) -> None:
    with registry.write() as session:
        put_model(session, ModelFacts("flight-delay", "operations", ""))
    upgrade(registry.engine)
    with registry.read() as session:
        assert session.scalar(select(func.count(RegisteredModel.id))) == 1
        assert session.scalar(text("select version_num from alembic_version")) == SCHEMA


@pytest.fixture
def old_url(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> str:
    """Return the URL of a database of the first schema, with rows in every kind of table."""
    url = f"sqlite:///{tmp_path / 'old.db'}"
    if make_url(database).get_backend_name() == "postgresql":  # as the test's twin asks for
        url = request.getfixturevalue("new_database")
    engine = create_engine(url)
    _migrate_to(engine, "0001")
    _fill(engine)
    engine.dispose()
    return url


def _migrate_to(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", migrations[0])
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()


def _fill(engine: Engine) -> None:
    """Insert what the first schema's code would have, without that code."""
    tables = MetaData()
    tables.reflect(engine)
    with engine.begin() as connection:

        def add(table: str, *rows: dict[str, Any]) -> None:
            # Reflected times have no zone on SQLite: as the first schema's code, store UTC.
            plain = engine.dialect.name == "sqlite"
            for row in rows:
                values = {
                    k: v.replace(tzinfo=None) if plain and isinstance(v, datetime) else v
                    for k, v in row.items()
                }
                connection.execute(tables.tables[table].insert().values(values))

        for number, name in ((1, "flight-delay"), (2, "seat-demand")):
            facts = {"owner": "operations", "description": "", "tags": "[]", "created_at": NOON}
            add("model", {"id": number, "name": name, **facts})
            add("model_version", _version(number), _version(number, major=2))
            add("version_status", {"version_id": number * 10 + 1, "status": "approved"})
            add("version_status", {"version_id": number * 10 + 2, "status": "registered"})
        add("approval", *(_approval(1, "review"), _approval(2, "go-live")))
        events = _chain(1, _bodies(), offset=0)
        add("event", *events)
        add("event", *_chain(2, [("registered", {"version": "1.0.0"})] * 3, offset=100))
        add("alias", {"model_id": 1, "name": "champion", "version_id": 11, "event_id": 2})
        add("approval_use", *({"id": n, "approval_id": n, "event_id": 2} for n in (1, 2)))
        add("run", _run())
        ended = {"state": "succeeded", "rows": 842, "reason": "", "resources": "{}"}
        add("run_outcome", {"run_id": "20130101-x", "ended_at": NOON, **ended})
    _advance_sequences(engine)


def _version(model: int, major: int = 1) -> dict[str, Any]:
    return {
        "id": model * 10 + major,
        "model_id": model,
        "major": major,
        "minor": 0,
        "patch": 0,
        "digest": DIGEST if major == 1 else "b" * 64,
        "training_key": str(major) * 64,
        "parent_id": None if major == 1 else model * 10 + 1,
        "reason": "first version",
        "author": "author@example.org",
        "recorded_at": NOON,
    }


def _approval(number: int, gate: str) -> dict[str, Any]:
    return {
        "id": number,
        "version_id": 11,
        "gate": gate,
        "decision": "approve",
        "approver": f"person{number}@example.org",
        "identity": "claimed",
        "comment": "",
        "manifest_digest": DIGEST,
        "policy_digest": "c" * 64,
        "recorded_at": NOON,
    }


def _bodies() -> list[tuple[str, dict[str, Any]]]:
    counted = []
    for number, gate in ((1, "review"), (2, "go-live")):
        said = _approval(number, gate)
        facts = {k: said[k] for k in ("gate", "decision", "approver", "identity", "comment")}
        facts |= {"manifest": DIGEST, "policy": "c" * 64, "recorded_at": NOON.isoformat()}
        counted.append({"gate": gate, "approval": _sha(facts), "digest": DIGEST})
    promoted = {"version": "1.0.0", "digest": DIGEST, "previous": None, "policy": "c" * 64}
    return [
        ("registered", {"version": "1.0.0"}),
        ("promoted", promoted | {"approvals": counted}),
        ("registered", {"version": "2.0.0"}),
    ]


def _chain(model: int, said: list[tuple[str, dict[str, Any]]], offset: int) -> list[dict[str, Any]]:
    """Return events hashed as the first schema did: over the model's number, not its name."""
    rows = []
    previous = "0" * 64
    for seq, (kind, body) in enumerate(said, start=1):
        moment = NOON + timedelta(seconds=seq)
        facts = {
            "model": model,
            "seq": seq,
            "kind": kind,
            "body": _json(body),
            "recorded_at": moment.isoformat(),
            "effective_from": moment.isoformat(),
            "previous": previous,
        }
        row: dict[str, Any] = {k: v for k, v in facts.items() if k != "model"}
        row |= {"id": offset + seq, "model_id": model, "hash": _sha(facts)}
        rows.append(row | {"recorded_at": moment, "effective_from": moment})
        previous = row["hash"]
    return rows


def _run() -> dict[str, Any]:
    return {
        "id": "20130101-x",
        "model_id": 1,
        "version_id": 11,
        "variant": "production",
        "dataset": "flights",
        "date": date(2013, 1, 1),
        "partition_digest": "d" * 64,
        "table_version": 3,
        "epoch": 1,
        "lock_digest": "c" * 64,
        "isolation": "A",
        "trigger": "score",
        "started_at": NOON,
    }


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _sha(value: object) -> str:
    return hashlib.sha256(_json(value).encode()).hexdigest()


def _advance_sequences(engine: Engine) -> None:
    """Let PostgreSQL number on from the rows that came with numbers."""
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            for table in ("model", "event", "model_version", "approval", "approval_use"):
                connection.execute(text(f"SELECT setval('{table}_id_seq', 1000)"))


def _rows(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table of the first schema, but for an event's hashes."""
    tables = MetaData()
    tables.reflect(engine)
    kept = {}
    with engine.connect() as connection:
        for table in tables.sorted_tables:
            columns = [c for c in table.columns if c.name not in ADDED_OR_HASHED]
            key = list(table.primary_key) or columns
            kept[table.name] = [
                tuple(r) for r in connection.execute(select(*columns).order_by(*key))
            ]
    del kept["alembic_version"]
    return kept


ADDED_OR_HASHED = (
    *("previous", "hash", "chain", "features", "notes"),
    *("challenger_id", "share", "low", "high", "profile_digest"),
)


def test_an_upgrade_keeps_every_row(old_url: str, tmp_path: Path) -> None:
    engine = create_engine(old_url)
    before = _without_dataset_of_versions(_rows(engine))
    assert sum(map(len, before.values())) == 23
    with Registry(old_url, tmp_path) as registry, registry.read() as session:
        assert session.scalar(text("select version_num from alembic_version")) == SCHEMA
    after = _without_dataset_of_versions(_rows(engine))
    engine.dispose()
    assert {table: after[table] for table in before} == before


def _without_dataset_of_versions(
    rows: dict[str, list[tuple[Any, ...]]],
) -> dict[str, list[tuple[Any, ...]]]:
    """The second schema adds a column of a name that other tables have already."""
    return rows | {"model_version": [row[:11] for row in rows["model_version"]]}


def test_chains_verify_after_an_upgrade_and_go_on(old_url: str, tmp_path: Path) -> None:
    with Registry(old_url, tmp_path) as registry:
        with registry.write() as session:
            for name in ("flight-delay", "seat-demand"):
                model = get_model(session, name)
                events = list_events(session, model.id)
                assert [event.chain for event in events] == [name] * 3
                append_event(session, model.id, "noted", {})
                assert first_broken_event(session, model.id) is None
        with registry.read() as session:
            assert champion(session, "flight-delay").number == "1.0.0"
            newest = get_version(session, "flight-delay", "2.0.0")
            assert status_of(session, newest) == "registered"
            assert (newest.features, newest.dataset, newest.notes) == ("[]", "", "")


@pytest.mark.parametrize(
    "damage",
    [
        "update event set kind = 'noted' where id = 102",
        "update event set body = '{}' where id = 103",
        "delete from event where id = 102",
    ],
)
def test_a_chain_that_was_broken_stays_broken(old_url: str, tmp_path: Path, damage: str) -> None:
    engine = create_engine(old_url)
    with engine.begin() as connection:
        connection.execute(text(damage))
    engine.dispose()
    with Registry(old_url, tmp_path) as registry, registry.read() as session:
        # The whole chain keeps its old hashes: which event it was is for the copy from before.
        assert first_broken_event(session, get_model(session, "seat-demand").id) is not None
        assert first_broken_event(session, get_model(session, "flight-delay").id) is None


def test_facts_are_guarded_after_an_upgrade(old_url: str, tmp_path: Path) -> None:
    with Registry(old_url, tmp_path) as registry:
        for table in GUARDED:
            _check_guarded(registry, table)


GUARDED = ("event", "model_version", "approval", "approval_use", "run", "run_outcome")


def _check_guarded(registry: Registry, table: str) -> None:
    refused = pytest.raises(DBAPIError, match=f"{table}: facts are added, never edited")
    with refused, registry.write() as session:
        session.execute(text(f"DELETE FROM {table}"))


def test_a_database_of_a_newer_release_is_refused_with_the_release_it_needs(
    database: str, tmp_path: Path
) -> None:
    with Registry(database, tmp_path) as registry, registry.write() as session:
        session.execute(text("update alembic_version set version_num = '0999'"))
        session.execute(text("update registry_info set value = '0.2.0' where key = 'needs'"))
    with pytest.raises(StoreError, match=r"has schema 0999.*Use pilotline 0\.2\.0 or newer\.$"):
        Registry(database, tmp_path)


REPLACED = """
INSERT OR REPLACE INTO event
SELECT id, model_id, seq, kind, '{}', recorded_at, effective_from, previous, hash, chain FROM event
"""


def test_a_fact_cannot_be_replaced_on_a_connection_of_another_program(
    tmp_path: Path, empty_database: Path
) -> None:
    shutil.copy(empty_database, tmp_path / "registry.db")
    with Registry(f"sqlite:///{tmp_path / 'registry.db'}", tmp_path) as registry:
        with registry.write() as session:
            put_model(session, ModelFacts("flight-delay", "operations", ""))
            append_event(session, get_model(session, "flight-delay").id, "registered", {"a": "b"})
        foreign = sqlite3.connect(tmp_path / "registry.db")
        with pytest.raises(sqlite3.IntegrityError, match="event: facts are added, never edited"):
            foreign.execute(REPLACED)
        foreign.close()
        with registry.read() as session:
            assert [event.facts() for event in session.scalars(select(Event))] == [{"a": "b"}]


@pytest.mark.parametrize("table", FACTS)
def test_every_table_of_facts_refuses_a_row_under_a_known_key(
    tmp_path: Path, empty_database: Path, table: str
) -> None:
    shutil.copy(empty_database, tmp_path / "registry.db")
    database = sqlite3.connect(tmp_path / "registry.db")
    columns = [
        (name, kind) for _, name, kind, *_ in database.execute(f"PRAGMA table_info({table})")
    ]
    names = ", ".join(f'"{name}"' for name, _ in columns)
    values = ", ".join("7" if "INT" in kind or "FLOAT" in kind else "'x'" for _, kind in columns)
    database.execute(f"INSERT INTO {table} ({names}) VALUES ({values})")
    for how in ("", " OR REPLACE", " OR IGNORE"):
        with pytest.raises(sqlite3.IntegrityError, match="facts are added, never edited"):
            database.execute(f"INSERT{how} INTO {table} ({names}) VALUES ({values})")
    database.close()
