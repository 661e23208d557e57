"""Chains by name, approvers, consumers, outbox, search, and facts that the database guards."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from pilotline.registry.form import digest_json
from pilotline.registry.store import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NEEDS = "0.1.0"  # the first release that knows this schema
FACTS = (
    "event",
    "model_version",
    "training_partition",
    "approval",
    "approval_use",
    "verification",
    "metric",
    "ingest",
    "run",
    "run_outcome",
    "teardown",
)


def upgrade() -> None:
    """Add what this schema adds; every row that is there stays."""
    _name_chains()
    _describe_versions()
    _make_tables()
    _make_search()
    _guard_facts()
    op.execute(
        sa.text("insert into registry_info (key, value) values ('needs', :needs)").bindparams(
            needs=NEEDS
        )
    )


def _name_chains() -> None:
    """Let an event name its chain by the model's name, which is the same in every registry."""
    with op.batch_alter_table("event") as batch:
        batch.add_column(sa.Column("chain", sa.String(63), nullable=True))
        batch.alter_column("model_id", existing_type=sa.Integer(), nullable=True)
        batch.drop_constraint("uq_event_model_id_seq", type_="unique")
    op.execute("update event set chain = (select name from model where model.id = event.model_id)")
    _rehash()
    with op.batch_alter_table("event") as batch:
        batch.alter_column("chain", existing_type=sa.String(63), nullable=False)
        batch.create_unique_constraint("uq_event_chain_seq", ["chain", "seq"])
        batch.create_index("ix_event_chain_kind_seq", ["chain", "kind", "seq"])


def _rehash() -> None:
    """Hash every chain again, over its name instead of the database's own number.

    A chain that did not verify before must not verify afterwards: it keeps its old hashes.
    """
    connection = op.get_bind()
    event = sa.table(
        "event",
        *(sa.column(name) for name in ("id", "chain", "model_id", "seq", "kind", "body")),
        sa.column("recorded_at", UtcDateTime()),
        sa.column("effective_from", UtcDateTime()),
        *(sa.column(name) for name in ("previous", "hash")),
    )
    chains: dict[str, list[Any]] = {}
    for row in connection.execute(sa.select(event).order_by(event.c.model_id, event.c.seq)):
        chains.setdefault(row.chain, []).append(row)
    for rows in chains.values():
        before = "0" * 64
        sound = True
        for number, row in enumerate(rows, start=1):
            sound = sound and (row.seq, row.previous) == (number, before)
            sound = sound and row.hash == _hash(row, {"model": row.model_id}, row.previous)
            before = row.hash
        previous = "0" * 64
        for row in rows if sound else ():
            new = _hash(row, {"chain": row.chain}, previous)
            connection.execute(
                sa.update(event).where(event.c.id == row.id).values(previous=previous, hash=new)
            )
            previous = new


def _hash(row: Any, whose: dict[str, Any], previous: str) -> str:
    facts = {"seq": row.seq, "kind": row.kind, "body": row.body, "previous": previous}
    times = {name: _iso(getattr(row, name)) for name in ("recorded_at", "effective_from")}
    return digest_json(whose | facts | times)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _describe_versions() -> None:
    """Keep beside a version what people search for; the manifest stays what counts."""
    for name, default in (("features", "[]"), ("dataset", ""), ("notes", "")):
        column = sa.Column(name, sa.Text(), nullable=False, server_default=default)
        op.add_column("model_version", column)


def _make_tables() -> None:
    op.create_table(
        "registry_info",
        sa.Column("key", sa.String(40), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_registry_info"),
    )
    op.create_table(
        "approver",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("removed_by_event", sa.Integer(), nullable=True),
        sa.Column("last_counter", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"], name="fk_approver_event_id_event"),
        sa.ForeignKeyConstraint(
            ["removed_by_event"], ["event.id"], name="fk_approver_removed_by_event_event"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_approver"),
    )
    op.create_index("ix_approver_name", "approver", ["name"])
    op.create_table(
        "code_attempt",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("approver_id", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["approver_id"], ["approver.id"], name="fk_code_attempt_approver_id_approver"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_code_attempt"),
    )
    op.create_index("ix_code_attempt_approver_id", "code_attempt", ["approver_id"])
    op.create_table(
        "consumer",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("contact", sa.Text(), nullable=False),
        sa.Column("needs", sa.String(200), nullable=False),
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"], name="fk_consumer_event_id_event"),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_consumer_model_id_model"),
        sa.PrimaryKeyConstraint("model_id", "name", name="pk_consumer"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("consumer", sa.String(200), nullable=False),
        sa.Column("contact", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"], name="fk_outbox_event_id_event"),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.UniqueConstraint("event_id", "consumer", name="uq_outbox_event_id_consumer"),
    )
    op.create_index("ix_outbox_due_at", "outbox", ["sent_at", "due_at"])
    op.create_table(
        "wheel",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_wheel"),
    )


def _make_search() -> None:
    """Make what search looks into; it is filled by the first search and by every change."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.create_table(
        "search_doc",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(63, collation=None if sqlite else "C"), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("champion", sa.String(40), nullable=True),
        sa.Column("status", sa.String(20), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("consumers", sa.Text(), nullable=False),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("runs_30d", sa.Integer(), nullable=False),
        sa.Column("rows_30d", sa.BigInteger(), nullable=False),
        sa.Column("usage_until", UtcDateTime(), nullable=True),
        sa.Column("last_scored", sa.Date(), nullable=True),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_search_doc_model_id_model"),
        sa.PrimaryKeyConstraint("model_id", name="pk_search_doc"),
    )
    op.create_index("ix_search_doc_name", "search_doc", ["archived", "name"])
    op.create_index("ix_search_doc_usage", "search_doc", ["archived", "runs_30d", "rows_30d"])
    op.create_index("ix_search_doc_usage_until", "search_doc", ["usage_until"])
    op.create_table(
        "search_term",
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("value", sa.String(200), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_search_term_model_id_model"),
        sa.PrimaryKeyConstraint("kind", "value", "model_id", name="pk_search_term"),
    )
    op.create_index("ix_search_term_model_id", "search_term", ["model_id"])
    op.create_table(
        "search_metric",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_search_metric_model_id_model"),
        sa.PrimaryKeyConstraint("model_id", "name", name="pk_search_metric"),
    )
    op.create_index("ix_search_metric_value", "search_metric", ["name", "value"])
    if sqlite:  # four columns, for four weights; words come ready cut, only spaces part them
        op.execute(
            "CREATE VIRTUAL TABLE search_text USING "
            "fts5(a, b, c, d, tokenize = 'ascii', prefix = '1 2 3 4')"
        )
        return
    op.execute("CREATE TABLE search_text (model_id integer PRIMARY KEY, words tsvector NOT NULL)")
    op.execute("CREATE INDEX ix_search_text_words ON search_text USING gin (words)")


def _guard_facts() -> None:
    """Let the database itself refuse that facts are edited or deleted."""
    if op.get_bind().dialect.name == "sqlite":
        for table in FACTS:
            for what in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{what.lower()} BEFORE {what} ON {table} BEGIN "
                    f"SELECT RAISE(ABORT, '{table}: facts are added, never edited'); END"
                )
        return
    op.execute(
        "CREATE FUNCTION refuse_edit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION '%: facts are added, never edited', TG_TABLE_NAME; END $$"
    )
    for table in FACTS:
        op.execute(
            f"CREATE TRIGGER {table}_no_edit BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit()"
        )


def downgrade() -> None:
    """Refuse: facts are never dropped."""
    raise RuntimeError("This schema cannot be taken back; restore a copy of the database instead.")
