"""Runs of two versions or of several inputs, intervals of metrics, profiles of ingests."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what this schema adds; every row that is there stays.

    All of it may be absent, as it is from every row of before.
    """
    op.add_column("run", sa.Column("share", sa.String(8), nullable=True))
    op.add_column("ingest", sa.Column("profile_digest", sa.String(64), nullable=True))
    for name in ("low", "high"):
        op.add_column("metric", sa.Column(name, sa.Float(), nullable=True))
    # In SQL, as SQLite takes a reference only with its column, and Alembic adds it afterwards.
    op.execute(
        "ALTER TABLE run ADD COLUMN challenger_id INTEGER "
        "CONSTRAINT fk_run_challenger_id_model_version REFERENCES model_version (id)"
    )
    op.create_index("ix_run_challenger_id", "run", ["challenger_id"])
    op.create_table(
        "run_input",
        sa.Column("run_id", sa.String(32), nullable=False),
        sa.Column("dataset", sa.String(63), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("partition_digest", sa.String(64), nullable=False),
        sa.Column("table_version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_input_run_id_run"),
        sa.PrimaryKeyConstraint("run_id", "dataset", "date", name="pk_run_input"),
    )
    _guard("run_input", ("run_id", "dataset", "date"))


def _guard(table: str, key: tuple[str, ...]) -> None:
    """Let the database refuse that a row of ``table`` is edited, deleted or replaced."""
    if op.get_bind().dialect.name != "sqlite":
        op.execute(
            f"CREATE TRIGGER {table}_no_edit BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit()"
        )
        return
    same = " AND ".join(f'"{name}" = NEW."{name}"' for name in key)
    there = f'EXISTS (SELECT 1 FROM "{table}" WHERE {same})'
    for name, moment in (
        ("update", "BEFORE UPDATE"),
        ("delete", "BEFORE DELETE"),
        ("replace", "BEFORE INSERT"),
    ):
        when = f" WHEN {there}" if name == "replace" else ""
        op.execute(
            f"CREATE TRIGGER {table}_no_{name} {moment} ON {table}{when} BEGIN "
            f"SELECT RAISE(ABORT, '{table}: facts are added, never edited'); END"
        )


def downgrade() -> None:
    """Refuse: facts are never dropped."""
    raise RuntimeError("This schema cannot be taken back; restore a copy of the database instead.")
