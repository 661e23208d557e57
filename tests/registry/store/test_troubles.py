"""What ails a database or a text is told in words, without statements and values."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.orm import Session

from pilotline.registry import Registry
from pilotline.registry.form.errors import StoreError, TextRefusedError, UnknownModelError
from pilotline.registry.gates.approvals import Decision, decide
from pilotline.registry.gates.policy import Policy
from pilotline.registry.record.events import list_events
from pilotline.registry.record.models import ModelFacts, get_model, list_models, put_model
from pilotline.registry.record.versions import enter_version
from pilotline.registry.store.tables import WRITERS_LOCK
from tests.support.registry.databases import on_postgresql, on_sqlite
from tests.support.registry.world import World

FACTS = ModelFacts("flight-delay", "operations", "Will this flight arrive late?")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where SQLite keeps the registry."""
    return tmp_path / "registry.db"


def run_first(engine: Engine, statement: str) -> None:
    """Let every connection from now on begin with ``statement``."""
    event.listen(engine, "connect", lambda connection, _: connection.execute(statement))
    engine.dispose()


@contextmanager
def refused(problem: str, remedy: str) -> Iterator[None]:
    with pytest.raises(StoreError) as told:
        yield
    assert str(told.value).startswith("Registry at '")
    assert f": {problem}. {remedy}" in str(told.value)
    for unsaid in ("INSERT", "insert", "operations", "parameters", "sqlalche.me"):
        assert unsaid not in str(told.value)


@on_sqlite
def test_a_full_disk_is_told(registry: Registry, file: Path) -> None:
    pages = sqlite3.connect(file).execute("PRAGMA page_count").fetchone()[0]
    run_first(registry.engine, f"PRAGMA max_page_count = {pages}")  # SQLITE_FULL, as a full disk
    with refused("its disk is full", "Free space"), registry.write() as session:
        put_model(session, replace(FACTS, description="x" * 100_000))
    with registry.read() as session:
        assert list_models(session) == []


@on_sqlite
def test_a_database_that_cannot_be_written_is_told(registry: Registry) -> None:
    run_first(registry.engine, "PRAGMA query_only = ON")  # SQLITE_READONLY, as a read-only disk
    with refused("it cannot be written", "Check the rights"), registry.write() as session:
        put_model(session, FACTS)


@on_sqlite
def test_a_commit_that_stays_busy_is_told(registry: Registry, file: Path) -> None:
    run_first(registry.engine, "PRAGMA busy_timeout = 50")  # not half a minute
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM model").fetchone()
    with refused("other processes kept it locked", "Try again"), registry.write() as session:
        put_model(session, FACTS)
    reader.execute("ROLLBACK")
    with registry.write() as session:
        put_model(session, FACTS)


@on_sqlite
def test_a_damaged_file_is_told(registry: Registry, file: Path) -> None:
    registry.close()
    data = bytearray(file.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    file.write_bytes(data)
    with refused("it is damaged", "Check the disk"), registry.read() as session:
        list_models(session)


@on_postgresql
def test_a_lock_that_is_not_given_back_is_told(
    registry: Registry, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilotline.registry.store.store.LOCK_WAIT_S", 1)  # not two minutes
    other = create_engine(registry.engine.url)
    with other.connect() as holder:
        holder.execute(text("SELECT pg_advisory_lock(:n)"), {"n": WRITERS_LOCK})
        with refused("other processes kept it locked", "Try again"), registry.write():
            raise AssertionError("it was let in")
    other.dispose()


@on_postgresql
def test_a_server_that_goes_away_is_told(registry: Registry) -> None:
    with refused("its server went away", "Check that the database"), registry.write() as session:
        session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


@pytest.mark.parametrize("odd", ["\ud800", "fl\udcff"])
def test_a_name_that_is_no_text_is_refused_where_one_reads(registry: Registry, odd: str) -> None:
    with pytest.raises((TextRefusedError, UnknownModelError)), registry.read() as session:
        get_model(session, odd)


@pytest.mark.parametrize("odd", ["a\0b", "\ud800", "fl\udcff"])
def test_a_comment_that_not_every_database_takes_is_refused(
    registry: Registry, world: World, odd: str
) -> None:
    with registry.write() as session:
        model_id = world.enter(session).model_id
    said = Decision("review", "approve", "reviewer@example.org", odd)
    with pytest.raises(TextRefusedError, match="for comment of approval is refused: it has "):
        _decide(registry, said, world.policy)
    with registry.read() as session:
        assert [event.kind for event in list_events(session, model_id)] == ["registered"]


def _decide(registry: Registry, said: Decision, policy: Policy) -> None:
    with registry.write() as session:
        decide(session, "flight-delay", "1.0.0", said, policy)


@pytest.mark.parametrize("odd", ["a\0b", "\ud800"])
def test_notes_that_not_every_database_takes_are_refused(
    session: Session, world: World, odd: str
) -> None:
    with pytest.raises(TextRefusedError, match="for notes of model_version is refused"):
        enter_version(session, replace(world.new_version(), notes=odd))
    session.expunge_all()


def test_a_text_longer_than_its_column_is_refused(session: Session, world: World) -> None:
    with pytest.raises(TextRefusedError) as refusal:
        enter_version(session, replace(world.new_version(), author="a" * 201))
    assert str(refusal.value) == (
        f"Text '{'a' * 60}'... for author of model_version is refused: it has 201 characters, at "
        "most 200 fit. Write it again without that."
    )
    session.expunge_all()
