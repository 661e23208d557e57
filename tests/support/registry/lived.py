"""Registries in which much has happened: lived through once for each database, then copied."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg import Cursor
from sqlalchemy import make_url

from pilotline.registry import Registry
from pilotline.registry.blobs.folder import FolderBlobs
from tests.support.servers.once import made_once

# What a test may change: neither the tables' own version nor what describes the schema.
TABLES = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    AND relname NOT IN ('alembic_version', 'registry_info') ORDER BY relname
"""
SEQUENCES = "SELECT sequencename, last_value FROM pg_sequences WHERE last_value IS NOT NULL"


def relive(registry: Registry, shared: Path, life: Callable[[Registry], object]) -> Registry:
    """Make of an empty registry what ``life`` makes of one, and return it.

    Only the first of a run takes the time to live it.

    Args:
        registry: an empty one whose blobs are in a folder.
        shared: the folder that all workers of a run see.
        life: a function at the top of a module, which names what is kept.
    """
    kind = registry.engine.dialect.name

    def make(folder: Path) -> None:
        life(registry)
        _blobs(registry).root.mkdir(exist_ok=True)
        shutil.copytree(_blobs(registry).root, folder / "blobs")
        if kind == "sqlite":
            registry.close()
            shutil.copyfile(_file(registry), folder / "registry.db")
        else:
            _dump(registry, folder)

    kept = made_once(shared, f"{life.__module__.rpartition('.')[2]}-{life.__name__}-{kind}", make)
    # The first too goes on with a copy: what a test finds does not depend on who came first.
    shutil.copytree(kept / "blobs", _blobs(registry).root, dirs_exist_ok=True)
    if kind == "sqlite":
        registry.close()  # its connections; the next statement opens another
        shutil.copyfile(kept / "registry.db", _file(registry))
    else:
        _restore(registry, kept)
    return registry


def _blobs(registry: Registry) -> FolderBlobs:
    assert isinstance(registry.blobs, FolderBlobs)
    return registry.blobs


def _file(registry: Registry) -> Path:
    return Path(str(make_url(registry.url).database))


def _dump(registry: Registry, folder: Path) -> None:
    """Write the rows of every table into a file of its own, and where the sequences are."""
    with _cursor(registry) as cursor:
        for (table,) in cursor.execute(TABLES).fetchall():
            with cursor.copy(f'COPY "{table}" TO STDOUT') as rows:
                data = b"".join(bytes(part) for part in rows)
            if data:
                (folder / f"{table}.rows").write_bytes(data)
        places = dict(cursor.execute(SEQUENCES).fetchall())
    (folder / "sequences.json").write_text(json.dumps(places), "utf-8")


def _restore(registry: Registry, folder: Path) -> None:
    """Replace every row, much faster than a database is copied."""
    places = json.loads((folder / "sequences.json").read_text("utf-8"))
    with _cursor(registry) as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # as rows are, unchecked
        for (table,) in cursor.execute(TABLES).fetchall():
            cursor.execute(f'DELETE FROM "{table}"')
        for path in folder.glob("*.rows"):
            with cursor.copy(f'COPY "{path.stem}" FROM STDIN') as rows:
                rows.write(path.read_bytes())
        for name, place in places.items():
            cursor.execute("SELECT setval(%s::regclass, %s)", (name, place))


@contextmanager
def _cursor(registry: Registry) -> Iterator[Cursor]:
    """Give the driver's own cursor, which alone can copy; commits at the end."""
    with registry.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        yield driver.cursor()
        driver.commit()
