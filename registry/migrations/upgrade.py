"""Bring a registry's database up to date."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

from pilotline.registry.form import StoreError
from pilotline.registry.store import WRITERS_LOCK


def upgrade(engine: Engine) -> None:
    """Run every migration the database has not seen, all in one transaction.

    Two processes that open a new home at once take turns: the second finds nothing to do.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    sqlite = engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        if sqlite:
            # SQLite alters a table by replacing it, which its foreign keys would refuse; they can
            # be put aside only outside a transaction, and are all checked before the commit.
            connection.execute(text("PRAGMA foreign_keys=OFF"))
            connection.execute(text("BEGIN IMMEDIATE"))
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": WRITERS_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if sqlite and connection.execute(text("PRAGMA foreign_key_check")).first() is not None:
            connection.rollback()
            raise StoreError(
                str(engine.url),
                "a row names another that is not there, so the tables were left as they were",
                "Restore the database from a copy.",
            )
        connection.commit()
        if sqlite:
            connection.execute(text("PRAGMA foreign_keys=ON"))
