"""Alembic's entry: run the migrations on the connection that ``upgrade`` hands over."""

from alembic import context

from pilotline.registry.migrations.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter most things in place
)
with context.begin_transaction():
    context.run_migrations()
