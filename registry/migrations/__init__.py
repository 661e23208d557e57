"""Schema migrations of the registry, run by Alembic."""
