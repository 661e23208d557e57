"""The database that tests share by turns is as new for each of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from pilotline.registry import Registry
from pilotline.registry.record.models import ModelFacts, list_models, put_model


def spoil(url: str, folder: Path, *statements: str) -> None:
    """Enter a model, then change things as an administrator could."""
    with Registry(url, folder) as registry, registry.write() as session:
        put_model(session, ModelFacts("flight-delay", "operations", ""))
        for statement in statements:
            session.execute(text(statement))


def test_rows_numbers_and_guards_are_taken_back(
    registry_databases: Iterator[str], tmp_path: Path
) -> None:
    url = next(registry_databases)
    add = "insert into code_attempt (approver_id, at) values (1, now())"
    spoil(
        url,
        tmp_path,
        "ALTER TABLE event DISABLE TRIGGER USER",
        "SET session_replication_role = replica",
        add,
    )
    assert next(registry_databases) == url
    with Registry(url, tmp_path) as registry:
        with registry.read() as session:
            assert list_models(session) == []
            assert session.scalar(text("select count(*) from code_attempt")) == 0
        with registry.write() as session:
            assert put_model(session, ModelFacts("seat-demand", "operations", "")).id == 1
        with pytest.raises(DBAPIError, match="never edited"), registry.write() as session:
            session.execute(text("delete from event"))


@pytest.mark.parametrize(
    "statement",
    [
        "update alembic_version set version_num = '9999'",
        "drop trigger event_no_edit on event",
        "alter table event add column more text",
        "create table more (id integer)",
        "alter table alias drop constraint fk_alias_model_id_model",
    ],
)
def test_a_changed_shape_gives_another_database(
    statement: str, registry_databases: Iterator[str], tmp_path: Path
) -> None:
    url = next(registry_databases)
    spoil(url, tmp_path, statement)
    assert next(registry_databases) != url


def test_a_process_that_still_holds_a_lock_is_no_hindrance(
    registry_databases: Iterator[str], tmp_path: Path
) -> None:
    url = next(registry_databases)
    left = Registry(url, tmp_path)
    with left.engine.connect() as connection:
        connection.execute(text("lock table model"))
        assert next(registry_databases) == url
        connection.invalidate()
    left.close()
