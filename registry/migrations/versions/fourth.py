"""Runs of two versions, intervals of metrics, and the profile of what was ingested."""

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


def downgrade() -> None:
    """Refuse: facts are never dropped."""
    raise RuntimeError("This schema cannot be taken back; restore a copy of the database instead.")
