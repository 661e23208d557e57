"""The first schema."""

import sqlalchemy as sa
from alembic import op

from pilotline.registry.store import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "ingest",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("partition_digest", sa.String(length=64), nullable=False),
        sa.Column("table_version", sa.Integer(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("quarantined", sa.Integer(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ingest"),
    )
    op.create_index("ix_ingest_dataset_date", "ingest", ["dataset", "date"], unique=False)
    op.create_table(
        "model",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("owner", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_model"),
        sa.UniqueConstraint("name", name="uq_model_name"),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("effective_from", UtcDateTime(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_event_model_id_model"),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
        sa.UniqueConstraint("hash", name="uq_event_hash"),
        sa.UniqueConstraint("model_id", "seq", name="uq_event_model_id_seq"),
    )
    op.create_table(
        "model_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("major", sa.Integer(), nullable=False),
        sa.Column("minor", sa.Integer(), nullable=False),
        sa.Column("patch", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("training_key", sa.String(length=64), nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.String(length=200), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_model_version_model_id_model"),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["model_version.id"], name="fk_model_version_parent_id_model_version"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_model_version"),
        sa.UniqueConstraint("model_id", "digest", name="uq_model_version_digest"),
        sa.UniqueConstraint(
            "model_id",
            "major",
            "minor",
            "patch",
            name="uq_model_version_model_id_major_minor_patch",
        ),
        sa.UniqueConstraint("model_id", "training_key", name="uq_model_version_training_key"),
    )
    op.create_table(
        "alias",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"], name="fk_alias_event_id_event"),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_alias_model_id_model"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_version.id"], name="fk_alias_version_id_model_version"
        ),
        sa.PrimaryKeyConstraint("model_id", "name", name="pk_alias"),
    )
    op.create_table(
        "approval",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("gate", sa.String(length=20), nullable=False),
        sa.Column("decision", sa.String(length=10), nullable=False),
        sa.Column("approver", sa.String(length=200), nullable=False),
        sa.Column("identity", sa.String(length=20), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("manifest_digest", sa.String(length=64), nullable=False),
        sa.Column("policy_digest", sa.String(length=64), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_version.id"], name="fk_approval_version_id_model_version"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_approval"),
    )
    op.create_index("ix_approval_version_id", "approval", ["version_id"], unique=False)
    op.create_table(
        "metric",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("start", sa.Date(), nullable=False),
        sa.Column("end", sa.Date(), nullable=False),
        sa.Column("variant", sa.String(length=80), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("basis", sa.String(length=64), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_version.id"], name="fk_metric_version_id_model_version"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_metric"),
        sa.UniqueConstraint(
            "version_id",
            "kind",
            "name",
            "start",
            "end",
            "variant",
            "basis",
            name="uq_metric_version_id_kind_name_start_end_variant_basis",
        ),
    )
    op.create_index("ix_metric_version_id", "metric", ["version_id"], unique=False)
    op.create_table(
        "run",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("variant", sa.String(length=80), nullable=False),
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("partition_digest", sa.String(length=64), nullable=False),
        sa.Column("table_version", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("lock_digest", sa.String(length=64), nullable=False),
        sa.Column("isolation", sa.String(length=1), nullable=False),
        sa.Column("trigger", sa.String(length=20), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_run_model_id_model"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_version.id"], name="fk_run_version_id_model_version"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
    )
    op.create_index("ix_run_partition", "run", ["model_id", "variant", "date"], unique=False)
    op.create_index("ix_run_version_id", "run", ["version_id"], unique=False)
    op.create_table(
        "training_partition",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("use", sa.String(length=10), nullable=False),
        sa.Column("partition_digest", sa.String(length=64), nullable=False),
        sa.Column("table_version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["model_version.id"],
            name="fk_training_partition_version_id_model_version",
        ),
        sa.PrimaryKeyConstraint("version_id", "dataset", "date", name="pk_training_partition"),
    )
    op.create_table(
        "verification",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("report_digest", sa.String(length=64), nullable=False),
        sa.Column("platform", sa.String(length=80), nullable=False),
        sa.Column("isolation", sa.String(length=1), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_version.id"], name="fk_verification_version_id_model_version"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_verification"),
    )
    op.create_index("ix_verification_version_id", "verification", ["version_id"], unique=False)
    op.create_table(
        "version_status",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_version.id"], name="fk_version_status_version_id_model_version"
        ),
        sa.PrimaryKeyConstraint("version_id", name="pk_version_status"),
    )
    op.create_table(
        "approval_use",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("approval_id", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["approval_id"], ["approval.id"], name="fk_approval_use_approval_id_approval"
        ),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"], name="fk_approval_use_event_id_event"),
        sa.PrimaryKeyConstraint("id", name="pk_approval_use"),
        sa.UniqueConstraint("approval_id", name="uq_approval_use_approval_id"),
    )
    op.create_table(
        "run_outcome",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("resources", sa.Text(), nullable=False),
        sa.Column("profile_digest", sa.String(length=64), nullable=True),
        sa.Column("table_version", sa.Integer(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_outcome_run_id_run"),
        sa.PrimaryKeyConstraint("run_id", name="pk_run_outcome"),
    )
    op.create_table(
        "scored_partition",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("variant", sa.String(length=80), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("claimed_by", sa.String(length=32), nullable=False),
        sa.Column("visible_run", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["claimed_by"], ["run.id"], name="fk_scored_partition_claimed_by_run"
        ),
        sa.ForeignKeyConstraint(
            ["model_id"], ["model.id"], name="fk_scored_partition_model_id_model"
        ),
        sa.ForeignKeyConstraint(
            ["visible_run"], ["run.id"], name="fk_scored_partition_visible_run_run"
        ),
        sa.PrimaryKeyConstraint("model_id", "variant", "date", name="pk_scored_partition"),
    )
    op.create_table(
        "teardown",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("clean", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_teardown_run_id_run"),
        sa.PrimaryKeyConstraint("run_id", name="pk_teardown"),
    )


def downgrade() -> None:
    """Refuse: facts are never dropped."""
    raise RuntimeError("The first schema cannot be taken back; delete the home instead.")
