"""The digest of an ingest's data files, so that they can be checked without being decoded."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what was ingested before has none, and is checked row by row."""
    op.add_column("ingest", sa.Column("files_digest", sa.String(64), nullable=True))
