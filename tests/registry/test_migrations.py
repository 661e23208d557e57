"""Migrations end at the tables that the code declares."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, inspect, select, text

from registry import Registry
from registry.migrations import __path__ as migrations
from registry.migrations.upgrade import upgrade
from registry.models import ModelFacts, RegisteredModel, put_model
from registry.schema import metadata
from registry.store import SCHEMA


def test_a_migrated_database_is_what_the_models_declare(registry: Registry) -> None:
    with registry.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_every_table_is_made(registry: Registry) -> None:
    made = set(inspect(registry.engine).get_table_names())
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
