"""The digest of an ingest's data files, and facts that SQLite does not let be replaced."""

import sqlalchemy as sa
from alembic import op

from pilotline.registry.migrations.versions.second import FACTS

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what this schema adds; every row that is there stays."""
    # What was ingested before has none, and is checked row by row.
    op.add_column("ingest", sa.Column("files_digest", sa.String(64), nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        _refuse_replacing()


def _refuse_replacing() -> None:
    """Let SQLite refuse a fact under the key of another.

    INSERT OR REPLACE deletes the row of before without asking the triggers on deletion, unless the
    connection itself wishes so (sqlite.org/lang_conflict.html).
    """
    tables = sa.inspect(op.get_bind())
    for table in FACTS:
        keys = [tables.get_pk_constraint(table)["constrained_columns"]]
        keys += [key["column_names"] for key in tables.get_unique_constraints(table)]
        same = (" AND ".join(f'"{name}" = NEW."{name}"' for name in key) for key in keys)
        there = " OR ".join(f'EXISTS (SELECT 1 FROM "{table}" WHERE {key})' for key in same)
        op.execute(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {there} BEGIN "
            f"SELECT RAISE(ABORT, '{table}: facts are added, never edited'); END"
        )


def downgrade() -> None:
    """Refuse: facts are never dropped."""
    raise RuntimeError("This schema cannot be taken back; restore a copy of the database instead.")
